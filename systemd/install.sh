#!/bin/sh
# Installs edgespool from this directory: with systemd, by `edgespool install`; else
# the program alone, with a word on what to do. Man pages and completions go along.
#
#   ./install.sh [--root DIR]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=/
if [ "${1:-}" = --root ] && [ -n "${2:-}" ]; then
	root=$2
elif [ $# -gt 0 ]; then
	echo "usage: $0 [--root DIR]" >&2
	exit 2
fi

# put DIR FILE...: files from here into a directory below the root
put() {
	into=$root/$1
	shift
	mkdir -p "$into"
	cp "$@" "$into/"
}

if [ "$root" = / ] && [ ! -d /run/systemd/system ]; then
	put usr/local/bin "$here/edgespool"
	echo "wrote /usr/local/bin/edgespool"
	echo "next: a service from $here/other (see its README.md), and: edgespool init /etc/edgespool"
else
	"$here/edgespool" install --root "$root"
fi

put usr/local/share/man/man1 "$here"/man/*.1
put usr/local/share/man/man5 "$here"/man/*.5
mkdir -p "$root/usr/local/share/bash-completion/completions"
cp "$here/completions/edgespool.bash" "$root/usr/local/share/bash-completion/completions/edgespool"
put usr/local/share/zsh/site-functions "$here/completions/_edgespool"
put usr/local/share/fish/vendor_completions.d "$here/completions/edgespool.fish"
