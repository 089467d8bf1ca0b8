#!/usr/bin/env bash
# Runs cargo for one of the targets, with whatever this machine can do it:
#
#   cross/cargo.sh TARGET SUBCOMMAND [ARGUMENTS...]
#   cross/cargo.sh armv7 test --lib spool::
#
# $EDGESPOOL_CROSS says how; unset, the first of these that is possible:
#   cross      https://github.com/cross-rs/cross, with Docker or Podman running
#   rustup     the compiled standard library that rustup has for the target,
#              with zig as C compiler and linker (musl-gcc for this machine's own CPU)
#   build-std  a nightly compiler that builds the standard library along, with
#              zig. $EDGESPOOL_NIGHTLY names the toolchain (default: nightly).
#              Gives the smallest binary: the library, too, is made for size
#              (optimize_for_size), and has no backtraces. A panic still says
#              what and where.
# The last two fetch what they need by cross/toolchain.sh.
#
# Folders of this machine do not show in the binary: their names are replaced.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=cross/targets.sh
. "$here/targets.sh"

[ $# -ge 2 ] || die "cargo.sh TARGET SUBCOMMAND [ARGUMENTS...]"
target=$(target_named "$1")
subcommand=$2
shift 2
upper=$(tr 'a-z-' 'A-Z_' <<<"$target")
command -v cargo >/dev/null || die "needs Rust: https://rustup.rs"

has_engine() {
    docker info >/dev/null 2>&1 || podman info >/dev/null 2>&1
}

has_image() {
    grep -qF "[target.$target]" "$here/Cross.toml"
}

has_std() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] ||
        { command -v rustup && timeout 60 rustup target add "$target"; } >/dev/null 2>&1
}

way() {
    case ${EDGESPOOL_CROSS:-} in
    cross | rustup | build-std) echo "$EDGESPOOL_CROSS" ;;
    '')
        if command -v cross >/dev/null && has_image && has_engine; then
            echo cross
        elif has_std; then
            echo rustup
        else
            echo build-std
        fi
        ;;
    *) die "EDGESPOOL_CROSS=$EDGESPOOL_CROSS: it is cross, rustup or build-std" ;;
    esac
}

# Adds to what rustc is given for the target.
rustflags() {
    local flag
    for flag; do
        case $flag in *[[:space:]]*) die "cargo takes no folder with a space in its name: $flag" ;; esac
    done
    export RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }$*"
}

# Gives the folders that end up in panic messages the same names everywhere.
hide_folders() {
    local registry
    rustflags "--remap-path-prefix=$(dirname "$here")=/edgespool"
    cargo fetch --quiet --locked --manifest-path "$here/../Cargo.toml"
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
        rustflags "--remap-path-prefix=${registry%/}=/cargo"
    done
}

# What the code of a target is made like.
# - Every ARMv7-A has Thumb-2, whose instructions are half as long where they can
#   be: a binary a fifth smaller. rustc warns that it may rename the feature one day.
# - MIPS: in a position-independent binary lld gives a weak symbol that nobody
#   defines the address at which the binary lies instead of 0, and std calls it. So
#   the binary is not one, but its code is: it calls musl's, which must be.
# - MIPS: rustix 1.1 calls libc there and does not know that with musl libc's times,
#   as the crate libc 0.2 has them, have 32 bits. What it does on x86 is right here.
use_code() {
    case $target in
    armv7-*) rustflags -Ctarget-feature=+thumb-mode ;;
    mipsel-*) rustflags -Crelocation-model=pic -Clink-arg=-no-pie --cfg=fix_y2038 ;;
    esac
}

use_zig() {
    local folder cache
    folder=$("$here/toolchain.sh" zig)
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgespool-cross
    export PATH="$folder/bin:$PATH"
    export CARGO_ZIGBUILD_ZIG_PATH="$folder/ziglang/zig"
    export CARGO_ZIGBUILD_CACHE_DIR="$cache/zigbuild" ZIG_GLOBAL_CACHE_DIR="$cache/zig-cache"
}

# Tests and `cargo run` go through qemu-user where they must.
use_runner() {
    case $subcommand in
    test | run | bench)
        local run
        run=$(runner "$target")
        [ -z "$run" ] || export "CARGO_TARGET_${upper}_RUNNER=$run"
        ;;
    esac
}

by_cross() {
    export CROSS_CONFIG="$here/Cross.toml"
    use_code
    rustflags --remap-path-prefix=/project=/edgespool --remap-path-prefix=/cargo/registry/src=/cargo
    exec cross "$subcommand" --target "$target" "$@"
}

by_rustup() {
    has_std || die "rustup has no $target here; try EDGESPOOL_CROSS=build-std"
    hide_folders
    use_code
    use_runner
    if [ "$target" = "$(uname -m)-unknown-linux-musl" ] && command -v musl-gcc >/dev/null; then
        export "CC_${target//-/_}=musl-gcc"
        exec cargo "$subcommand" --target "$target" "$@"
    fi
    use_zig
    zigbuild "$@"
}

# Makes a link to a folder, or finds it made, by nobody else.
link_to() {
    local folder=$1 link=$2
    if [ "$(readlink "$link")" != "$folder" ]; then
        { ln -s "$folder" "$link.$$" && mv -T "$link.$$" "$link"; } || die "cannot make $link"
    fi
    [ "$(stat -c %u "$link")" = "$(id -u)" ] || die "$link is somebody else's"
}

by_build_std() {
    local std=${EDGESPOOL_NIGHTLY:-nightly} source flags link=/tmp/edgespool-standard-library
    source=$("$here/toolchain.sh" std)
    export RUSTUP_TOOLCHAIN=$std
    unset CARGO RUSTC
    hide_folders
    # Beside a library built here lie no crt1.o and libc.a: zig brings them. What
    # it says of the folder where they would lie is no news.
    rustflags "--remap-path-prefix=$link=/rustc/library" -Clink-self-contained=no -Alinker_messages
    use_code
    use_runner
    use_zig
    # Where cargo looks for that library, instead of in the toolchain. The name of
    # the folder gets into every symbol: the same one on every machine.
    link_to "$source" "$link"
    export __CARGO_TESTS_ONLY_SRC_ROOT=$link
    flags=("-Zbuild-std=std,panic_abort")
    # Tests unwind, which a library for size alone does not.
    [ "$subcommand" = test ] || flags+=(-Zbuild-std-features=optimize_for_size)
    zigbuild "${flags[@]}" "$@"
}

zigbuild() {
    [ "$subcommand" != build ] || subcommand=zigbuild
    exec cargo-zigbuild "$subcommand" --target "$target" "$@"
}

how=$(way)
say "$target by $how"
case $how in
cross) by_cross "$@" ;;
rustup) by_rustup "$@" ;;
build-std) by_build_std "$@" ;;
esac
