#!/bin/sh
# The official image has the stream module built in; Debian's is loaded.
for argument; do
    case $argument in
    "daemon off;") argument="load_module /usr/lib/nginx/modules/ngx_stream_module.so; daemon off;" ;;
    esac
    set -- "$@" "$argument"
    shift
done
exec /usr/sbin/nginx.real "$@"
