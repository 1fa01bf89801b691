"""A network between the parts, each way of which can be cut, slowed down, reset, or forget its
connections.

All is one device in a network namespace of the run's own. Each link has an address that nobody
has; what is sent to it goes through the device to the router, which lets it come back from there
with sender and receiver exchanged: so the host talks to itself, by TCP with all its timers, and
every packet is seen. The checksums do not change by the exchange.
"""

import ctypes
import fcntl
import os
import pathlib
import struct
import subprocess
import sys

HOST = "10.77.0.1"
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def unshare(flags):
    """From here on this process and its children have such things of their own."""
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def ip(arguments):
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {arguments}: {done.stderr.strip()}")


def own_network():
    """Ends with a device that leads nowhere yet; raises OSError where that is not permitted."""
    unshare(CLONE_NEWNET)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"parts", IFF_TUN | IFF_NO_PI))
    ip("link set lo up")
    ip("link set parts up mtu 65000")
    ip(f"address add {HOST}/16 dev parts")
    return device


class Network:
    """Links are named; whoever connects to the address of one has the host at its other end."""

    def __init__(self, device, links):
        self.numbers = {link: number for number, link in enumerate(links, 1)}
        router = pathlib.Path(__file__).parent / "router.py"
        # Not in the group that Ctrl-C ends: the parts stop by themselves, over it.
        self.router = subprocess.Popen([sys.executable, router, str(device)], pass_fds=(device,),
                                       stdin=subprocess.PIPE, text=True, start_new_session=True)

    def address(self, link):
        return f"10.77.1.{self.numbers[link]}"

    def _tell(self, link, *words):
        print(self.numbers[link], *words, file=self.router.stdin, flush=True)

    def cut(self, link):
        """Nothing comes through, and nobody is told."""
        self._tell(link, "cut")

    def slow_down(self, link, seconds):
        """Each packet takes so long."""
        self._tell(link, "slow", seconds)

    def reset(self, link):
        """Connections are reset, new ones refused."""
        self._tell(link, "reset")

    def forget(self, link):
        """Nothing of its connections comes through any more: each end is half open. New ones can
        be made."""
        self._tell(link, "forget")

    def mend(self, link):
        self._tell(link, "mend")

    def close(self):
        self.router.stdin.close()
        self.router.wait()
