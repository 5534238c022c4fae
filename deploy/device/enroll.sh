#!/bin/sh
# Enrolls a device that has nothing but curl, jq, openssl and wg.
#
#     enroll.sh URL DEVICE_ID DIRECTORY [ROOT.pem] < TOKEN_FILE
#
# URL        the bridge's base address: https with ROOT.pem, plain http to a loopback address only
# DIRECTORY  where the identity is kept; made if there is none. `iot-device` can go on with it.
#
# The token comes on standard input, so that no process list shows it. Running it again with the same
# directory sends the same request and gets the same answer. Nothing of an answer is kept before all of it
# was checked, and an identity that is complete is left alone.
set -eu
umask 077

fail() {
    echo "enroll.sh: $*" >&2
    exit 1
}

[ $# -ge 3 ] && [ $# -le 4 ] || fail "usage: enroll.sh URL DEVICE_ID DIRECTORY [ROOT.pem] < TOKEN_FILE"
url=${1%/} id=$2 directory=$3 root=${4-}
case $id in
*[!a-z0-9-]* | -* | *- | '') fail "a device id is made of a-z, 0-9 and '-'" ;;
esac
case $url in
*@*) fail "the address has no place for a user" ;;
https://*)
    [ -r "$root" ] || fail "https needs the file with the bridge's root certificate"
    root=$(cd "$(dirname "$root")" && pwd)/$(basename "$root")
    ;;
http://127.0.0.1:* | http://localhost:* | "http://[::1]:"*) ;;
*) fail "the token may only go over https, or over http to a loopback address" ;;
esac

mkdir -p "$directory"
chmod 700 "$directory"
cd "$directory"
if [ -s enrollment.json ]; then
    echo "enroll.sh: already enrolled; with a return ticket, remove enrollment.json first" >&2
    exit 0
fi

# Whole or not at all, also after a power cut: a new name, onto the disk, then the real name.
keep() {
    sync "$1.new" && mv "$1.new" "$1" && sync .
}

# The keys and the request are made once: a repeated enrollment has to bring the same ones.
if [ ! -s key.pem ]; then
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem.new 2>/dev/null ||
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem.new
    keep key.pem
fi
if [ ! -s wireguard.key ]; then
    wg genkey >wireguard.key.new
    keep wireguard.key
fi
if [ ! -s request.csr ]; then
    openssl req -new -key key.pem -subj "/CN=$id" -addext "subjectAltName=DNS:$id" -out request.csr.new
    keep request.csr
fi
jq -n --rawfile csr request.csr --arg key "$(wg pubkey <wireguard.key)" \
    '{csr: $csr, wg_public_key: $key}' >request.json.new

# 202 means: not yet, ask again with the same request.
IFS= read -r token || [ -n "$token" ] || fail "no token on standard input"
tries=0
while :; do
    status=$(printf 'Authorization: Bearer %s\n' "$token" |
        curl --silent --show-error --noproxy '*' --proto =http,https --max-time 30 --max-filesize 262144 \
            ${root:+--cacert "$root"} --header @- --header 'Content-Type: application/json' \
            --data-binary @request.json.new --output answer.json.new --write-out '%{http_code}' \
            "$url/devices/$id/enroll") || fail "the bridge did not answer"
    [ "$status" = 202 ] || break
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || fail "the bridge is not ready yet; try again later"
    sleep "${ENROLL_RETRY_SECONDS:-5}"
done
case $status in
200 | 201) ;;
*) fail "refused with status $status: $(jq -r '"\(.title): \(.detail)"' answer.json.new 2>/dev/null | tr -d '[:cntrl:]')" ;;
esac

# Nothing of the answer is believed unchecked.
mv answer.json.new enrollment.json.new
field() {
    jq -er ".$1 | strings" enrollment.json.new || fail "the answer has no $1"
}
field certificate_chain >certificate.pem.new
field ca_chain >ca.pem.new
field wireguard_config >wireguard.new
[ "$(openssl x509 -in certificate.pem.new -noout -pubkey)" = "$(openssl pkey -in key.pem -pubout)" ] ||
    fail "the certificate is for another key"
[ "$(openssl x509 -in certificate.pem.new -noout -subject -nameopt RFC2253)" = "subject=CN=$id" ] ||
    fail "the certificate is for another name"
# Without the time: a device that was just switched on may not know it.
openssl verify -no_check_time -purpose sslclient -CAfile ca.pem.new certificate.pem.new >/dev/null ||
    fail "the certificate does not lead to the root that came with it"
if grep -Evx '|\[(Interface|Peer)\]|(PrivateKey|Address|MTU|PublicKey|Endpoint|AllowedIPs|PersistentKeepalive) = [][A-Za-z0-9<>_+/=.:-]+(, fd[0-9a-f:]+/128)?' wireguard.new >/dev/null; then
    fail "the tunnel configuration has lines that do not belong there"
fi
{ [ "$(grep -c '^AllowedIPs' wireguard.new)" = 1 ] && [ "$(grep -cFx '[Peer]' wireguard.new)" = 1 ] &&
    grep -Ex 'AllowedIPs = [0-9.]+/32(, fd[0-9a-f:]+/128)?' wireguard.new >/dev/null; } ||
    fail "the tunnel would carry more than the hub"
grep -Fx 'PrivateKey = <REPLACE_WITH_DEVICE_PRIVATE_KEY>' wireguard.new >/dev/null ||
    fail "the tunnel configuration is not for our key"

# The private key is put in by the shell itself, so that no process list shows it.
while IFS= read -r line; do
    case $line in
    'PrivateKey = '*) printf 'PrivateKey = %s\n' "$(cat wireguard.key)" ;;
    *) printf '%s\n' "$line" ;;
    esac
done <wireguard.new >wg0.conf.new

keep certificate.pem
keep ca.pem
keep wg0.conf
rm -f wireguard.new request.json.new
keep enrollment.json # the last: where it is, all of it is
echo "enroll.sh: enrolled; the tunnel's configuration is $PWD/wg0.conf" >&2
