#!/bin/sh
# Takes over the files that `iot-device` wrote, and has the programs read them: for `--agents-changed`. It is run in
# their folder, as root, with their names as arguments; a file that is not named is not needed any more.
set -eu

install_or_remove() { # FILE TARGET OWNER MODE
    if [ -e "$1" ]; then
        install -o "${3%:*}" -g "${3#*:}" -m "$4" "$1" "$2.new"
        mv "$2.new" "$2"
    else
        rm -f "$2"
    fi
}

# Reloads a service that is installed; one that is not is none of our business.
reload() {
    command -v systemctl >/dev/null || return 0
    systemctl cat "$1" >/dev/null 2>&1 || return 0
    systemctl reload-or-restart "$1"
}

if [ -d /etc/telegraf/telegraf.d ]; then
    install_or_remove telegraf.conf /etc/telegraf/telegraf.d/iot-bridge.conf root:telegraf 0640
    reload telegraf.service
fi
if command -v rauc-hawkbit-updater >/dev/null; then
    mkdir -p /etc/rauc-hawkbit-updater
    install_or_remove rauc-hawkbit-updater.conf /etc/rauc-hawkbit-updater/config.conf root:root 0600
    reload rauc-hawkbit-updater.service
fi
# Whatever reports by MQTT: it reads mqtt.json itself, and is started anew when the certificate is another.
reload "${MQTT_SERVICE:-iot-mqtt.service}"
