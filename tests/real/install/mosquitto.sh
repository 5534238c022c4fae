# Mosquitto and its clients from Debian: an MQTT broker that asks for a certificate, as ThingsBoard's transport does.
# The scenario needs step-ca as well.
#
#   mosquitto.sh CACHE
set -euo pipefail
cd "$(dirname "$0")"
. ../packages.sh

bash ./step-ca.sh "$1"
bash ./clients.sh "$1"
need mosquitto mosquitto
need mosquitto_pub mosquitto-clients
