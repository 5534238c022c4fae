#!/usr/bin/env bash
# Packs a machine that has WireGuard in its kernel: Debian's cloud kernel, its modules, and our hub process and the
# agent of devices with the programs that they call, as what QEMU starts from. The machine that this runs on does not need the module.
#
#   wireguard-kernel.sh CACHE
set -euo pipefail
cd "$(dirname "$0")/../../.."
. tests/real/packages.sh

modules=(wireguard nf_tables nft_ct veth)
folder=$1/wireguard-kernel
need qemu-system-x86_64 qemu-system-x86
need busybox busybox-static
need cpio cpio
need depmod kmod
need ip iproute2
need nft nftables
need wg wireguard-tools

if [ ! -d "$folder/kernel" ]; then
  work=$(mktemp -d "$1/wireguard-kernel.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }')
  [ -n "$package" ] || { apt-get update -qq; package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }'); }
  (cd "$work" && chmod 755 . && apt-get download -qq "$package" 2>/dev/null && dpkg -x ./*.deb kernel && rm ./*.deb)
  depmod -b "$work/kernel" "$(ls "$work/kernel/lib/modules")"
  mkdir -p "$folder"
  mv "$work/kernel" "$folder/kernel" # whole or not at all
fi

cargo build --quiet --locked --workspace --bins --example hub

# The first file system: what the modules and programs need, and nothing else.
root=$(mktemp -d)
trap 'rm -rf "$root" "${work:-$root}"' EXIT
version=$(ls "$folder/kernel/lib/modules")
mkdir -p "$root"/{bin,dev,etc,proc,run,sys,tmp,var,lib/modules/"$version"}
ln -s ../run "$root/var/run"
install -m 755 /bin/busybox "$root/bin/busybox"
install -m 755 tests/real/wireguard-kernel.init "$root/init"
cp "$folder/kernel/lib/modules/$version"/modules.{dep,alias,symbols,builtin}* "$root/lib/modules/$version/"
for module in "${modules[@]}"; do
  modprobe -d "$folder/kernel" -S "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
done | sort -u | while read -r file; do
  install -D -m 644 "$file" "$root/${file#"$folder/kernel/"}"
done
# A device that has enrolled, and the key of the hub that it was told about: what quickstart leaves in its folder.
timeout --signal INT 5 target/debug/quickstart --data-dir "$root/enrolled" --api-port 0 --proxy-port 0 --login-port 0 \
  >"$root/tmp/quickstart.log" 2>&1 || true # it ends when it is told to
[ -s "$root/enrolled/devices/demo-1/wg0.conf" ] || { cat "$root/tmp/quickstart.log" >&2; exit 1; }
for program in target/debug/examples/hub target/debug/iot-device "$(command -v ip)" "$(command -v nft)" "$(command -v wg)"; do
  install -m 755 "$program" "$root/bin/"
  ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    [ -e "$root$library" ] || install -D -m 755 "$library" "$root$library"
  done
done
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) > "$folder/initramfs.new"
mv "$folder/initramfs.new" "$folder/initramfs"
cp "$folder/kernel/boot/vmlinuz-$version" "$folder/vmlinuz"
