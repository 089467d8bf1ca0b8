"""A slow link to oneself: link.py DELAY_S gives this machine the address
198.18.0.1, and sends what goes to 198.18.0.2 back, DELAY_S later, as coming from
there. So a server on the first is reached at the second, and every packet, the
handshake's too, is late by DELAY_S in each direction.

Addresses trade places in each packet, which leaves all checksums right. Needs
root; meant to run in a network namespace of its own. Prints a line when ready.
"""

import collections
import fcntl
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PACKETS_MAX = 20_000


def open_tun():
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"slow", IFF_TUN | IFF_NO_PI))
    for command in ("addr add 198.18.0.1/30 dev slow", "link set slow up", "link set lo up"):
        subprocess.run(["ip"] + command.split(), check=True)
    return tun


def carry(tun, delay_s):
    waiting = collections.deque()
    while True:
        timeout_s = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        if select.select([tun], [], [], timeout_s)[0]:
            packet = os.read(tun, 65536)
            if packet[0] >> 4 == 4 and len(waiting) < PACKETS_MAX:
                packet = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
                waiting.append((time.monotonic() + delay_s, packet))
        while waiting and waiting[0][0] <= time.monotonic():
            os.write(tun, waiting.popleft()[1])


if __name__ == "__main__":
    device = open_tun()
    print("ready", flush=True)
    carry(device, float(sys.argv[1]))
