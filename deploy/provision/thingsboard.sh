#!/bin/bash
# What ThingsBoard needs: a system administrator without a default password, a tenant with its administrator, the login
# by Keycloak, the terminal widget, the dashboards, the notification of alarms. May be run again.
#   thingsboard.sh tenant      before `iot-bridge-api provision thingsboard`
#   thingsboard.sh dashboards  after it
set -euo pipefail
base=${THINGSBOARD_URL:-http://thingsboard:8080}
files=/deploy/thingsboard
. "$(dirname "$0")/rest.sh"
system=sysadmin@thingsboard.org
tenant=bridge@$IOT_DOMAIN

# log_in USER PASSWORD
log_in() {
    : >"$authorization"
    body=$(printf '%s' "$2" | jq -R --arg user "$1" '{username: $user, password: .}')
    token=$(call POST /api/auth/login "$body" | jq -er .token) || return 1
    bearer X-Authorization Bearer "$token"
}

# named PATH NAME [FIELD]: the object with this name in a paged list, or nothing.
named() {
    call GET "$1?pageSize=100&page=0&textSearch=$(printf '%s' "$2" | jq -sRr @uri)" |
        jq -c --arg name "$2" --arg field "${3:-name}" '[.data[] | select(.[$field] == $name)][0] // empty'
}

# ensure LIST SAVE WANTED [FIELD]: saves what is wanted over what is there; prints what is there then.
ensure() {
    field=${4:-name}
    name=$(printf '%s' "$3" | jq -er ".$field")
    present=$(named "$1" "$name" "$field")
    # Only what identifies the present one is taken over: its id, and the version that ThingsBoard compares.
    call POST "$2" "$(jq -cn --argjson wanted "$3" --argjson present "${present:-null}" \
        '$wanted + (if $present then {id: $present.id} + ($present | if .version then {version} else {} end) else {} end)')"
    echo "thingsboard: $name is as it should be" >&2
}

system_and_tenant() {
    wait_for /api/noauth/oauth2Clients
    if ! log_in "$system" "$(cat /secrets/thingsboard-system)" 2>/dev/null; then
        log_in "$system" sysadmin # what every installation begins with, and ours does not keep
        call POST /api/auth/changePassword "$(jq -cn --rawfile new /secrets/thingsboard-system \
            '{currentPassword: "sysadmin", newPassword: $new}')" >/dev/null
        log_in "$system" "$(cat /secrets/thingsboard-system)"
        echo "thingsboard: the system administrator has a password of its own"
    fi
    id=$(ensure /api/tenants /api/tenant '{"title": "iot-bridge"}' title | jq -c .id)
    users=/api/tenant/$(printf '%s' "$id" | jq -r .id)/users
    if [ -z "$(named "$users" "$tenant" email)" ]; then
        user=$(call POST "/api/user?sendActivationMail=false" "$(jq -cn --arg email "$tenant" --argjson tenant "$id" \
            '{email: $email, authority: "TENANT_ADMIN", tenantId: $tenant}')" | jq -r .id.id)
        link=$(call GET "/api/user/$user/activationLink")
        call POST "/api/noauth/activate?sendActivationMail=false" "$(jq -cn --arg token "${link##*activateToken=}" \
            --rawfile password /secrets/thingsboard-tenant '{activateToken: $token, password: $password}')" >/dev/null
        echo "thingsboard: $tenant may log in"
    fi
    login_by_keycloak
}

# People of the realm become users of the customer `Fleet`, never administrators of the tenant.
login_by_keycloak() {
    wanted=$(sed -e "s|\${IOT_DOMAIN}|$IOT_DOMAIN|g" "$files/oauth2-client.json" |
        jq -c --rawfile secret /secrets/keycloak-client-thingsboard '.clientSecret = $secret')
    client=$(ensure /api/oauth2/client/infos /api/oauth2/client "$wanted" title | jq -r .id.id)
    ensure /api/domain/infos "/api/domain?oauth2ClientIds=$client" \
        "{\"name\": \"things.$IOT_DOMAIN\", \"oauth2Enabled\": true, \"propagateToEdge\": false}" >/dev/null
}

dashboards() {
    log_in "$tenant" "$(cat /secrets/thingsboard-tenant)"
    call POST "/api/widgetType?updateExistingByFqn=true" \
        "$(sed "s|\${TERMINAL_PUBLIC_URL}|https://terminal.$IOT_DOMAIN|g" "$files/terminal-widget.json")" >/dev/null
    bundle=$(ensure /api/widgetsBundles /api/widgetsBundle "$(cat "$files/widgets-bundle.json")" title | jq -r .id.id)
    call POST "/api/widgetsBundle/$bundle/widgetTypeFqns" '["iot_bridge.terminal"]' >/dev/null
    customer=$(ensure /api/customers /api/customer '{"title": "Fleet"}' title | jq -r .id.id)
    for file in "$files"/dashboards/*.json; do
        dashboard=$(ensure /api/tenant/dashboards /api/dashboard \
            "$(sed "s|\${TERMINAL_PUBLIC_URL}|https://terminal.$IOT_DOMAIN|g" "$file")" title | jq -r .id.id)
        call POST "/api/customer/$customer/dashboard/$dashboard" >/dev/null
    done
    target=$(ensure /api/notification/targets /api/notification/target "$(jq -c .target "$files/notification.json")" | jq -c .id)
    template=$(ensure /api/notification/templates /api/notification/template \
        "$(jq -c .template "$files/notification.json")" | jq -c .id)
    ensure /api/notification/rules /api/notification/rule "$(jq -c --argjson target "$target" --argjson template "$template" \
        '.rule | .templateId = $template | .recipientsConfig.escalationTable = {"0": [$target.id]}' \
        "$files/notification.json")" >/dev/null
}

case ${1:-} in
tenant) system_and_tenant ;;
dashboards) dashboards ;;
*) echo "thingsboard.sh tenant|dashboards" >&2; exit 64 ;;
esac
