# ThingsBoard's and InfluxDB's own Python clients from PyPI, into CACHE/clients: they keep the stand-ins of the tests
# honest.
#
#   clients.sh CACHE
set -euo pipefail
cd "$(dirname "$0")"
. ../packages.sh

installed=$1/clients-1
if [ ! -d "$installed" ]; then
  need python3 python3
  # Debian has the module apart; there is no command to look for.
  python3 -c "import ensurepip" 2>/dev/null || need ensurepip python3-venv
  work=$(mktemp -d "$1/clients.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  python3 -m venv "$work"
  "$work/bin/pip" install --quiet --disable-pip-version-check \
    tb-ce-client==4.4.0 tb-mqtt-client==1.13.14 influxdb-client==1.50.0
  mv "$work" "$installed" # whole or not at all; only `bin/pip` minds the other path
fi
ln -sfn clients-1 "$1/clients"
