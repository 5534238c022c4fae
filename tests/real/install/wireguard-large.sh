#!/usr/bin/env bash
# Installs what the scenario `wireguard` needs.
#
#   wireguard-large.sh CACHE
set -euo pipefail
. "$(dirname "$0")/../packages.sh"
need ping iputils-ping
bash "$(dirname "$0")/wireguard.sh" "$1"
