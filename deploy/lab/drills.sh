# For deploy/lab/run: the drills of docs/operations.md, with the very commands that stand there.

# The commands of a drill, and only those: what stands in the block below its name.
commands() { # DRILL
  awk -v name="**$1.**" 'index($0, name) { found = 1 } found && /^```$/ { exit } inside { print } found && /^```sh$/ { inside = 1 }' \
    docs/operations.md
}

practise() { # DRILL [SED_SCRIPT]
  commands "$1" | sed -e "${2:-}" >"$lab/drill.sh"
  [ -s "$lab/drill.sh" ] || fail "docs/operations.md has no drill \`$1\`"
  (export -f dc && bash -euo pipefail "$lab/drill.sh" >"$lab/drill.log" 2>&1 </dev/null) ||
    { tail -5 "$lab/drill.log"; fail "the drill \`$1\`"; }
}

healthy() { [ "$(dc ps --format '{{.Health}}' "$1")" = healthy ]; }
# What a device gets that asks for its configuration: the bridge, its database and its authority work.
served() { logged iot-bridge-api '"message":"Answered GET /devices/{id}/configuration with 200"' --since "$1"; }

began_drill=$(date +%s.%N)
secret() { dc run --rm --no-deps --entrypoint cat init /volumes/secrets-databases/iot-bridge 2>/dev/null; }
before=$(secret)
practise "Rotate a secret"
[ "$before" != "$(secret)" ] || fail "the secret is as it was"
wait_for 60 "the bridge" healthy iot-bridge-api
wait_for 60 "the bridge's answers" served 20s
say "drill: the bridge has another password of its database, $(since "$began_drill") s"

began_drill=$(date +%s.%N)
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
practise "Lose the hub"
wait_for 60 "the hub" logged iot-bridge-api "Brought the hub in line" --since "$now"
say "drill: the hub died, came back and was filled again, $(since "$began_drill") s"
walk new-password terminal || fail "there is no shell after the hub was lost"

began_drill=$(date +%s.%N)
practise "Back up"
name=$(dc run --rm --no-deps --entrypoint ls restore /backups 2>/dev/null | tr -d '\r' | tail -1)
dc down >"$lab/down.log" 2>&1
# The machine is lost: all is gone but the backup, and the device, which is another machine.
docker volume ls --quiet --filter name=iot-bridge_ | grep -v -e backups -e device- | xargs docker volume rm >/dev/null
practise "Lose the machine" "s/2026-11-26T020000Z/$name/"
wait_for 300 "Keycloak" ended provision-keycloak
trust
# The fake ThingsBoard kept nothing on the disk: the bridge tells it again.
walk new-password align || fail "nobody can log in after the restore"
wait_for 150 "telemetry" logged thingsboard "telemetry of demo-1: {" --since "$now"
say "drill: restored from $name on an empty machine; the device is back with the certificate that it had, $(since "$began_drill") s"
walk new-password terminal || fail "there is no shell after the restore"
