#!/usr/bin/env bash
# Installs ttyd 1.7.7 into the cache folder: Debian sid has it, in a folder of its own that nothing else needs.
#
#   ttyd.sh CACHE
set -euo pipefail
cd "$(dirname "$0")/.."
. ./packages.sh

folder=$1/ttyd
[ -x "$folder/usr/bin/ttyd" ] && exit 0
[ "$(id -u)" -eq 0 ] || { echo "only root can install ttyd" >&2; exit 1; }
need debootstrap debootstrap
need ip iproute2

# A folder that is there is a whole one.
new=$folder.new
rm -rf "$new"
debootstrap --variant=minbase --include=ttyd,bash sid "$new" >/dev/null
chroot "$new" apt-get clean
chroot "$new" ttyd --version | grep -q '1\.7\.7' || { echo "sid no longer has ttyd 1.7.7" >&2; exit 1; }
mv "$new" "$folder"
