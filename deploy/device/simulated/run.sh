#!/bin/sh
# A simulated device: enrolls once, then runs what a device runs. An installed update "reboots" it: every program ends,
# and the other slot's version is reported afterwards.
#
#   IOT_DEVICE_ID, IOT_DEVICE_BRIDGE_URL, IOT_DEVICE_ROOT_FILE, IOT_DEVICE_TOKEN_FILE, IOT_DEVICE_HUB_ENDPOINT
#   IOT_DEVICE_STATE_DIR    where it keeps its identity; what else a device remembers lies beside it, in `system`
set -eu
umask 077
. /opt/device/programs.sh
export IOT_SYSTEM="$IOT_DEVICE_STATE_DIR/system"
mkdir -p "$IOT_SYSTEM"
[ -s "$IOT_SYSTEM/slots" ] || printf 'booted=A\nversion_A=1.0.0\nversion_B=none\n' >"$IOT_SYSTEM/slots"

if [ ! -s "$IOT_DEVICE_STATE_DIR/enrollment.json" ]; then
    until iot-device enroll; do sleep 2; done
fi

boot() {
    # Serves on the loopback interface only; the agent passes on what comes through the tunnel.
    keep ttyd ttyd --interface 127.0.0.1 --port 7681 --writable --auth-header X-Remote-User --ping-interval 30 \
        --max-clients 16 --debug 3 bash
    keep agent iot-device up --ttyd 127.0.0.1:7681 --hub-ports 8086
    keep telemetry /opt/device/telemetry.sh
}
run boot
