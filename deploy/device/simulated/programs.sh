# For run.sh and update.sh: programs of a device, which run until it reboots, and again afterwards.

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

halt() {
    # shellcheck disable=SC2086 # a list
    kill $pids 2>/dev/null || true
    wait
}

# What an installed update writes when it wants the other slot.
last_reboot() { cat "$IOT_SYSTEM/reboot" 2>/dev/null || true; }

run() { # BOOT: what starts the programs
    trap 'halt; exit 0' TERM INT
    while :; do
        pids= before=$(last_reboot)
        "$1"
        while [ "$(last_reboot)" = "$before" ]; do
            sleep 1 &
            wait $! || true
        done
        echo "device: reboots" >&2
        halt
    done
}
