#!/bin/sh
# What the device says of itself over MQTT with its certificate, every ten seconds, on one connection.
set -eu
cd "$IOT_DEVICE_STATE_DIR"
# The agent writes where to, when the bridge says so.
url=$(jq -r '.url // empty' agents/mqtt.json 2>/dev/null || true)
url=${url:-mqtts://devices:8883}
url=${url%/}
address=${url#*://}

cpu() { awk '/^cpu /{print $2+$3+$4+$6+$7+$8, $5}' /proc/stat; }

messages() {
    before=$(cpu)
    while sleep "${IOT_DEVICE_TELEMETRY_SECONDS:-10}"; do
        after=$(cpu)
        . "$IOT_SYSTEM/slots"
        eval "version=\$version_$booted"
        echo "$before $after" | awk \
            -v memory="$(awk '/MemTotal/{t=$2}/MemAvailable/{a=$2}END{printf "%.1f", 100*(t-a)/t}' /proc/meminfo)" \
            -v disk="$(df -P "$IOT_DEVICE_STATE_DIR" | awk 'END{print $5+0}')" \
            -v uptime="$(cut -d. -f1 /proc/uptime)" -v version="$version" -v slot="$booted" \
            -v ota="$(cat "$IOT_SYSTEM/ota" 2>/dev/null || echo idle)" '{
                busy = $3 - $1; idle = $4 - $2; total = busy + idle
                printf "{\"cpu_usage\":%.1f,\"memory_usage\":%s,\"disk_usage\":%s,\"uptime\":%s,\"sw_version\":\"%s\",\"rauc_slot\":\"%s\",\"ota_status\":\"%s\"}\n",
                    total ? 100 * busy / total : 0, memory, disk, uptime, version, slot, ota }'
        before=$after
    done
}

messages | exec mosquitto_pub --host "${address%:*}" --port "${address##*:}" --id "$IOT_DEVICE_ID" --qos 1 --keepalive 20 \
    --cafile "$IOT_DEVICE_ROOT_FILE" --cert certificate.pem --key key.pem \
    --topic v1/devices/me/telemetry --stdin-line
