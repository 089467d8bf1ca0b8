#!/usr/bin/env bash
# Shows that the same source gives the same bytes, wherever it lies:
#
#   cross/reproducible.sh [TARGET] [BINARY]    default: this machine's own CPU
#
# builds the committed source (HEAD) from scratch in two folders of different
# names and depths, with different folders of downloaded crates, and compares the
# binaries; with BINARY, an earlier build of the same commit is the first.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=cross/targets.sh
. "$here/targets.sh"

target=$(target_named "${1:-$(uname -m)}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cargo_home=$(readlink -f "${CARGO_HOME:-$HOME/.cargo}")
first=${2:-}

# Builds below a folder and prints the binary's path.
build_below() {
    local folder=$1
    mkdir -p "$folder/source" "$folder/home"
    git -C "$here/.." archive HEAD | tar -x -C "$folder/source"
    # The crates once more, under another name, not downloaded again.
    if [ -d "$cargo_home/registry" ]; then
        cp -a "$cargo_home/registry" "$folder/home/"
    fi
    [ ! -f "$cargo_home/config.toml" ] || cp "$cargo_home/config.toml" "$folder/home/"
    env -u RUSTFLAGS CARGO_HOME="$folder/home" CARGO_TARGET_DIR="$folder/target" \
        "$folder/source/cross/build.sh" "$target" >"$folder/path"
    cat "$folder/path"
}

say "building $target in $([ -n "$first" ] && echo one folder || echo two folders)"
[ -n "$first" ] || first=$(build_below "$scratch/a")
second=$(build_below "$scratch/second/much/deeper")
sha256sum "$first" "$second" >&2
cmp "$first" "$second" || die "$target: the two builds differ"
# No folder of this machine may be in it. Not $HOME itself: /root is everywhere.
folders="$cargo_home|$(readlink -f "${RUSTUP_HOME:-$HOME/.rustup}")|$scratch|$(dirname "$here")"
if grep -aoE "($folders)/[[:print:]]{0,40}" "$second" >&2; then
    die "$target: the binary names folders of this machine"
fi
say "$target: both builds have the same $(stat -c %s "$second") bytes"
