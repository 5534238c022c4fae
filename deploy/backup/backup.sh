#!/bin/sh
# Backup and restore of what cannot be made again: databases, secrets, the authority, the hub's key, artifacts.
#   backup.sh once            one backup, into a folder named by its time
#   backup.sh nightly         one every night at 02:00 UTC; those older than 14 days go
#   backup.sh files NAME      writes the files of a backup back; nothing may run meanwhile
#   backup.sh databases NAME  writes its databases back; only postgres may run
set -eu
umask 077
databases="keycloak thingsboard hawkbit iot-bridge"

superuser() {
    PGPASSWORD=$(cat /volumes/secrets-databases/superuser)
    export PGPASSWORD PGHOST=postgres PGUSER=postgres
}

once() {
    superuser
    name=$(date -u +%Y-%m-%dT%H%M%SZ)
    rm -rf /backups/.new && mkdir /backups/.new
    for database in $databases; do
        pg_dump --format=custom --file="/backups/.new/$database.dump" "$database"
    done
    (cd /volumes && tar -cf /backups/.new/files.tar -- *)
    (cd /backups/.new && sha256sum ./* >/tmp/sums && mv /tmp/sums SHA256SUMS)
    sync
    mv /backups/.new "/backups/$name" # whole or not at all
    echo "backup: $name, $(du -sh "/backups/$name" | cut -f1)"
}

check() {
    cd "/backups/$1"
    sha256sum --quiet -c SHA256SUMS
}

case ${1:-} in
once) once ;;
nightly)
    while :; do
        now=$(date -u +%s)
        sleep $(((86400 + 7200 - now % 86400) % 86400 + 1)) &
        wait $!
        once || echo "backup: failed" >&2
        find /backups -mindepth 1 -maxdepth 1 -type d -mtime +14 -exec rm -rf {} +
    done
    ;;
files)
    check "$2"
    tar -C /volumes -xpf files.tar
    echo "backup: the files of $2 are back"
    ;;
databases)
    check "$2"
    superuser
    for database in $databases; do
        pg_restore --clean --if-exists --no-owner --role="$database" --exit-on-error --dbname="$database" "$database.dump"
    done
    echo "backup: the databases of $2 are back"
    ;;
*) echo "backup.sh once|nightly|files NAME|databases NAME" >&2; exit 64 ;;
esac
