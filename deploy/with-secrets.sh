#!/bin/sh
# Starts a program that wants its secrets in the environment: with-secrets.sh NAME=FILE... -- PROGRAM ARGUMENT...
# The secrets lie in files that only this container sees, and stand in no command line and in no `docker inspect`.
set -eu
while [ "${1:-}" != -- ]; do
    [ $# -gt 0 ] || { echo "with-secrets.sh: no program after --" >&2; exit 64; }
    value=$(cat "${1#*=}")
    [ -n "$value" ] || { echo "with-secrets.sh: ${1#*=} is empty" >&2; exit 78; }
    export "${1%%=*}=$value"
    shift
done
shift
unset value
exec "$@"
