#!/bin/sh
# Packages a program that is built already: a .deb where Debian knows the target, and
# a tarball with install.sh for everything else.
#
#   systemd/package.sh TARGET PROGRAM [OUT]
#   systemd/package.sh aarch64-unknown-linux-musl target/…/release/edgespool dist/
#
# Needs cargo-deb (cargo install cargo-deb) for the .deb; without it, says so.
set -eu

[ $# -ge 2 ] || {
	sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
	exit 2
}
target=$1
program=$(realpath "$2")
out=$(realpath -m "${3:-target/packages}")
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
mkdir -p "$out"

# Man pages and completions are the same for every target.
cargo run --quiet --locked --example dist -- target/dist

case $target in
x86_64-*) deb=amd64 ;;
aarch64-*) deb=arm64 ;;
armv7-*eabihf) deb=armhf ;;
*) deb= ;;
esac

# All times are those of the last commit, so that the same source gives the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -n "$deb" ] && command -v cargo-deb >/dev/null; then
	# cargo-deb takes the program from where cargo would have put it.
	mkdir -p "$work/$target/release"
	cp "$program" "$work/$target/release/edgespool"
	CARGO_TARGET_DIR=$work cargo deb --quiet --no-build --no-strip --locked \
		--target "$target" --output "$out/edgespool_${version}_$deb.deb"
elif [ -n "$deb" ]; then
	echo "package.sh: no .deb, because cargo-deb is missing (cargo install cargo-deb)" >&2
fi

name=edgespool-$version-$target
mkdir -p "$work/$name"
install -m 0755 "$program" "$work/$name/edgespool"
install -m 0755 systemd/install.sh "$work/$name/"
cp LICENSE-MIT LICENSE-APACHE README.md CHANGELOG.md "$work/$name/"
cp -r target/dist/man target/dist/completions "$work/$name/"
cp -r systemd/other "$work/$name/other"
cp systemd/edgespool.service.d/watched.conf.example "$work/$name/other/"
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw \
	--mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" | gzip -9n >"$out/$name.tar.gz"
cd "$out"
find . -maxdepth 1 \( -name '*.deb' -o -name '*.tar.gz' \) | sort | xargs sha256sum >SHA256SUMS
ls
