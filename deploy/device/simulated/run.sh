#!/bin/sh
# A simulated device: enrolls once, then runs what a device runs, and runs again what has ended. An installed update
# "reboots" it: every program ends, and the other slot's version is reported afterwards.
#
#   IOT_DEVICE_ID, IOT_DEVICE_BRIDGE_URL, IOT_DEVICE_ROOT_FILE, IOT_DEVICE_TOKEN_FILE, IOT_DEVICE_HUB_ENDPOINT
#   IOT_DEVICE_STATE_DIR    where it keeps its identity; what else a device remembers lies beside it, in `system`
set -eu
umask 077
system=$IOT_DEVICE_STATE_DIR/system
export IOT_SYSTEM=$system
mkdir -p "$system"
[ -s "$system/slots" ] || printf 'booted=A\nversion_A=1.0.0\nversion_B=none\n' >"$system/slots"

# libcurl knows the system's trust only: this device's system trusts the root that the factory gave it.
cp "$IOT_DEVICE_ROOT_FILE" /etc/ssl/certs/ca-certificates.crt

if [ ! -s "$IOT_DEVICE_STATE_DIR/enrollment.json" ]; then
    until iot-device enroll; do sleep 2; done
fi

# Each in a process group of its own: whoever ends it ends all that it has started.
keep() { # NAME COMMAND...: runs it again when it ends
    name=$1
    shift
    (
        trap 'kill -- -$pid 2>/dev/null; wait; exit 0' TERM
        while :; do
            setsid "$@" &
            pid=$!
            wait "$pid" || echo "device: $name ended with $?" >&2
            sleep 2
        done
    ) &
    pids="$pids $!"
}

boot() {
    pids=
    rm -f "$system/reboot"
    export DBUS_SESSION_BUS_ADDRESS=unix:path=/tmp/bus DBUS_STARTER_BUS_TYPE=session
    rm -f /tmp/bus
    keep bus dbus-daemon --session --nofork --nopidfile --address="$DBUS_SESSION_BUS_ADDRESS"
    # Serves on the loopback interface only; the agent passes on what comes through the tunnel.
    keep ttyd ttyd --interface 127.0.0.1 --port 7681 --writable --auth-header X-Remote-User --ping-interval 30 \
        --max-clients 16 --debug 3 bash
    keep agent iot-device up --ttyd 127.0.0.1:7681 --hub-ports 8086
    keep rauc python3 /opt/device/rauc.py
    keep updater /opt/device/updater.sh
    keep telemetry /opt/device/telemetry.sh
}

halt() {
    # shellcheck disable=SC2086 # a list
    kill $pids 2>/dev/null || true
    wait
}

trap 'halt; exit 0' TERM INT
while :; do
    boot
    until [ -e "$system/reboot" ]; do
        sleep 1 &
        wait $! || true
    done
    echo "device: reboots" >&2
    halt
done
