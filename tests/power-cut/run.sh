#!/usr/bin/env bash
# Power cuts: a small virtual machine in which the agent takes and uploads files
# is killed at random moments, again and again. After each cut, every file that
# was promised must be at the source, in the spool, or whole on the server; in
# the end the server has each of them once, byte for byte.
#
#     tests/power-cut/run.sh [CUTS [FILESYSTEM...]]     default: 20 ext4 f2fs
#
# Needs root or sudo for its packages, and is meant for /dev/kvm; where that is
# not there, or lets no ordinary kernel run, QEMU translates, which takes longer.
# Some ten seconds a cut. EDGESPOOL_BINARY is the binary to run, which must be static; without it
# one is built for musl. EDGESPOOL_SEED repeats the moments, as far as the
# machine does. Not part of CI.
#
# What makes it a power cut, and not only the end of a process: the guest's disk
# is a fresh qcow2 overlay at each start. QEMU keeps that format's tables in its
# memory until the guest flushes its disk, so that killing QEMU loses blocks
# that the guest wrote and did not flush, as the cache of a drive does.
#
# What is promised, and to whom:
# * a file that its producer flushed, with its directory, is never lost;
# * a file that left its source, because the agent took it, is never lost,
#   though nobody but the agent ever flushed it. A third of the files has its
#   source on a tmpfs, of which nothing is left after a cut.
set -euo pipefail
cd "$(dirname "$0")"

cuts=${1:-20}
filesystems=("${@:2}")
[ ${#filesystems[@]} -gt 0 ] || filesystems=(ext4 f2fs)
[ -w /dev/kvm ] || export EDGESPOOL_ACCELERATOR=${EDGESPOOL_ACCELERATOR:-tcg}

packages=()
for package in busybox-static cpio e2fsprogs f2fs-tools kmod python3-pyftpdlib \
    qemu-system-x86 qemu-utils; do
    dpkg -s "$package" >/dev/null 2>&1 || packages+=("$package")
done
if [ ${#packages[@]} -gt 0 ]; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends "${packages[@]}" >/dev/null
fi

binary=${EDGESPOOL_BINARY:-}
if [ -z "$binary" ]; then
    cargo build --locked --release --quiet --target x86_64-unknown-linux-musl
    target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    binary=$target/x86_64-unknown-linux-musl/release/edgespool
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/power-cut.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The kernel of the distribution, unpacked but not installed.
kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
(cd "$work" && apt-get -qq download "$kernel" 2>/dev/null && dpkg -x "$kernel"_*.deb kernel)
version=${kernel#linux-image-}

# The guest: busybox, the modules that it needs, the agent, and its init.
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,data,ram,tmp,etc/edgespool,"lib/modules/$version"}
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$binary" "$root/bin/edgespool"
cp guest.sh "$root/init"
cp guest.toml "$root/etc/edgespool/edgespool.toml"
chmod +x "$root/init"
modules=$work/kernel/lib/modules/$version
depmod -b "$work/kernel" "$version"
cp "$modules"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$version/"
for module in virtio_pci virtio_blk virtio_net ext4 f2fs crc32_generic crc32c_generic; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module" 2>/dev/null \
        | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | sort -u | while read -r file; do
    to=$root/lib/modules/$version/${file#"$modules"/}
    mkdir -p "$(dirname "$to")"
    cp "$file" "$to"
done
depmod -b "$root" "$version"
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initramfs"

for filesystem in "${filesystems[@]}"; do
    rm -f "$work/disk"
    truncate -s 512M "$work/disk"
    case $filesystem in
    ext4) mkfs.ext4 -q "$work/disk" ;;
    f2fs) mkfs.f2fs -q "$work/disk" >/dev/null ;;
    *) echo "no idea how to make $filesystem" >&2; exit 64 ;;
    esac
    /usr/bin/python3 cut.py "$work" "$work/kernel/boot/vmlinuz-$version" "$filesystem" "$cuts"
done
