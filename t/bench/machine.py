"""What was measured on: figures of two machines are not compared."""

import os
import platform
import re
import subprocess

from harness.build import NGINX
from harness.postgres_server import BIN
from measure import append_mb_per_s, fdatasync_ms, fresh_memory_mb_per_s


def said(*command):
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as cpus:
        found = re.search(r"model name\s*: (.+)", cpus.read())
    return found[1] if found else platform.machine()


def memory_mb():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6


def describe(folder):
    """The machine, what runs on it, and what no server on it can go beyond."""
    p50, p99 = fdatasync_ms(folder)
    return {
        "cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "memory_mb": memory_mb(),
        "load_before": os.getloadavg()[0],
        "kernel": platform.release(),
        "filesystem": said("stat", "-f", "-c", "%T", folder),
        "nginx": said(NGINX, "-v").rpartition("/")[2],
        "redis": re.search(r"v=(\S+)", said("redis-server", "--version"))[1],
        "postgres": said(BIN / "postgres", "--version").split()[2],
        "fdatasync_p50_ms": p50, "fdatasync_p99_ms": p99,
        "append_mb_per_s": append_mb_per_s(folder),
        "fresh_memory_mb_per_s": fresh_memory_mb_per_s(),
    }


def text_of(machine):
    return ("{cores} x {cpu}, {memory_mb:,} MB, Linux {kernel}, {filesystem}; nginx {nginx},"
            " Redis {redis}, PostgreSQL {postgres}\n"
            "fdatasync of 4 KB, idle: p50 {fdatasync_p50_ms:.3f} ms, p99 {fdatasync_p99_ms:.3f} ms;"
            " appends of 256 KB with fdatasync: {append_mb_per_s:,.0f} MB/s; first writes to memory:"
            " {fresh_memory_mb_per_s:,.0f} MB/s; load before: {load_before:.1f}"
            ).format(**machine)
