#!/bin/bash
# rollout.sh VERSION DEVICE_ID, in the container `rollout`: see deploy/device/rollout.sh.
set -euo pipefail
version=$1 device=$2
base=${HAWKBIT_URL:-http://hawkbit:8080}
. /opt/device/rest.sh
cd "$work"

# ------------------------------------------------------------------ the bundle
mkdir bundle
printf 'iot-bridge demo %s\n' "$version" >bundle/rootfs.img
head -c 262144 /dev/zero >>bundle/rootfs.img
cat >bundle/manifest.raucm <<MANIFEST
[update]
compatible=iot-bridge-demo
version=$version

[bundle]
format=plain

[image.rootfs]
filename=rootfs.img
MANIFEST
rauc --cert=/secrets/signer.crt --key=/secrets/signer.key bundle bundle "demo-$version.raucb" >/dev/null
echo "rollout: signed demo-$version.raucb"

# ------------------------------------------------------------------ hawkBit
bearer Authorization Basic "$(printf 'admin:%s' "$(cat /secrets/hawkbit)" | base64 -w0)"
# find PATH: the id of the first in the list, or nothing.
find() { call GET "$1" | jq -r '.content[0].id // empty'; }
name=iot-bridge-demo
module=$(find "/rest/v1/softwaremodules?q=name==$name%3Bversion==$version")
if [ -z "$module" ]; then
    module=$(call POST /rest/v1/softwaremodules "[{\"name\": \"$name\", \"version\": \"$version\", \"type\": \"os\"}]" | jq -er '.[0].id')
    curl --silent --show-error --fail --max-time 120 --header "@$authorization" \
        --form "file=@demo-$version.raucb;filename=demo-$version.raucb" \
        --output /dev/null "$base/rest/v1/softwaremodules/$module/artifacts"
fi
set=$(find "/rest/v1/distributionsets?q=name==$name%3Bversion==$version")
if [ -z "$set" ]; then
    set=$(call POST /rest/v1/distributionsets \
        "[{\"name\": \"$name\", \"version\": \"$version\", \"type\": \"os\", \"modules\": [{\"id\": $module}]}]" | jq -er '.[0].id')
fi
call POST "/rest/v1/targets/$device/assignedDS" "{\"id\": $set, \"type\": \"forced\"}" >/dev/null
echo "rollout: assigned $version to $device"
