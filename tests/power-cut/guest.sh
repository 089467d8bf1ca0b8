#!/bin/busybox sh
# The guest of run.sh: says what the last cut left, starts the agent, and writes
# files until it is killed. What it says goes to the console, one line each:
#
#     BOOTED          the kernel runs
#     SOURCE NAME     a whole file at the source at the start
#     TORN NAME       a file at the source that is not whole, and is removed
#     QUEUED JSON     what `queue list --json` says at the start
#     READY           the agent is started
#     WROTE NAME      the producer flushed this file and its directory
#     FAILED TEXT     the guest is not fit for the test
#     GONE NAME       this file is no longer at its source
#     DRAINED CODE    with `drain`: what `once` ended with
#     AGENT TEXT      a line of the agent's log
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs ram /ram
echo BOOTED

if grep -q probe=1 /proc/cmdline; then
    poweroff -f
fi
for word in $(cat /proc/cmdline); do
    case $word in
    filesystem=* | first=* | port=* | drain=*) eval "${word%%=*}=${word#*=}" ;;
    esac
done
for module in virtio_pci virtio_blk virtio_net crc32_generic crc32c_generic "$filesystem"; do
    modprobe "$module"
done
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
mount -t "$filesystem" /dev/vda /data || echo "FAILED to mount $filesystem"
mkdir -p /data/in /ram/in
sed -i "s/@PORT@/$port/" /etc/edgespool/edgespool.toml

whole() {
    numbers=${1##*/image-}
    yes "${numbers%-*}" | head -c "${numbers#*-}" | cmp -s - "$1"
}

# A file that its producer did not flush may have come to harm at the source,
# before anyone took it; the producer would write it again.
for file in /data/in/image-*; do
    [ -e "$file" ] || continue
    if whole "$file"; then
        echo "SOURCE ${file##*/}"
    else
        echo "TORN ${file##*/}"
        rm "$file"
    fi
done
rm -f /data/in/.image-*
sync
[ -e /data/spool/format ] && edgespool queue list --json | tr -d '\n' | sed 's/^/QUEUED /; s/$/\n/'

if [ "${drain:-0}" = 1 ]; then
    edgespool -v once --patience 60s >/tmp/log 2>&1
    code=$?
    sed 's/^/AGENT /' /tmp/log
    echo "DRAINED $code"
    sync
    poweroff -f
fi

mkfifo /tmp/said
sed 's/^/AGENT /' </tmp/said &
edgespool run >/tmp/said 2>&1 &
echo READY

gone() {
    left=
    count=0
    for name in $pending; do
        if [ -e "/data/in/$name" ] || [ -e "/ram/in/$name" ]; then
            left="$left $name"
            count=$((count + 1))
        else
            echo "GONE $name"
        fi
    done
    pending=$left
}

n=$first
pending=
while :; do
    size=$((n * 7919 % 60000))
    name=image-$n-$size
    dir=/data/in
    [ $((n % 3)) = 2 ] && dir=/ram/in
    yes "$n" | head -c "$size" >"$dir/.$name.tmp"
    [ $((n % 3)) = 0 ] && sync "$dir/.$name.tmp"
    mv "$dir/.$name.tmp" "$dir/$name"
    if [ $((n % 3)) = 0 ]; then
        sync "$dir"
        echo "WROTE $name"
    fi
    pending="$pending $name"
    gone
    while [ $count -gt 60 ]; do
        usleep 50000
        gone
    done
    usleep 10000
    n=$((n + 1))
done
