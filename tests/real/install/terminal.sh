#!/usr/bin/env bash
# Installs what a person's way to a shell is made of: Keycloak, PostgreSQL, WireGuard, ttyd, Chromium and its driver.
#
#   terminal.sh CACHE
set -euo pipefail
cd "$(dirname "$0")/.."
. ./packages.sh
cache=$1

for part in keycloak wireguard ttyd; do
  bash "install/$part.sh" "$cache"
done
need chromium chromium
need setpriv util-linux
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
command -v node >/dev/null || { echo "Node.js is missing" >&2; exit 1; }

# The programs that drive the browser, beside the driver: Node.js looks for it where they are.
mkdir -p "$cache/browser"
cp ../browser/*.mjs ../browser/package.json ../browser/package-lock.json ../browser/.npmrc "$cache/browser/"
cd "$cache/browser"
if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --no-audit --no-fund --ignore-scripts >/dev/null
  cp package-lock.json node_modules/.installed
fi
