"""Lets packets come back out of the device that they went into, or not; see network.py.

router.py DEVICE, which is a descriptor; stdin says what becomes of a link, a line each: its number,
then cut, slow SECONDS, reset, forget, mend."""

import collections
import heapq
import os
import select
import struct
import sys
import time

SYN, RST, ACK = 0x02, 0x04, 0x10
FIN_OR_SYN = 0x03


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Packet:
    """IPv4 with TCP, between the host and the address of a link."""

    def __init__(self, data):
        self.data = data
        self.link = data[19]  # the last byte of the receiver: the host sends all there is
        self.at = (data[0] & 15) * 4
        self.ports = struct.unpack_from("!HH", data, self.at)
        self.flags = data[self.at + 13]
        self.flow = tuple(sorted(self.ports))

    def returned(self):
        data = self.data
        return data[:12] + data[16:20] + data[12:16] + data[20:]

    def resets(self):
        """To both of its ends: none that was sent is left unanswered, and none of its connection."""
        if self.flags & RST:
            return
        sequence, acknowledged = struct.unpack_from("!II", self.data, self.at + 4)
        words = self.data[self.at + 12] >> 4
        length = (len(self.data) - self.at - words * 4 + bin(self.flags & FIN_OR_SYN).count("1"))
        yield self._reset(self.ports[::-1], acknowledged if self.flags & ACK else 0, RST | ACK,
                          (sequence + length) & 0xFFFFFFFF)
        if not self.flags & SYN:
            yield self._reset(self.ports, sequence, RST, 0)

    def _reset(self, ports, sequence, flags, acknowledged):
        ends = self.data[16:20] + self.data[12:16]
        tcp = struct.pack("!HHIIBBHHH", *ports, sequence, acknowledged, 5 << 4, flags, 0, 0, 0)
        sum_of_tcp = checksum(ends + struct.pack("!HH", 6, len(tcp)) + tcp)
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + ends
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        return head + tcp[:16] + struct.pack("!H", sum_of_tcp) + tcp[18:]


class Link:
    def __init__(self):
        self.flows = set()  # those it knows
        self.state, self.delay_s = "mend", 0.0

    def command(self, state, delay_s="0"):
        if state == "forget":
            self.flows.clear()
        else:
            self.state, self.delay_s = state, float(delay_s)


class Router:
    def __init__(self, device):
        self.device = device
        self.links = collections.defaultdict(Link)
        self.underway = []  # (when it arrives, number, packet)
        self.number = 0

    def run(self):
        while True:
            wait_s = max(0, self.underway[0][0] - time.monotonic()) if self.underway else None
            ready = select.select([self.device, 0], [], [], wait_s)[0]
            if 0 in ready:
                commands = os.read(0, 1 << 16).decode()
                if not commands:
                    return
                for line in commands.splitlines():
                    link, *words = line.split()
                    self.links[int(link)].command(*words)
            if self.device in ready:
                self.take(os.read(self.device, 1 << 16))
            while self.underway and self.underway[0][0] <= time.monotonic():
                self.write(heapq.heappop(self.underway)[2])

    def take(self, data):
        if data[0] >> 4 != 4 or data[9] != 6:
            return  # the kernel looks who else is there
        packet = Packet(data)
        link = self.links[packet.link]
        if link.state == "reset":
            for reset in packet.resets():
                self.write(reset)
            return
        if packet.flags & (SYN | ACK) == SYN:
            link.flows.add(packet.flow)
        if link.state == "cut" or packet.flow not in link.flows:
            return
        if link.delay_s or self.underway:
            self.number += 1
            heapq.heappush(self.underway, (time.monotonic() + link.delay_s, self.number,
                                           packet.returned()))
        else:
            self.write(packet.returned())

    def write(self, data):
        try:
            os.write(self.device, data)
        except BlockingIOError:
            pass  # as a router does that has no room: it is sent again


if __name__ == "__main__":
    Router(int(sys.argv[1])).run()
