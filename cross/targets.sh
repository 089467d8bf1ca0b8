# The targets, by their short names. Sourced by the other scripts here.
# shellcheck shell=bash disable=SC2034

# All that `all` names, in the order of the README's table.
TARGETS=(
    x86_64-unknown-linux-musl
    i686-unknown-linux-musl
    aarch64-unknown-linux-musl
    armv7-unknown-linux-musleabihf
    arm-unknown-linux-musleabihf
    arm-unknown-linux-musleabi
    riscv64gc-unknown-linux-musl
    mipsel-unknown-linux-musl
)

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}

# The full name of a target.
target_named() {
    case $1 in
    x86_64 | amd64) echo x86_64-unknown-linux-musl ;;
    i686 | i386) echo i686-unknown-linux-musl ;;
    aarch64 | arm64) echo aarch64-unknown-linux-musl ;;
    armv7 | armhf) echo armv7-unknown-linux-musleabihf ;;
    armv6 | armv6hf) echo arm-unknown-linux-musleabihf ;;
    armel | armv6sf) echo arm-unknown-linux-musleabi ;;
    riscv64) echo riscv64gc-unknown-linux-musl ;;
    mipsel) echo mipsel-unknown-linux-musl ;;
    *-*-linux-musl*) echo "$1" ;;
    *) die "no target $1; there are: all ${TARGETS[*]}" ;;
    esac
}

# What qemu-user calls the CPU's family.
qemu_family() {
    case $1 in
    x86_64-*) echo x86_64 ;;
    i?86-*) echo i386 ;;
    aarch64-*) echo aarch64 ;;
    arm*) echo arm ;;
    riscv64*) echo riscv64 ;;
    *) echo "${1%%-*}" ;;
    esac
}

# The command that runs a program for a target here; empty where the machine
# runs it itself. The CPU is the oldest that the target is meant for, so that an
# instruction it lacks is found.
runner() {
    local family machine emulator
    family=$(qemu_family "$1")
    machine=$(uname -m)
    case $machine:$family in
    "$family:$family" | x86_64:i386) return ;;
    esac
    emulator=$(command -v "qemu-$family-static" || command -v "qemu-$family") ||
        die "needs qemu-$family to run $1: apt install qemu-user-static"
    case $1 in
    aarch64-*) echo "$emulator -cpu cortex-a53" ;;
    armv7-*) echo "$emulator -cpu cortex-a7" ;;
    arm-*) echo "$emulator -cpu arm1176" ;;
    mipsel-*) echo "$emulator -cpu 24Kc" ;;
    *) echo "$emulator" ;;
    esac
}
