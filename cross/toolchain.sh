#!/usr/bin/env bash
# Fetches what cross-compiling needs beyond Rust itself, once, by version and hash.
#
#   cross/toolchain.sh zig    zig and cargo-zigbuild; prints the folder
#   cross/toolchain.sh std    the standard library's source; prints its folder
#
# Both end up in ${XDG_CACHE_HOME:-~/.cache}/edgespool-cross, and nothing else on
# the machine is changed. `cross/build.sh` calls this where it needs it.
#
# zig is the C compiler and linker for every target, with a musl of its own; it
# and cargo-zigbuild, which makes cargo use it, are wheels on PyPI.
#
# The standard library's source is for machines whose rustup has or gets no
# compiled one for a target: a nightly compiler builds it along (-Z build-std). It
# must be of the compiler's minor version. Taken are, in this order:
# - $EDGESPOOL_STD_SRC, a folder `library` or a rust-src .deb;
# - rustup's component rust-src, where it is installed;
# - Debian's package rust-src, from the mirror that this machine's apt uses.
set -euo pipefail
# shellcheck source=cross/targets.sh
. "$(dirname "$(readlink -f "$0")")/targets.sh"

ZIG='ziglang==0.17.1 --hash=sha256:ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54'
ZIGBUILD='cargo-zigbuild==0.24.0 --hash=sha256:484412e39e4c6039474535ce97ee75a22bab22d58233056f8ec8a8f9034bb957'
# Known to build with rustc 1.97.0-nightly (e50aa6fba 2026-05-19).
STD_VERSION=1.97.1+dfsg1-1
STD_SHA256=d0637f8f464234ffb12baa55fc0e851f5f9dcfd0199c1a0922e4488a4f591992
# Where Debian may have that minor version.
STD_SUITES='sid forky'

cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgespool-cross
nightly=${EDGESPOOL_NIGHTLY:-nightly}
mkdir -p "$cache"

# Holds the cache's lock until this script ends: two builds never fetch at once.
exec 9>"$cache/lock"
flock -w 900 9 || die "another run holds $cache/lock"

scratch=$(mktemp -d "$cache/tmp.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

fetch_zig() {
    local key folder
    key=$(printf '%s\n%s\n' "$ZIG" "$ZIGBUILD" | sha256sum | cut -c1-16)
    folder=$cache/zig-$key
    if [ ! -d "$folder" ]; then
        say "fetching ${ZIG%% *} and ${ZIGBUILD%% *}"
        printf '%s\n%s\n' "$ZIG" "$ZIGBUILD" >"$scratch/requirements.txt"
        python3 -m pip --version >/dev/null 2>&1 || die "needs pip: apt install python3-pip"
        python3 -m pip -q --disable-pip-version-check install --no-deps --no-compile \
            --require-hashes --target "$scratch/zig" -r "$scratch/requirements.txt" \
            2>"$scratch/pip.log" ||
            die "pip could not install them: $(tail -n 3 "$scratch/pip.log")"
        mv "$scratch/zig" "$folder"
    fi
    echo "$folder"
}

# The minor version of the compiler, as 1.97.
compiler_minor() {
    local version
    version=$(rustc "+$nightly" --version 2>/dev/null) ||
        die "needs a nightly toolchain: rustup toolchain install $nightly"
    sed -E 's/^rustc ([0-9]+\.[0-9]+).*/\1/' <<<"$version"
}

fetch_std() {
    local minor given folder
    minor=$(compiler_minor)
    given=${EDGESPOOL_STD_SRC:-}
    if [ -z "$given" ]; then
        given=$(rustc "+$nightly" --print sysroot)/lib/rustlib/src/rust/library
        [ -d "$given" ] || given=
    fi
    if [ -d "$given" ]; then
        readlink -f "$given"
        return
    fi
    folder=$cache/std-$minor
    if [ ! -d "$folder" ]; then
        if [ -n "$given" ]; then
            cp "$given" "$scratch/rust-src.deb"
        else
            fetch_debian "$minor"
        fi
        unpack_std
        mv "$scratch/library" "$folder"
    fi
    echo "$folder"
}

# Downloads Debian's rust-src of a minor version to rust-src.deb.
fetch_debian() {
    local minor=$1 mirror suite version lists
    command -v apt-get >/dev/null || die "needs the standard library's source:" \
        "rustup component add rust-src --toolchain $nightly, or set EDGESPOOL_STD_SRC"
    mirror=$(debian_mirror)
    if [[ $STD_VERSION == "$minor".* ]]; then
        say "fetching rust-src $STD_VERSION"
        if /usr/lib/apt/apt-helper -q -o APT::Sandbox::User=root download-file \
            "$mirror/pool/main/r/rustc/rust-src_${STD_VERSION}_all.deb" \
            "$scratch/rust-src.deb" "SHA256:$STD_SHA256" >"$scratch/apt.log" 2>&1; then
            return
        fi
        say "the mirror has it no more"
    fi
    # Any other build of that minor version, by apt's own signatures.
    mkdir -p "$scratch/apt/lists/partial" "$scratch/apt/cache/archives/partial"
    for suite in $STD_SUITES; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$scratch/apt/sources.list"
    lists=(-q -o "Dir::Etc::SourceList=$scratch/apt/sources.list" -o Dir::Etc::SourceParts=-
        -o Dir::Etc::PreferencesParts=- -o "Dir::State::Lists=$scratch/apt/lists"
        -o "Dir::Cache=$scratch/apt/cache" -o Acquire::Languages=none -o APT::Sandbox::User=root)
    apt-get "${lists[@]}" update >"$scratch/apt.log" 2>&1 ||
        die "apt could not read the lists of $STD_SUITES: $(tail -n 3 "$scratch/apt.log")"
    version=$(apt-cache "${lists[@]}" madison rust-src | awk '{print $3}' |
        grep -F "$minor." | sort -Vu | tail -n 1) ||
        die "$STD_SUITES have no rust-src $minor for this nightly compiler; set EDGESPOOL_STD_SRC"
    say "fetching rust-src $version"
    (cd "$scratch" && apt-get "${lists[@]}" download "rust-src=$version" >"$scratch/apt.log" 2>&1 &&
        mv rust-src_*.deb rust-src.deb) || die "no download: $(tail -n 3 "$scratch/apt.log")"
}

# The archive that this machine's apt uses for Debian itself.
debian_mirror() {
    local url
    # shellcheck disable=SC2016
    url=$(apt-get indextargets --format '$(REPO_URI)' | grep -E '/debian/?$' | head -n 1) || true
    [ -n "$url" ] || die "apt knows no Debian mirror here; set EDGESPOOL_STD_SRC"
    echo "${url%/}"
}

# Unpacks rust-src.deb to `library`, without the crates that it brings along:
# cargo takes those from where it takes all others.
unpack_std() {
    mkdir "$scratch/unpacked"
    dpkg-deb --fsys-tarfile "$scratch/rust-src.deb" |
        tar -x -C "$scratch/unpacked" --wildcards --exclude='*/library/vendor' \
            --exclude='*/library/.cargo' './usr/src/rustc-*/library'
    mv "$scratch/unpacked"/usr/src/rustc-*/library "$scratch/library"
    [ -f "$scratch/library/std/Cargo.toml" ] || die "rust-src has no standard library in it"
}

case ${1:-} in
zig) fetch_zig ;;
std) fetch_std ;;
*) die "toolchain.sh zig | std" ;;
esac
