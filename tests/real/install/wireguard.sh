#!/usr/bin/env bash
# Installs wireguard-go and what makes network namespaces, genuine ttyd, and builds our hub process.
#
#   wireguard.sh CACHE
set -euo pipefail
. "$(dirname "$0")/../packages.sh"

[ "$(id -u)" -eq 0 ] || { echo "only root can make network namespaces" >&2; exit 1; }
need ip iproute2
need nft nftables
need wg wireguard-tools
need wireguard-go wireguard-go
bash "$(dirname "$0")/ttyd.sh" "$1"
cargo build --quiet --locked -p wireguard --example hub --features contract,control
