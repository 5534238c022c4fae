#!/bin/sh
# Starts ThingsBoard's image, or makes its tables and ends: thingsboard.sh install|serve.
set -eu
SPRING_DATASOURCE_PASSWORD=$(cat /secrets/database)
export SPRING_DATASOURCE_PASSWORD
if [ "$1" = install ]; then
    [ ! -e /state/installed ] || exit 0
    export INSTALL_TB=true LOAD_DEMO=false
fi
exec start-tb-node.sh
