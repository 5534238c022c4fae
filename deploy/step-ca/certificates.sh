#!/bin/sh
# The server certificates of the platform, from the provisioner `services`.
#   certificates.sh once     fetches those that are missing, do not fit or have less than a third of their life left
#   certificates.sh keep     does so every hour
#   certificates.sh check    fails when one of them ends within two days
set -eu
umask 027
domain=$IOT_DOMAIN
devices=${IOT_DEVICE_HOST:-devices}

fetch() { # FOLDER FILE SUBJECT NAME... (`set -e` does not count in here: `keep` goes on after a failure)
    folder=/tls/$1 file=/tls/$1/$2 subject=$3
    shift 3
    names=$(printf '%s\n' "$@" | sort -u)
    if [ -s "$file.crt" ] && [ "$(cat "$file.names" 2>/dev/null)" = "$names" ] &&
        ! step certificate needs-renewal "$file.crt" --expires-in 66% 2>/dev/null; then
        return 0
    fi
    sans=$(printf '%s\n' "$names" | sed 's/^/--san=/')
    # shellcheck disable=SC2086 # names have no spaces
    token=$(step ca token "$subject" $sans --issuer services --provisioner-password-file /secrets/provisioner \
        --ca-url https://step-ca:9000 --root /pki/root.crt) || return
    step ca certificate "$subject" "$file.crt.new" "$file.key.new" --force --token "$token" \
        --ca-url https://step-ca:9000 --root /pki/root.crt >/dev/null || return
    chmod 640 "$file.crt.new" "$file.key.new" &&
        mv "$file.key.new" "$file.key" && mv "$file.crt.new" "$file.crt" || return
    printf '%s\n' "$names" >"$file.names"
    echo "certificates: $subject until $(step certificate inspect "$file.crt" --format json | sed -n 's/.*"end": *"\([^"]*\)".*/\1/p')"
}

fetch_all() {
    fetch entrance entrance entrance "$domain" "things.$domain" "terminal.$domain" "login.$domain" "updates.$domain" \
        "metrics.$domain" "api.$domain" "$devices" devices &&
        fetch bridge bridge iot-bridge-api "$domain" "$devices" devices &&
        fetch thingsboard thingsboard thingsboard "$domain" "$devices" devices
}

case ${1:-} in
once) fetch_all ;;
keep)
    while :; do
        fetch_all || echo "certificates: not renewed; the next try is in an hour" >&2
        sleep 3600 &
        wait $!
    done
    ;;
check)
    for certificate in /tls/*/*.crt; do
        ! step certificate needs-renewal "$certificate" --expires-in 48h 2>/dev/null || exit 1
    done
    ;;
*) echo "certificates.sh once|keep|check" >&2; exit 64 ;;
esac
