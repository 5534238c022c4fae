#!/bin/sh
# Genuine rauc-hawkbit-updater, with the configuration that the agent writes.
set -eu
configuration=$IOT_DEVICE_STATE_DIR/agents/rauc-hawkbit-updater.conf
until [ -s "$configuration" ]; do sleep 2; done
# The agent writes it anew when the bridge says something else; then the updater starts again with it.
before=$(cksum <"$configuration")
rauc-hawkbit-updater -c "$configuration" &
updater=$!
trap 'kill $updater 2>/dev/null' TERM
while kill -0 "$updater" 2>/dev/null; do
    [ "$(cksum <"$configuration")" = "$before" ] || kill "$updater"
    sleep 2 &
    wait $! || true
done
wait "$updater"
