#!/bin/sh
# The simulated device's Telegraf: starts when the agent has written where its metrics go, and again when that changes.
# The agent's tunnel is inside its process, so that the hub's address is reached at 127.0.0.1.
set -eu
written=/var/lib/iot-device/agents/telegraf.conf
until [ -s "$written" ]; do sleep 2; done
before=$(cksum <"$written")
sed 's|http://10\.8\.0\.1:|http://127.0.0.1:|' "$written" >/tmp/output.conf
telegraf --config /deploy/device.conf --config /tmp/output.conf &
telegraf=$!
trap 'kill $telegraf 2>/dev/null' TERM
while kill -0 "$telegraf" 2>/dev/null; do
    [ "$(cksum <"$written" 2>/dev/null)" = "$before" ] || kill "$telegraf"
    sleep 5 &
    wait $! || true
done
