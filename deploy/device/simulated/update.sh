#!/bin/sh
# The part of the simulated device that looks for updates: genuine rauc-hawkbit-updater, and RAUC's side on a bus.
set -eu
umask 077
. /opt/device/programs.sh
export IOT_SYSTEM="$IOT_DEVICE_STATE_DIR/system"
# libcurl knows the system's trust only: this device's system trusts the root that the factory gave it.
cp "$IOT_DEVICE_ROOT_FILE" /etc/ssl/certs/ca-certificates.crt
export DBUS_SESSION_BUS_ADDRESS=unix:path=/tmp/bus DBUS_STARTER_BUS_TYPE=session

boot() {
    rm -f /tmp/bus
    keep bus dbus-daemon --session --nofork --nopidfile --address="$DBUS_SESSION_BUS_ADDRESS"
    keep rauc python3 /opt/device/rauc.py
    keep updater /opt/device/updater.sh
}
run boot
