#!/usr/bin/env bash
# Prints what each crate takes of the binary, the largest first, in Markdown:
#
#   cross/crates.sh [BINARY]      one that was not stripped
#
# default: one that is built for it, for this machine's own CPU. Counted are
# functions by the crate that they are in, so that a generic one counts for where it
# was written, and an inlined one for its caller.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=cross/targets.sh
. "$here/targets.sh"

binary=${1:-}
if [ -z "$binary" ]; then
    target=$(target_named "$(uname -m)")
    cd "$here/.."
    # Only the last step differs from a release: the crates are not built again.
    "$here/cargo.sh" "$target" rustc --locked --release --bin edgespool -- -Cstrip=none >&2
    binary=${CARGO_TARGET_DIR:-target}/$target/release/edgespool
fi

echo "| crate | KiB |"
echo "| --- | --- |"
nm --print-size --radix=d --demangle --defined-only "$binary" | awk '
    # address, size, kind, name
    tolower($3) == "t" && NF > 3 {
        name = $4
        for (i = 5; i <= NF; i++) name = name " " $i
        # <&mut [a::B] as c::D>::f is in a.
        while (sub(/^(<|&|\[|\(|\*|mut |const |dyn |impl )/, "", name));
        if (name ~ /^ring_core_/) crate = "ring (C and assembler)"
        else if (match(name, /^[A-Za-z_0-9]+::/)) crate = substr(name, 1, RLENGTH - 2)
        else if (match(name, /^[A-Za-z_0-9]+\[[0-9a-f]+\]::/)) crate = substr(name, 1, index(name, "[") - 1)
        else crate = "musl and others"
        if (crate ~ /^(core|alloc|std|__rustc)$/ || name ~ /^[a-z0-9]+ as /) crate = "std"
        gsub("_", "-", crate)
        bytes[crate] += $2
    }
    END { for (crate in bytes) printf "%d %s\n", bytes[crate], crate }
' | sort -k1,1nr -k2 | awk '{
    size = $1
    sub(/^[0-9]+ /, "")
    printf "| %s | %.0f |\n", $0, size / 1024
}'
