#!/bin/sh
# Roles with the passwords of the secrets, and their databases. Runs at every start; a changed password is set.
set -eu
PGPASSWORD=$(cat /secrets/superuser)
export PGPASSWORD PGHOST=postgres PGUSER=postgres

for role in keycloak thingsboard hawkbit iot-bridge terminal_proxy; do
    # The password goes through the environment, not through the command line.
    ROLE=$role PASSWORD=$(cat "/secrets/$role") psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 <<'SQL'
\getenv role ROLE
\getenv password PASSWORD
SET log_statement = 'none';
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" PASSWORD :'password';
SQL
done
for database in keycloak thingsboard hawkbit iot-bridge; do
    DATABASE=$database psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 <<'SQL'
\getenv database DATABASE
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'database')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
done
psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --command='GRANT CONNECT ON DATABASE "iot-bridge" TO terminal_proxy'
echo "databases: everything is there"
