#!/bin/sh
# Tests enroll.sh without a network: `curl` is replaced by a script that signs what it is sent, or lies.
# Needs what enroll.sh needs, but for curl itself: jq, openssl, wg.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for tool in jq openssl wg; do
    command -v "$tool" >/dev/null || {
        echo "test-enroll.sh needs $tool" >&2
        exit 1
    }
done

# A certificate authority, root and intermediate.
cd "$work"
authority() { # NAME [SIGNER]
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf 'basicConstraints=critical,CA:TRUE\n' >ca.ext
    if [ $# = 2 ]; then signer="-CA $2.pem -CAkey $2.key"; else signer="-key $1.key"; fi
    # shellcheck disable=SC2086 # two words each
    openssl x509 -req -in "$1.csr" $signer -extfile ca.ext -days 2 -out "$1.pem" 2>/dev/null
}
authority root
authority intermediate root
wg genkey | wg pubkey >hub.pub

# The bridge: what it does is in the file `behaviour`.
mkdir bin
cat >bin/curl <<'CURL'
#!/bin/sh
set -eu
printf '%s\n' "$@" >"$WORK/argv"
cat >"$WORK/header"
behaviour=$(cat "$WORK/behaviour")
while [ $# -gt 0 ]; do
    case $1 in
    --data-binary) body=${2#@} ;;
    --output) output=$2 ;;
    esac
    shift
done
echo "$behaviour" >>"$WORK/asked"
case $behaviour in
later) echo good >"$WORK/behaviour"; : >"$output"; printf 202; exit 0 ;;
refuse) echo '{"title":"Unauthenticated","detail":"The token is not valid."}' >"$output"; printf 401; exit 0 ;;
esac
jq -r .csr "$body" >"$WORK/device.csr"
if [ "$behaviour" = other-key ]; then
    openssl req -newkey rsa:2048 -nodes -subj /CN=pump-7 -keyout "$WORK/other.key" -out "$WORK/device.csr" 2>/dev/null
fi
printf 'extendedKeyUsage=clientAuth\nsubjectAltName=DNS:pump-7\n' >"$WORK/leaf.ext"
openssl x509 -req -in "$WORK/device.csr" -CA "$WORK/intermediate.pem" -CAkey "$WORK/intermediate.key" \
    -extfile "$WORK/leaf.ext" -days 1 -out "$WORK/leaf.pem" 2>/dev/null
case $behaviour in
post-up) extra='PostUp = reboot' ;;
two-commands) extra='MTU = 1420; reboot' ;;
*) extra='MTU = 1420' ;;
esac
allowed=10.8.0.1/32
[ "$behaviour" != whole-internet ] || allowed=0.0.0.0/0
[ "$behaviour" != second-line ] || allowed="10.8.0.1/32
AllowedIPs = 0.0.0.0/0"
config="[Interface]
PrivateKey = <REPLACE_WITH_DEVICE_PRIVATE_KEY>
Address = 10.8.0.2/32
$extra

[Peer]
PublicKey = $(cat "$WORK/hub.pub")
Endpoint = vpn.example.org:51820
AllowedIPs = $allowed
PersistentKeepalive = 25
"
jq -n --rawfile leaf "$WORK/leaf.pem" --rawfile middle "$WORK/intermediate.pem" --rawfile root "$WORK/root.pem" \
    --arg config "$config" --arg behaviour "$behaviour" '{
        device_id: "pump-7", certificate: $leaf, certificate_chain: ($leaf + $middle),
        ca_chain: (if $behaviour == "broken-chain" then $root else $middle + $root end),
        not_after: "2030-01-01T00:00:00Z", wireguard_ip: "10.8.0.2", wireguard_config: $config,
        server_time: "2029-01-01T00:00:00Z"}' >"$output"
printf 201
CURL
chmod +x bin/curl

enroll() { # BEHAVIOUR DIRECTORY
    echo "$1" >behaviour
    echo 'ib_canary-token' | WORK=$work PATH=$work/bin:$PATH ENROLL_RETRY_SECONDS=0 \
        "$here/enroll.sh" http://127.0.0.1:8000/ pump-7 "$work/$2" 2>message
}
expect() { # SENTENCE COMMAND…
    sentence=$1
    shift
    if "$@"; then echo "ok: $sentence"; else
        echo "FAILED: $sentence" >&2
        cat message >&2
        exit 1
    fi
}
refused() { # BEHAVIOUR TEXT
    ! enroll "$1" "$1" && grep -q "$2" message && [ ! -e "$1/enrollment.json" ] && [ ! -e "$1/wg0.conf" ]
}

expect "a device enrolls" enroll good device
expect "its token was in the header and in no argument" sh -c \
    'grep -qx "Authorization: Bearer ib_canary-token" header && ! grep -q canary argv'
expect "its files are for their owner only" sh -c \
    '[ -z "$(find device -type f ! -perm 600)" ] && [ -z "$(find device -type d ! -perm 700)" ]'
expect "its own key is in the tunnel's configuration" grep -qxF "PrivateKey = $(cat device/wireguard.key)" device/wg0.conf
expect "nothing unfinished is left" sh -c '[ -z "$(find device -name "*.new")" ]'
: >asked
expect "a second run does nothing" enroll good device
expect "it did not even ask" [ ! -s asked ]
cp device/key.pem before.pem && rm device/enrollment.json
expect "a device comes back with a return ticket" enroll good device
expect "with the key that it had" cmp -s before.pem device/key.pem
: >asked
expect "a bridge that is not ready is asked again" enroll later patient
expect "it was asked twice" sh -c '[ "$(wc -l <asked)" = 2 ]'
expect "a refusal is passed on" refused refuse "Unauthenticated: The token is not valid."
cp refuse/key.pem before.pem
expect "after a refusal the same keys enroll" enroll good refuse
expect "they are the same" cmp -s before.pem refuse/key.pem
expect "a certificate for another key is not believed" refused other-key "another key"
expect "a chain that is broken is not believed" refused broken-chain "does not lead to the root"
expect "a configuration that runs programs is not believed" refused post-up "do not belong there"
expect "a configuration with two things in one line is not believed" refused two-commands "do not belong there"
expect "a configuration that takes all traffic is not believed" refused whole-internet "more than the hub"
expect "a configuration that takes it in a second line is not believed" refused second-line "more than the hub"
for url in http://bridge.example https://bridge.example ftp://127.0.0.1:1 http://127.0.0.1:1@bridge.example; do
    expect "the token does not go to $url" sh -c "! echo t | '$here/enroll.sh' $url pump-7 '$work/nowhere' 2>/dev/null"
done
