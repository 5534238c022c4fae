#!/bin/sh
# Makes every secret and the certificate authority, each once: what is there is left alone, so that it may run at every
# start. Who deletes one file and starts again gets a new one there and wherever it is needed (docs/operations.md).
set -eu
umask 077
cd /volumes

say() { echo "init: $*"; }

# secret FILE [BYTES]: a random one in hexadecimal digits, without a line's end.
secret() {
    [ ! -s "$1" ] || return 0
    head -c "${2:-32}" /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$1.new"
    mv "$1.new" "$1"
    say "made $1"
}

# share FROM TO: the same secret for another container.
share() {
    cmp -s "$1" "$2" || { cp "$1" "$2.new" && mv "$2.new" "$2"; }
}

# line FILE TEXT: a file that is made from others.
line() {
    printf '%s\n' "$2" >"$1.new"
    mv "$1.new" "$1"
}

for role in superuser keycloak thingsboard hawkbit iot-bridge terminal_proxy; do secret "secrets-databases/$role"; done
for product in keycloak thingsboard hawkbit; do share "secrets-databases/$product" "secrets-$product/database"; done
line secrets-bridge/pgpass "postgres:5432:*:iot-bridge:$(cat secrets-databases/iot-bridge)"
line secrets-proxy/pgpass "postgres:5432:*:terminal_proxy:$(cat secrets-databases/terminal_proxy)"

secret secrets-keycloak/admin
for client in thingsboard grafana; do secret "secrets-keycloak/client-$client"; done
share secrets-keycloak/client-grafana secrets-grafana/keycloak-client

secret secrets-bridge/token-pepper
for secret in thingsboard-webhook hawkbit-webhook hawkbit; do secret "secrets-bridge/$secret"; done
share secrets-bridge/hawkbit secrets-hawkbit/bridge
secret secrets-hawkbit/admin
share secrets-hawkbit/admin secrets-updates/hawkbit

secret secrets-influxdb/admin
secret secrets-influxdb/token
share secrets-influxdb/token secrets-bridge/influxdb
for reader in telegraf/token grafana/influxdb; do share secrets-influxdb/token "secrets-$reader"; done
secret secrets-grafana/admin
secret secrets-grafana/key

secret secrets-provision/thingsboard-system
secret secrets-provision/thingsboard-tenant
share secrets-provision/thingsboard-tenant secrets-bridge/thingsboard
for file in keycloak/admin keycloak/client-thingsboard keycloak/client-grafana; do
    share "secrets-$file" "secrets-provision/${file%%/*}-${file##*/}"
done
share secrets-bridge/thingsboard-webhook secrets-provision/thingsboard-webhook
# The first person who may log in. Keycloak asks for another password at the first login.
secret first-login/password 12
share first-login/password secrets-provision/first-login

# ------------------------------------------------------------------ the certificate authority

