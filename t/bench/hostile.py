"""What clients that mean harm do to the others: single records at a moderate rate, alone, then beside
an attack whose bodies nginx throws away (the floor: what it costs to receive them), then beside the
attack itself; on one worker, which is fresh for each.

Every good request must be answered with 200 and be in the stream; every attack as it should be.
"""

import argparse
import contextlib
import json
import sys

from attackers import Attackers, make_attacks
from edge import Bench
from harness.build import ROOT
from harness.process import processes_of_group
from harness.waiting import wait_until
from measure import Trimmer, resident_bytes, resident_bytes_peak, wrk

CONNECTIONS = 16
RATE = 3500  # requests a second of all good clients together


def good(bench, seconds):
    result = wrk(f"http://127.0.0.1:{bench.nginx.port}/api/log", CONNECTIONS, seconds,
                 bench.bodies(0, "json"), RATE)
    assert result["not_2xx"] == 0 and result["socket_errors"] == 0, result
    return result


@contextlib.contextmanager
def everything_counted(bench, runs):
    """What was acknowledged meanwhile is in the stream, frame by frame; runs are the clients'."""
    before = bench.settled()
    with Trimmer(bench.redis.client):
        yield
    told, frames, added = (now - then for now, then in zip(bench.settled(), before))
    assert frames == added, f"{frames} frames acknowledged, {added} in the stream"
    seen = sum(run["requests"] for run in runs.values())
    assert told >= seen, f"{seen} records got a 200, {told} were acknowledged"


def beside(bench, attack, seconds):
    """Good clients beside an attack, and how it was answered."""
    attackers = Attackers(attack, bench.nginx.port)
    result = good(bench, seconds)
    told, result["attacked_s"] = attackers.stop()
    result["told"] = dict(told)
    unexpected = set(told) - set(attack.expected)
    assert not unexpected and told[attack.expected[0]], (attack.name, told)
    return result


def measure(bench, attack, seconds):
    leaving = bench.nginx.reload()
    wait_until(lambda: not leaving & set(processes_of_group(bench.nginx.group)), 30,
               "the old worker is gone")
    worker, = bench.nginx.worker_pids()
    good(bench, 1)
    runs = {}
    with everything_counted(bench, runs):
        runs["alone"] = good(bench, seconds)
        resident = resident_bytes(worker)
        runs["floor"] = beside(bench, attack.thrown_away(), seconds)
        runs["attack"] = beside(bench, attack, seconds)
    assert bench.nginx.worker_pids() == [worker], "it is the same worker still"
    return {"name": attack.name, "peak_mb": (resident_bytes_peak(worker) - resident) / 1e6, **runs}


def answers(run):
    told = dict(run["told"])
    sent_mb = told.pop("bytes", 0) / 1e6
    counts = [f"{count} x {status}" for status, count in sorted(told.items())]
    return ", ".join(counts + [f"{sent_mb / run['attacked_s']:,.0f} MB/s"] * (sent_mb > 0))


COLUMNS = [
    ("attack", 24, lambda one: one["name"]),
    ("how it was answered", 34, lambda one: answers(one["attack"])),
    ("p50 ms", 7, lambda one: f"{one['attack']['p50_ms']:.2f}"),
    ("p99 ms", 7, lambda one: f"{one['attack']['p99_ms']:.2f}"),
    ("max ms", 7, lambda one: f"{one['attack']['max_ms']:.1f}"),
    ("floor p99", 9, lambda one: f"{one['floor']['p99_ms']:.2f}"),
    ("alone p99", 9, lambda one: f"{one['alone']['p99_ms']:.2f}"),
    ("ratio", 6, lambda one: f"{one['attack']['p99_ms'] / one['alone']['p99_ms']:.1f}"),
    ("req/s", 6, lambda one: f"{one['attack']['per_s']:,.0f}"),
    ("alone", 6, lambda one: f"{one['alone']['per_s']:,.0f}"),
    ("peak MB", 7, lambda one: f"{one['peak_mb']:.1f}"),
]


def line(cells):
    return "  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                     for i, (cell, (_, width, _)) in enumerate(zip(cells, COLUMNS)))


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench hostile")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--attack", default="", help="only those whose name has this in it")
    parser.add_argument("--fsync", default="everysec", choices=["always", "everysec"],
                        help="with always it is mostly the disk whose p99 is seen")
    options = parser.parse_args()
    results = []
    with Bench(options.fsync, options.seconds) as bench:
        print(line([title for title, _, _ in COLUMNS]), flush=True)
        for attack in make_attacks():
            if options.attack in attack.name:
                results.append(measure(bench, attack, options.seconds))
                print(line([tell(results[-1]) for _, _, tell in COLUMNS]), flush=True)
    path = ROOT / "build" / "bench" / "hostile.json"
    path.write_text(json.dumps(results, indent=1))
    print(f"\nas JSON: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
