#!/usr/bin/env bash
# Builds static binaries of edgespool:
#
#   cross/build.sh [--to DIR] [TARGET... | all]     default: this machine's own CPU
#   cross/build.sh armv7                            for example
#
# and prints the path of each. With --to they are put there as edgespool-TARGET.
# Each is checked: static, stripped, and for armv7 no larger than it may be.
# How it builds: see cross/cargo.sh.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=cross/targets.sh
. "$here/targets.sh"

# Bytes. Only this target has a limit: it is the one that the budget is set for.
ARMV7_SIZE_MAX=$((3 << 20))

to=
names=()
while [ $# -gt 0 ]; do
    case $1 in
    --to)
        to=${2:?--to DIR}
        shift
        ;;
    -h | --help)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
        exit
        ;;
    -*) die "no option $1" ;;
    all) names+=("${TARGETS[@]}") ;;
    *) names+=("$1") ;;
    esac
    shift
done
[ ${#names[@]} -gt 0 ] || names=("$(uname -m)")
[ -z "$to" ] || mkdir -p "$to"
[ -z "$to" ] || to=$(readlink -f "$to")

# Fails unless a binary runs on its own, and on the smallest device.
check() {
    local target=$1 binary=$2 bytes
    if readelf --program-headers --dynamic --wide "$binary" | grep -E 'INTERP|NEEDED' >&2; then
        die "$binary is not static"
    fi
    if readelf --sections --wide "$binary" | grep -E '\.(symtab|debug_info)' >&2; then
        die "$binary is not stripped"
    fi
    bytes=$(stat -c %s "$binary")
    say "$target: $bytes bytes"
    if [[ $target == armv7-* ]] && [ "$bytes" -gt "$ARMV7_SIZE_MAX" ]; then
        die "$binary has $((bytes - ARMV7_SIZE_MAX)) bytes too many"
    fi
}

cd "$here/.."
for name in "${names[@]}"; do
    target=$(target_named "$name")
    "$here/cargo.sh" "$target" build --locked --release --bin edgespool >&2 ||
        die "$target was not built"
    binary=$(readlink -f "${CARGO_TARGET_DIR:-target}/$target/release/edgespool")
    check "$target" "$binary"
    if [ -n "$to" ]; then
        cp "$binary" "$to/edgespool-$target"
        binary=$to/edgespool-$target
    fi
    echo "$binary"
done
