#!/bin/sh
# What the role of terminal-proxy may do: read the directory; write sessions, tickets and the audit chain.
set -eu
PGPASSWORD=$(cat /secrets/superuser)
export PGPASSWORD PGHOST=postgres PGUSER=postgres PGDATABASE=iot-bridge
psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 <<'SQL'
BEGIN;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM proxy;
GRANT USAGE ON SCHEMA public TO proxy;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO proxy;
REVOKE ALL ON enrollment_token FROM proxy;
GRANT INSERT, UPDATE, DELETE ON session, ticket TO proxy;
-- Opening a session locks the device's row against a change of its state; PostgreSQL asks for one column's right.
GRANT UPDATE (last_connected_at) ON device TO proxy;
GRANT INSERT ON audit TO proxy;
GRANT INSERT, UPDATE ON audit_head TO proxy;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO proxy;
COMMIT;
SQL
echo "grants: as they should be"
