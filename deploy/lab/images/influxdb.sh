#!/bin/sh
# The lab's InfluxDB.
set -eu
victoria-metrics -storageDataPath=/var/lib/influxdb2/victoria -httpListenAddr=127.0.0.1:8428 -retentionPeriod=30d \
    -loggerLevel=WARN &
exec python3 /usr/local/bin/influxdb.py
