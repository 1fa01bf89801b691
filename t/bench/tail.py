"""500 who watch a device each, while 10,000 records a second come in for all of them: how long each
record takes from its 200 to its event, what the server takes for it, and what it costs intake.

What it costs intake is measured in turns, without and with those who watch:
- at the offered rate all has to be taken, and the CPU that intake (nginx, Redis, the loader and
  Postgres) takes for a record may not grow by 5 %. Redis has to hand each entry to the tail, and
  nginx passes on what it shows: that is told beside it, as it is not what intake loses but what
  watching takes. So is the server's own CPU.
- as fast as records are taken, by senders that cost little, as many watch and are shown all of it.
  On a machine that is full each record that is shown takes time from one that could come in, so
  this has no bar: it is what is left of intake when everything that comes in is watched.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess

from harness.build import BUILD
from harness.stack import Stack
from harness.template import make_template
from measure import cpu_seconds, family_cpu_seconds, resident_bytes_peak

TOOL = BUILD / "t" / "bench" / "sluice-watch"


class Watchers:
    def __init__(self, port, count):
        self.process = subprocess.Popen([TOOL, "watch", str(port), str(count)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "open\n"

    def shown(self, expected):
        """What they were shown, once it is as much as this."""
        output, _ = self.process.communicate(f"{expected}\n")
        return json.loads(output)

    def close(self):
        self.process.kill()
        self.process.wait()


def send(port, devices, rate, seconds):
    sent = subprocess.run([TOOL, "send", str(port), str(devices), str(rate), str(seconds)],
                          check=True, capture_output=True, text=True)
    return json.loads(sent.stdout)["taken"]


def cpu(stack):
    return {"nginx": sum(map(cpu_seconds, stack.nginx.worker_pids())),
            "redis": cpu_seconds(stack.redis.pid),
            "loader": cpu_seconds(stack.loader.pid),
            "postgres": family_cpu_seconds(stack.postgres.pid, stack.postgres.children()),
            "server": cpu_seconds(stack.server.pid)}


def measure(stack, options, rate, watched):
    watchers = Watchers(stack.nginx.port, options.clients) if watched else None
    try:
        before = cpu(stack)
        taken = send(stack.nginx.port, options.clients, rate, options.seconds)
        # The rest of what it takes, too.
        shown = watchers.shown(taken) if watched else {}
        stack.wait_drained()
        after = cpu(stack)
    finally:
        if watched:
            watchers.close()
    us = {f"{name}_us": (after[name] - before[name]) / taken * 1e6 for name in before}
    result = {"watched": watched, "offered_per_s": rate or "all", "per_s": taken / options.seconds,
              "taken": taken, **shown, **us, "load": os.getloadavg()[0]}
    print(json.dumps({name: round(value, 2) if isinstance(value, float) else value
                      for name, value in result.items()}), flush=True)
    return result


def compared(results, names):
    """With those who watch, as a share of what it is without; medians of all rounds."""
    alone, watched = ([statistics.median(sum(one[name] for name in names)
                                         for one in results if one["watched"] is which)]
                      for which in (False, True))
    return watched[0] / alone[0]


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench tail")
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rate", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    template = make_template()
    stack = Stack(template.data, workers=1, load={"SLUICED_LOAD_TAIL_WINDOW_MB": "32"})
    try:
        stack.start()
        offered, full = [], []
        for _ in range(options.rounds):
            offered += [measure(stack, options, options.rate, watched) for watched in (False, True)]
            full += [measure(stack, options, 0, watched) for watched in (False, True)]
        for one in (one for one in offered if one["watched"]):
            assert one["shown"] == one["taken"] and one["gaps_and_drops"] == 0, one
        memory = resident_bytes_peak(stack.server.pid) / 1e6
    finally:
        stack.close()
        stack.remove()
        shutil.rmtree(template.folder, ignore_errors=True)
    print(f"with {options.clients} who watch, of what it is without, at {options.rate} records/s:"
          f" records taken {compared(offered, ['per_s']):.3f};"
          f" CPU a record of loader and Postgres {compared(offered, ['loader_us', 'postgres_us']):.3f},"
          f" Redis {compared(offered, ['redis_us']):.3f}, nginx {compared(offered, ['nginx_us']):.3f};"
          f" p99 {max(one['p99_ms'] for one in offered if one['watched']):.0f} ms\n"
          f"as fast as they are taken: {compared(full, ['per_s']):.3f};"
          f" the server's memory at most {memory:.0f} MB")


if __name__ == "__main__":
    main()
