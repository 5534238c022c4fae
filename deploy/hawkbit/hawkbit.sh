#!/bin/sh
# Starts hawkBit's image with its secrets: the database's password and its two users. The built-in user is taken away.
set -eu
SPRING_DATASOURCE_PASSWORD=$(cat /secrets/database)
SPRING_APPLICATION_JSON=$(
    cat <<JSON
{"hawkbit.security.user.admin.tenant": "DEFAULT",
 "hawkbit.security.user.admin.password": "{noop}$(cat /secrets/admin)",
 "hawkbit.security.user.admin.roles": "TENANT_ADMIN",
 "hawkbit.security.user.bridge.tenant": "DEFAULT",
 "hawkbit.security.user.bridge.password": "{noop}$(cat /secrets/bridge)",
 "hawkbit.security.user.bridge.roles": "TENANT_ADMIN",
 "hawkbit.server.ddi.security.authentication.targettoken.enabled": true,
 "server.forward-headers-strategy": "NATIVE"}
JSON
)
export SPRING_DATASOURCE_PASSWORD SPRING_APPLICATION_JSON
exec "$@"
