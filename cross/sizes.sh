#!/usr/bin/env bash
# Prints the README's table of what each target takes, in Markdown:
#
#   cross/sizes.sh [TARGET...]               builds them; default: all
#   cross/sizes.sh --from DIR [TARGET...]    those that `build.sh --to DIR` put there
#
# Binary: its bytes on disk. Memory: what is resident of an idle agent with one
# watch, half a minute after its start, and how much of that is its own; the rest
# are pages of the binary, which the kernel may drop and read again. Where
# qemu-user runs the agent, what qemu itself takes is not counted.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=cross/targets.sh
. "$here/targets.sh"

from=
if [ "${1:-}" = --from ]; then
    from=${2:?--from DIR}
    shift 2
fi
[ $# -gt 0 ] || set -- "${TARGETS[@]}"
scratch=$(mktemp -d)
agent=
end() {
    [ -z "$agent" ] || kill "$agent" 2>/dev/null || true
    rm -rf "$scratch"
}
trap end EXIT

# The path of a target's binary.
binary_of() {
    local given=$from/edgespool-$1
    if [ -z "$from" ]; then
        "$here/build.sh" "$1"
    elif [ -f "$given" ]; then
        echo "$given"
    else
        say "there is no $given"
        return 1
    fi
}

# KiB of a process: resident, and of these anonymous. qemu-user keeps the program's
# addresses below 1 TiB (ten digits) and its own above.
kib_of() {
    local pid=$1 digits=$2
    awk -v digits="$digits" '
        /^[0-9a-f]+-[0-9a-f]+ / { counts = index($1, "-") - 1 <= digits }
        counts && $1 == "Rss:" { resident += $2 }
        counts && $1 == "Anonymous:" { own += $2 }
        END { print resident + 0, own + 0 }
    ' "/proc/$pid/smaps"
}

# KiB of an idle agent, as above. What runs the binary stands before it.
idle_kib() {
    local digits=16
    [ $# -eq 1 ] || digits=10
    rm -rf "$scratch/world"
    mkdir -p "$scratch/world/watched"
    (umask 077 && cat >"$scratch/world/edgespool.toml") <<-'TOML'
	[spool]
	dir = "spool"
	[[server]]
	name = "central"
	host = "127.0.0.1"
	port = 9
	user = "nobody"
	password = "nothing"
	[[watch]]
	name = "camera"
	dir = "watched"
	server = "central"
	TOML
    "$@" -c "$scratch/world/edgespool.toml" run 2>"$scratch/log" &
    agent=$!
    sleep 30
    kib_of "$agent" "$digits" || die "the agent ended: $(cat "$scratch/log")"
    kill "$agent"
    wait "$agent" || true
    agent=
}

echo "| target | binary | memory, idle | of it its own |"
echo "| --- | --- | --- | --- |"
for name; do
    target=$(target_named "$name")
    # A target that does not build has no row, and the script says why.
    if ! binary=$(binary_of "$target"); then
        say "$target: left out"
        continue
    fi
    # Not quoted: the command and its arguments, or nothing.
    # shellcheck disable=SC2046
    idle_kib $(runner "$target") "$binary" >"$scratch/kib"
    read -r resident own <"$scratch/kib"
    awk -v target="$target" -v bytes="$(stat -c %s "$binary")" -v resident="$resident" -v own="$own" 'BEGIN {
        printf "| `%s` | %.2f MiB | %.2f MiB | %.2f MiB |\n", target, bytes / 1048576, resident / 1024, own / 1024
    }'
done
