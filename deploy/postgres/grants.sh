#!/bin/sh
# Gives terminal-proxy's role what it needs, after every migration: as the owner of the tables.
set -eu
PGPASSWORD=$(cat /secrets/iot-bridge)
export PGPASSWORD PGHOST=postgres PGUSER=iot-bridge PGDATABASE=iot-bridge
psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --single-transaction --file=/deploy/terminal-proxy.sql
echo "grants: as they should be"
