#!/bin/sh
# Tries a .deb with dpkg in a Debian of its own (debootstrap): installs it, upgrades
# it over a spool with a file in it, removes it, purges it. Changes nothing outside
# of a temporary directory. Needs root, debootstrap and a Debian mirror; for another
# architecture than this machine's also qemu-user, registered as binfmt with the flag F.
#
#   systemd/deb/test.sh PACKAGE.deb [ROOT]
#
# ROOT is a debootstrap directory to be used again; it is made if it is missing.
set -eu

[ $# -ge 1 ] || {
	sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
	exit 2
}
package=$(realpath "$1")
work=$(mktemp -d)
root=$(realpath -m "${2:-$work/root}")
trap 'rm -rf "$work"' EXIT

fail() {
	echo "FAILED $*" >&2
	exit 1
}

if [ ! -x "$root/usr/bin/dpkg" ]; then
	debootstrap --arch="$(dpkg-deb -f "$package" Architecture)" --variant=minbase \
		--include=systemd-standalone-sysusers,systemd-standalone-tmpfiles bookworm "$root" >"$work/log" ||
		{
			tail "$work/log" >&2
			exit 1
		}
fi

# A namespace of its own takes the mount along when it ends.
inside() {
	unshare --mount sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" \
		env DEBIAN_FRONTEND=noninteractive "$@"
}

# The same package with a later version.
dpkg-deb -R "$package" "$work/later"
sed -i 's/^Version: .*/&+later/' "$work/later/DEBIAN/control"
dpkg-deb -b "$work/later" "$root/later.deb" >/dev/null
cp "$package" "$root/first.deb"
# Whatever an earlier run left.
inside dpkg -P edgespool >/dev/null 2>&1 || true
rm -rf "$root/var/lib/edgespool" "$root/etc/edgespool" "$root/tmp/out"

echo "== installs, and starts nothing"
inside dpkg -i /first.deb >"$work/said"
grep -q "nothing is started without a config" "$work/said" || fail "it says what is next"
inside edgespool --version
inside getent passwd edgespool >/dev/null || fail "the user is there"
[ "$(stat -c %a:%U "$root/var/lib/edgespool" | cut -d: -f1)" = 700 ] || fail "the spool's mode"
[ -z "$(ls "$root/etc/edgespool")" ] || fail "a config came from nowhere"
for file in usr/share/man/man1/edgespool-run.1.gz usr/share/bash-completion/completions/edgespool \
	usr/lib/systemd/system/edgespool.service; do
	[ -s "$root/$file" ] || fail "$file"
done

echo "== upgrades without losing a spool"
mkdir -p "$root/tmp/out"
echo content >"$root/tmp/out/file"
cat >"$root/etc/edgespool/edgespool.toml" <<'END'
[spool]
min_free = "0"
[[server]]
name = "s"
host = "127.0.0.1"
port = 1
user = "anonymous"
tls = "none"
[[watch]]
name = "w"
dir = "/tmp/out"
quiet = "0s"
END
status=0
inside edgespool once --patience 0s 2>/dev/null || status=$?
[ "$status" = 75 ] || fail "a file waits (exit $status)"
queued() { inside edgespool queue list --json 2>/dev/null | grep -c '"path":"file"'; }
[ "$(queued)" = 1 ] || fail "it is listed"
inside dpkg -i /later.deb >/dev/null
inside dpkg -s edgespool | grep -q '^Version: .*+later' || fail "it is upgraded"
[ "$(queued)" = 1 ] || fail "it still waits after the upgrade"

echo "== removes, and leaves what is the user's"
inside dpkg -r edgespool >/dev/null
[ ! -e "$root/usr/bin/edgespool" ] || fail "the program is gone"
[ -e "$root/etc/edgespool/edgespool.toml" ] || fail "the config stays"
[ -d "$root/var/lib/edgespool/lanes" ] || fail "the spool stays"

echo "== purges, but no file that was never delivered"
inside dpkg -P edgespool 2>"$work/said" >/dev/null
grep -q "1 files in it were never delivered" "$work/said" || fail "it says so: $(cat "$work/said")"
[ -d "$root/var/lib/edgespool/lanes" ] || fail "the file is kept"
[ ! -e "$root/etc/edgespool" ] || fail "the config is gone"

echo "== purges everything when nothing waits"
inside dpkg -i /first.deb >/dev/null
printf '[[server]]\nname = "s"\nhost = "h"\nuser = "anonymous"\n[[watch]]\nname = "w"\ndir = "/tmp/out"\n' \
	>"$root/etc/edgespool/edgespool.toml"
id=$(inside edgespool queue list --json 2>/dev/null | sed -n 's/.*"id":"\([^"]*\)".*/\1/p')
inside edgespool queue drop "$id" >/dev/null
inside dpkg -P edgespool >/dev/null
for left in var/lib/edgespool etc/edgespool usr/bin/edgespool usr/lib/systemd/system/edgespool.service; do
	[ ! -e "$root/$left" ] || fail "$left is left"
done
echo "all passed"
