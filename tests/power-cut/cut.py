"""Starts the guest of run.sh, kills it, and judges what is left.

Arguments: the working directory, the kernel, the filesystem, the number of cuts.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from pyftpdlib import authorizers, handlers, servers

# What may take so long on the slowest machine, in seconds.
PATIENCE = 300
# A kernel that does not begin to run by then will not, in seconds.
PROBE = 20


class Server:
    """An FTP server that remembers which final names it was given, and how often."""

    def __init__(self, root):
        self.root = root
        self.published = published = {}
        users = authorizers.DummyAuthorizer()
        users.add_user("guest", "guest", str(root), perm="elradfmwMT")

        class Handler(handlers.FTPHandler):
            authorizer = users
            timeout = 20

            def ftp_RNTO(self, path):
                name = os.path.basename(path)
                done = super().ftp_RNTO(path)
                if done:
                    published[name] = published.get(name, 0) + 1
                return done

        handlers.logger.disabled = True
        self.server = servers.FTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def names(self):
        """Final names; each must be whole, or the run ends."""
        names = set()
        for path in self.root.iterdir():
            if path.name.startswith("."):
                continue
            if path.read_bytes() != content(path.name):
                fail(f"{path.name} on the server is not what was written")
            names.add(path.name)
        return names


class Guest:
    """One start of the virtual machine."""

    def __init__(self, work, kernel, accelerator, words):
        self.overlay = work / "overlay"
        self.overlay.unlink(missing_ok=True)
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", work / "disk",
            "-o", "cluster_size=4k", self.overlay)
        drive = f"file={self.overlay},if=virtio,format=qcow2,cache=writeback,l2-cache-size=4M"
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64",
             "-accel", accelerator, "-m", "256", "-smp", "2",
             "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
             "-kernel", kernel, "-initrd", str(work / "initramfs"),
             "-append", f"console=ttyS0 quiet panic=-1 {words}",
             "-drive", drive, "-nic", "user,model=virtio-net-pci"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if not line.endswith(b"\n"):
                # The cut came while it was said.
                break
            self.lines.append(line.decode(errors="replace").strip())

    def said(self, word):
        return [line[len(word) + 1:] for line in list(self.lines) if line.startswith(word + " ")]

    def wait_for(self, line):
        deadline = time.monotonic() + PATIENCE
        while not any(said.startswith(line) for said in list(self.lines)):
            over = time.monotonic() > deadline or self.process.poll() is not None
            if over or self.said("FAILED"):
                self.cut()
                fail(f"the guest never said {line}:\n" + "\n".join(self.lines[-40:]))
            time.sleep(0.01)

    def cut(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.reader.join()
        run("qemu-img", "commit", "-q", self.overlay)


class Promises:
    """What must not be lost any more."""

    def __init__(self):
        self.names = set()
        self.next = 1

    def hear(self, guest):
        self.names.update(guest.said("WROTE"), guest.said("GONE"))
        said = guest.said("WROTE") + guest.said("GONE")
        # Files that the guest had no time to speak of are not written again.
        self.next = max([self.next] + [int(name.split("-")[1]) for name in said]) + 200

    def judge(self, left, when, guest):
        lost = self.names - left
        if lost:
            print("\n".join(guest.lines))
            fail(f"{when}: {len(lost)} files are lost: {sorted(lost)[:20]}")


def content(name):
    _, n, size = name.split("-")
    line = (n + "\n").encode()
    return (line * (int(size) // len(line) + 1))[: int(size)]


def left_by(guest):
    """The files at the source and in the queue when the guest started."""
    left = set(guest.said("SOURCE"))
    queued = set()
    for document in guest.said("QUEUED"):
        queued.update(entry["path"] for entry in json.loads(document))
    return left, queued


def accelerator(work, kernel):
    """KVM, where it is such that a kernel as it comes can run on it."""
    asked = os.environ.get("EDGESPOOL_ACCELERATOR")
    if asked:
        return asked
    guest = Guest(work, kernel, "kvm", "probe=1")
    deadline = time.monotonic() + PROBE
    while "BOOTED" not in guest.lines and time.monotonic() < deadline:
        time.sleep(0.1)
    booted = "BOOTED" in guest.lines
    guest.cut()
    if not booted:
        print("no kernel boots with this KVM; QEMU's own translator does instead")
    return "kvm" if booted else "tcg"


def run(*command):
    subprocess.run([str(word) for word in command], check=True)


def fail(why):
    print(f"power cut: {why}", file=sys.stderr)
    os._exit(1)


def main():
    work, kernel, filesystem, cuts = Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4])
    seed = int(os.environ.get("EDGESPOOL_SEED") or random.randrange(2**32))
    print(f"{filesystem}: EDGESPOOL_SEED={seed} repeats the moments", flush=True)
    rng = random.Random(f"{seed} {filesystem}")
    root = work / f"server-{filesystem}"
    root.mkdir()
    server, promises = Server(root), Promises()
    accelerated = accelerator(work, kernel)
    met_queue = met_upload = 0
    for cut in range(cuts + 1):
        words = f"filesystem={filesystem} port={server.port} first={promises.next}"
        guest = Guest(work, kernel, accelerated, words + (" drain=1" if cut == cuts else ""))
        guest.wait_for("DRAINED" if cut == cuts else "READY")
        source, queued = left_by(guest)
        promises.judge(source | queued | server.names(), f"after cut {cut}", guest)
        met_queue += bool(queued)
        if cut < cuts:
            time.sleep(rng.uniform(0.1, 5))
        else:
            time.sleep(1)
        guest.cut()
        met_upload += any(path.name.endswith(".part") for path in root.iterdir())
        promises.hear(guest)
        for line in guest.said("AGENT"):
            if "clear text" in line:
                continue
            print(f"  cut {cut}: {line}", flush=True)
        print(f"  cut {cut}: {len(promises.names)} promised, {len(server.names())} delivered, "
              f"{len(source)} at the source and {len(queued)} queued at the start", flush=True)
    if guest.said("DRAINED") != ["0"]:
        fail("the queue could not be emptied")
    there = server.names()
    promises.judge(there, "at the end", guest)
    twice = {name: count for name, count in server.published.items() if count > 1}
    if twice:
        fail(f"published more than once: {twice}")
    print(f"{filesystem}: {cuts} cuts, {met_queue} met a queue, {met_upload} an upload; "
          f"{len(promises.names)} files promised, {len(there)} delivered once, 0 lost", flush=True)


main()
