#!/usr/bin/env bash
# Prints the README's table of what each target takes, in Markdown:
#
#   cross/sizes.sh [TARGET...]      default: all
#
# Size: of the binary on disk. Memory: resident set of an idle agent with one
# watch, half a minute after its start; only where this machine runs the binary
# itself, because qemu's own memory would be counted along.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=cross/targets.sh
. "$here/targets.sh"

[ $# -gt 0 ] || set -- "${TARGETS[@]}"
scratch=$(mktemp -d)
agent=
end() {
    [ -z "$agent" ] || kill "$agent" 2>/dev/null || true
    rm -rf "$scratch"
}
trap end EXIT

# KiB of an idle agent.
idle_kib() {
    local binary=$1
    rm -rf "$scratch/world"
    mkdir -p "$scratch/world/watched"
    cat >"$scratch/world/edgespool.toml" <<-'TOML'
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
    "$binary" -c "$scratch/world/edgespool.toml" run 2>"$scratch/log" &
    agent=$!
    sleep 30
    sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$agent/status" ||
        die "the agent ended: $(cat "$scratch/log")"
    kill "$agent"
    wait "$agent" || true
    agent=
}

mib() { awk -v bytes="$1" 'BEGIN { printf "%.2f MiB", bytes / 1048576 }'; }

echo "| target | size | memory, idle |"
echo "| --- | --- | --- |"
for name; do
    target=$(target_named "$name")
    # A target that does not build has no row, and the script says why.
    if ! binary=$("$here/build.sh" "$target"); then
        say "$target: left out"
        continue
    fi
    memory=–
    [ -n "$(runner "$target")" ] || memory=$(mib $(($(idle_kib "$binary") * 1024)))
    echo "| \`$target\` | $(mib "$(stat -c %s "$binary")") | $memory |"
done
