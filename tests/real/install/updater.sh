# rauc-hawkbit-updater 1.4 with RAUC, into CACHE/updater: Debian sid has them, in a folder of its own that nothing else
# needs. The scenario needs hawkBit and step-ca as well.
#
#   updater.sh CACHE
set -euo pipefail
cd "$(dirname "$0")"
. ../packages.sh

bash ./hawkbit.sh "$1"
# The bridge's clock is moved by it.
[ -e /usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 ] || need faketime faketime

folder=$1/updater
[ -x "$folder/usr/bin/rauc-hawkbit-updater" ] && exit 0
[ "$(id -u)" -eq 0 ] || { echo "only root can install rauc-hawkbit-updater" >&2; exit 1; }
need debootstrap debootstrap

# A folder that is there is a whole one.
new=$folder.new
rm -rf "$new"
debootstrap --variant=minbase --include=rauc,rauc-hawkbit-updater,dbus,ca-certificates,squashfs-tools,openssl \
  sid "$new" >/dev/null
chroot "$new" apt-get clean
chroot "$new" rauc-hawkbit-updater --version | grep -q '1\.4' ||
  { echo "sid no longer has rauc-hawkbit-updater 1.4" >&2; exit 1; }
mv "$new" "$folder"
