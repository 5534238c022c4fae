#!/bin/bash
# What Keycloak needs beside the imported realm: the clients that have a secret, and the first person. May be run again:
# secrets are brought to what the files say; a person who is there is left alone.
set -euo pipefail
base=${KEYCLOAK_URL:-http://keycloak:8080}
. "$(dirname "$0")/rest.sh"
secret() { cat "/secrets/$1"; }

token=$(printf 'client_id=admin-cli&grant_type=password&username=admin&password=%s' "$(secret keycloak-admin)" |
    curl --silent --show-error --fail --max-time 60 --data @- "$base/realms/master/protocol/openid-connect/token" |
    jq -er .access_token)
bearer Authorization Bearer "$token"
realm=/admin/realms/iot

# ensure_client NAME REDIRECT SECRET ROLES_CLAIM
ensure_client() {
    wanted=$(jq -n --arg name "$1" --arg redirect "$2" --rawfile secret "/secrets/$3" --arg roles "$4" '{
        clientId: $name, publicClient: false, secret: $secret, standardFlowEnabled: true, implicitFlowEnabled: false,
        directAccessGrantsEnabled: false, serviceAccountsEnabled: false, fullScopeAllowed: true, redirectUris: [$redirect],
        attributes: (if $name == "grafana" then {"pkce.code.challenge.method": "S256"} else {} end),
        protocolMappers: (if $roles == "" then [] else [{
            name: "realm roles", protocol: "openid-connect", protocolMapper: "oidc-usermodel-realm-role-mapper",
            config: {"claim.name": $roles, multivalued: "true", "jsonType.label": "String", "id.token.claim": "true",
                     "userinfo.token.claim": "true", "access.token.claim": "true"}}] end)}')
    id=$(call GET "$realm/clients?clientId=$1" | jq -r '.[0].id // empty')
    if [ -z "$id" ]; then
        call POST "$realm/clients" "$wanted" >/dev/null
    else
        # The mappers of a client that is there are left alone: they have addresses of their own.
        call PUT "$realm/clients/$id" "$(printf '%s' "$wanted" | jq 'del(.protocolMappers)')" >/dev/null
    fi
    echo "keycloak: client $1 is as it should be"
}

ensure_client thingsboard "https://things.$IOT_DOMAIN/login/oauth2/code/*" keycloak-client-thingsboard ""
ensure_client grafana "https://metrics.$IOT_DOMAIN/login/generic_oauth" keycloak-client-grafana roles

if [ "$(call GET "$realm/users?username=operator&exact=true" | jq length)" = 0 ]; then
    # Another password is asked for at the first login, so that the file is good for nothing afterwards.
    call POST "$realm/users" "$(jq -n --rawfile password /secrets/first-login --arg domain "$IOT_DOMAIN" \
        --argjson temporary "${FIRST_PASSWORD_IS_TEMPORARY:-true}" '{
        username: "operator", enabled: true, email: "operator@\($domain)", emailVerified: true,
        firstName: "First", lastName: "Operator", groups: ["/fleets/default"],
        credentials: [{type: "password", value: $password, temporary: $temporary}]}')" >/dev/null
    user=$(call GET "$realm/users?username=operator&exact=true" | jq -er '.[0].id')
    role=$(call GET "$realm/roles/fleet-admin")
    call POST "$realm/users/$user/role-mappings/realm" "[$role]" >/dev/null
    echo "keycloak: operator may log in"
fi
