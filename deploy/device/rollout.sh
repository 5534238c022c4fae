#!/bin/sh
# A demo update for the simulated device: makes a bundle of VERSION, signs it with the platform's update key, loads it up
# to hawkBit and assigns it.
#
#   deploy/device/rollout.sh VERSION [DEVICE_ID]
set -eu
[ $# -ge 1 ] || { echo "usage: rollout.sh VERSION [DEVICE_ID]" >&2; exit 64; }
cd "$(dirname "$0")/../.."
[ -n "${COMPOSE_FILE:-}" ] || export COMPOSE_FILE=deploy/docker-compose.yml
exec docker compose run --rm --no-deps rollout "$1" "${2:-demo-1}"