secret authority-root/password
secret secrets-certificates/provisioner
secret secrets-bridge/provisioner
devices=${IOT_DEVICE_HOST:-devices}
if [ ! -s authority/config/ca.json ]; then
    say "making the certificate authority"
    export STEPPATH=/tmp/authority
    secret authority/password # of the intermediate's key: step-ca needs it at every start
    mkdir -p "$STEPPATH"
    step ca init --name "iot-bridge" --dns step-ca --address :9000 --provisioner services --deployment-type standalone \
        --password-file authority/password --provisioner-password-file secrets-certificates/provisioner \
        --with-ca-url https://step-ca:9000 >/tmp/init.log 2>&1 || { cat /tmp/init.log >&2; exit 1; }
    # The root's key is for the next intermediate only: it lies where no running container looks.
    step crypto change-pass "$STEPPATH/secrets/root_ca_key" --force \
        --password-file authority/password --new-password-file authority-root/password
    mv "$STEPPATH/secrets/root_ca_key" authority-root/root_ca_key
    cp "$STEPPATH/certs/root_ca.crt" authority-root/root_ca.crt
    configuration=$STEPPATH/config/ca.json
    crl=https://$devices:8443/ca/crl
    sed "s|__CRL_URL__|$crl|" /step-ca/device.tpl >/tmp/device.tpl
    step ca provisioner update services --ca-config "$configuration" --x509-template /step-ca/services.tpl \
        --x509-min-dur 1h --x509-default-dur 720h --x509-max-dur 720h --disable-renewal >/dev/null
    step ca provisioner add iot-bridge --ca-config "$configuration" --type JWK --create --ssh=false \
        --password-file secrets-bridge/provisioner --x509-template /tmp/device.tpl \
        --x509-min-dur 1h --x509-default-dur 720h --x509-max-dur 2160h --disable-renewal >/dev/null
    # In the container that runs it the folder is /home/step.
    mkdir -p authority/certs authority/config authority/secrets authority/db
    cp "$STEPPATH"/certs/*.crt authority/certs/
    cp "$STEPPATH/secrets/intermediate_ca_key" authority/secrets/
    mv authority/password authority/secrets/password
    # A list of revoked certificates, which says of itself what the leaves of devices say too.
    awk -v crl="$crl" 'NR == 1 {
        print "{\n\t\"crl\": {\"enabled\": true, \"generateOnRevoke\": true, \"cacheDuration\": \"1h\", \"idpURL\": \"" crl "\"},"
        next
    } 1' "$configuration" | sed "s|$STEPPATH|/home/step|g" >authority/config/ca.json.new
    mv authority/config/ca.json.new authority/config/ca.json
fi
share authority/certs/root_ca.crt root-certificate/root.crt
line root-certificate/root.fingerprint "$(step certificate fingerprint root-certificate/root.crt)"

# Who signs updates: devices believe this authority, and rollouts sign with a key below it.
if [ ! -s root-certificate/updates.crt ]; then
    step certificate create "iot-bridge updates" /tmp/updates.crt /tmp/updates-root.key --profile root-ca \
        --no-password --insecure --not-after 87600h >/dev/null
    printf '%s' '{"subject": {{ toJson .Subject }}, "keyUsage": ["digitalSignature"], "extKeyUsage": ["emailProtection"]}' >/tmp/signer.tpl
    step certificate create "iot-bridge update signer" secrets-updates/signer.crt secrets-updates/signer.key \
        --template /tmp/signer.tpl --ca /tmp/updates.crt --ca-key /tmp/updates-root.key \
        --no-password --insecure --not-after 87600h --force >/dev/null
    cp /tmp/updates-root.key authority-root/updates-root.key
    cp /tmp/updates.crt root-certificate/updates.crt
fi

# ------------------------------------------------------------------ who may read what

owner() { # FOLDER USER:GROUP
    chown -R "$2" "$1"
    chmod 700 "$1"
}
owner authority-root 0:0
owner first-login 0:0
owner authority 1000:1000
owner secrets-certificates 1000:1000
owner secrets-databases 999:999
owner secrets-keycloak 1000:0
owner secrets-thingsboard 799:799
owner secrets-hawkbit 1000:1000
owner secrets-influxdb 1000:1000
owner secrets-telegraf 10005:10005
owner secrets-grafana 472:0
owner secrets-bridge 10001:10001
owner secrets-provision 10001:10001
owner secrets-proxy 10002:10002
owner secrets-updates 10003:10003
owner device-token 10001:10003
chmod 750 device-token
for data in postgres/999:999 influxdb/1000:1000 influxdb-config/1000:1000 grafana/472:0 hawkbit-artifacts/1000:1000 \
    thingsboard-log/799:799 thingsboard-state/999:799 device-state/10003:10003 hub-key/0:0 backups/0:0; do
    chown "${data#*/}" "${data%%/*}"
    chmod 700 "${data%%/*}"
done
chown 0:10001 hub-socket && chmod 750 hub-socket
chmod 750 thingsboard-state
# Server certificates: written by the renewal, read by the group of those who serve with them.
for tls in entrance bridge thingsboard; do
    chown 1000:10000 "tls-$tls"
    chmod 750 "tls-$tls"
done
chmod 755 root-certificate
chmod 644 root-certificate/*
say "everything is there"
