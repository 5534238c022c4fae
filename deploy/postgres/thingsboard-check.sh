#!/bin/sh
# Leaves a file where ThingsBoard has its tables already, so that they are not made again.
set -eu
PGPASSWORD=$(cat /secrets/superuser)
export PGPASSWORD PGHOST=postgres PGUSER=postgres PGDATABASE=thingsboard
made=$(psql --no-psqlrc --tuples-only --no-align --command="SELECT count(*) FROM pg_tables WHERE tablename = 'tb_schema_settings'")
echo "thingsboard-check: tables are there: $made"
[ "$made" = 0 ] || echo installed >/state/installed
