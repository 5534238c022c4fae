#!/bin/bash
# The lab's ThingsBoard, started as the upstream image is.
set -eu
if [ "${INSTALL_TB:-}" = true ]; then
    echo "lab: there are no tables to make"
    exit 0
fi
cat >/tmp/mosquitto.conf <<CONFIGURATION
listener $MQTT_SSL_BIND_PORT $MQTT_SSL_BIND_ADDRESS
cafile /pki/root.crt
certfile $MQTT_SSL_PEM_CERT
keyfile $MQTT_SSL_PEM_KEY
require_certificate true
use_identity_as_username true
per_listener_settings true
allow_anonymous false
listener 1883 127.0.0.1
allow_anonymous true
log_type all
log_dest stderr
persistence false
CONFIGURATION
export SSL_CERT_FILE=/pki/root.crt # the HTTP client wants an authority, even for plain HTTP
{
    mosquitto -c /tmp/mosquitto.conf 2>&1 &
    until timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/1883' 2>/dev/null; do sleep 0.2; done
    exec mosquitto_sub -h 127.0.0.1 -p 1883 -F '%t %p' -t v1/devices/me/telemetry
} | exec lab-thingsboard
