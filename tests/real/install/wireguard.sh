#!/usr/bin/env bash
# Installs wireguard-go and what makes network namespaces, and genuine ttyd.
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
