"""What a measurement is made of: load, the CPU of a process, the disk."""

import json
import mmap
import os
import pathlib
import re
import subprocess
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
SCRIPT = pathlib.Path(__file__).with_name("records.lua")
# What takes longer wrk counts as an error, and leaves out of its percentiles.
PATIENCE_S = 10


def cpu_seconds(pid):
    """User and system time of a process, all its threads included."""
    with open(f"/proc/{pid}/stat", encoding="latin-1") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def family_cpu_seconds(parent, children):
    """Of a process that keeps the books of its children: the living and those it has buried."""
    with open(f"/proc/{parent}/stat", encoding="latin-1") as stat:
        fields = stat.read().rpartition(")")[2].split()
    total = sum(map(int, fields[11:15])) / TICK
    for pid in children:
        try:
            total += cpu_seconds(pid) if pid != parent else 0
        except FileNotFoundError:
            pass
    return total


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def resident_bytes_peak(pid):
    """The most that it ever was."""
    with open(f"/proc/{pid}/status", encoding="latin-1") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) * 1024


def wrk(url, connections, seconds, bodies, per_s=0):
    """Runs wrk with bodies from a file, as fast as they are answered or so many a second. Returns what
    its script printed."""
    output = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={PATIENCE_S}s", "-s", SCRIPT,
         url, "--", bodies, str(per_s)],
        check=True, capture_output=True, text=True,
    ).stdout
    result = json.loads(re.search(r"^JSON (.*)$", output, re.M).group(1))
    result["per_s"] = result["requests"] / (result["us"] / 1e6)
    return result


def fdatasync_ms(folder, times=400):
    """p50 and p99 of an append of 4 KB and fdatasync, one after the other."""
    path = pathlib.Path(folder) / "fdatasync.probe"
    took = []
    with open(path, "wb", buffering=0) as probe:
        for _ in range(times):
            probe.write(b"x" * 4096)
            begin = time.perf_counter()
            os.fdatasync(probe.fileno())
            took.append((time.perf_counter() - begin) * 1000)
    path.unlink()
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


def append_mb_per_s(folder, seconds=2):
    """Appends of 256 KB, about a frame under load, each followed by fdatasync."""
    path = pathlib.Path(folder) / "append.probe"
    chunk, written = os.urandom(256 * 1024), 0
    begin = time.perf_counter()
    with open(path, "wb", buffering=0) as probe:
        while time.perf_counter() - begin < seconds:
            written += probe.write(chunk)
            os.fdatasync(probe.fileno())
    rate = written / 1e6 / (time.perf_counter() - begin)
    path.unlink()
    return rate


def fresh_memory_mb_per_s(size=1 << 30):
    """First writes to memory: slow where a virtual machine's host must find each page first.

    An append-only file grows through fresh pages of the page cache, so this bounds Redis as well.
    """
    begin = time.perf_counter()
    with mmap.mmap(-1, size) as memory:
        for page in range(0, size, mmap.PAGESIZE):
            memory[page] = 1
    return size / 1e6 / (time.perf_counter() - begin)


class Trimmer:
    """Trims the stream as a loader would that keeps up, so that memory stays what it is."""

    def __init__(self, client, stream="logs:stream"):
        self.client = client
        self.stream = stream
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.stopping.wait(0.05):
            self.client.execute_command("XTRIM", self.stream, "MAXLEN", "~", 0)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
