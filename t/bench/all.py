"""All that is measured, each shortly, in one table: what was got, and the bar it is held against."""

import json
import pathlib
import statistics
import subprocess
import sys

from harness.build import ROOT
from machine import describe, text_of

HERE = pathlib.Path(__file__).parent
FOLDER = ROOT / "build" / "bench"


def at_least(what, got, bar, form="{:.2f}"):
    return what, form.format(got), f">= {form.format(bar)}", got >= bar


def at_most(what, got, bar, form="{:.2f}"):
    return what, form.format(got), f"<= {form.format(bar)}", got <= bar


def told(what, got):
    return what, got, "", True


def edge(result):
    for mode in result["modes"]:
        for case in mode["cases"]:
            what = f"{case['case']}, {mode['fsync']}"
            if case["case"].startswith("single, 256"):
                yield at_least(f"{what}: requests/s of those of return 200", case["ratio"], 0.70)
                yield at_most(f"{what}: nginx us a request more than that",
                              case["nginx_us_over_floor"], 2)
            elif case["case"] == "batch of 100":
                yield at_least(f"{what}: requests/s of those of return 200", case["ratio"], 0.30)
                yield at_most(f"{what}: nginx + Redis us a record",
                              case["nginx_us_per_record"] + case["redis_us_per_record"], 0.5)
                yield told(f"{what}: records/s", f"{case['records_per_s']:,.0f}")


def limits(result):
    for name, case in result["cases"].items():
        what = f"{name}: requests/s kept"
        if case["bar"]:
            yield at_least(what, case["kept"], case["bar"])
        else:
            yield told(what, f"{case['kept']:.2f}")
    yield at_least("beyond a limit: requests/s of those of return 429",
                   result["over_limit"]["ratio"], 0.90)


def loader(result):
    case = result["cases"][0]
    yield at_least("rows/s of those by hand", case["ratio"], 0.95)
    yield at_most("loader us a row", case["loader_us"], 0.3)
    yield told("rows/s", f"{case['loader_per_s']:,.0f}")


def query(result):
    yield at_least("cached page: requests/s of those of a file",
                   statistics.median(result["cached"]["ratios"]), 0.90)
    for kind in ("page of a device", "stats"):
        p50, p99 = result["uncached_ms"][kind][-1]
        yield told(f"{kind}, not cached: p50, p99", f"{p50:.1f}, {p99:.1f} ms")
    yield at_least("ingest kept beside queries", statistics.median(result["beside"]["kept"]), 0.95)


def whole(result):
    for case in result["cases"]:
        backlog = "flat" if case["flat"] else "NOT flat"
        yield at_least(f"{case['name']}: records/s, backlog {backlog}", case["stored_per_s"],
                       case["bar"], "{:,.0f}")
        yield told(f"{case['name']}: us of CPU a record", ", ".join(
            f"{name} {us:.2f}" for name, us in case["us"].items()))
        yield told(f"{case['name']}: receipt to stored, p50, p99",
                   f"{case['way_p50_ms']:.0f}, {case['way_p99_ms']:.0f} ms")
        yield told(f"{case['name']}: Redis, AOF, WAL, tables",
                   f"{case['redis_mb']:.0f} MB; {case['aof_bytes']:.0f}, {case['wal_bytes']:.0f},"
                   f" {case['table_bytes']:.0f} bytes a record")


# What is run, how, and what is told of it.
PARTS = [
    (edge, ["--quick"]),
    (limits, ["--rounds", "3"]),
    (loader, ["--quick"]),
    (query, ["--rows", "1000000", "--rounds", "2", "--questions", "200"]),
    (whole, []),
]


def main():
    result = {"machine": describe(FOLDER), "parts": {}}
    print(text_of(result["machine"]))
    lines = []
    for part, options in PARTS:
        name = part.__name__
        print(f"\n==> scripts/bench {' '.join([name, *options])}", flush=True)
        done = subprocess.run([sys.executable, HERE / f"{name}.py", *options], check=False)
        if done.returncode != 0:
            lines.append((name, "did not come to its end: see above", "", "", False))
            continue
        found = json.loads((FOLDER / f"{name}.json").read_text())
        result["parts"][name] = found
        lines += [(name, *line) for line in part(found)]
    wide = max(len(what) for _, what, _, _, _ in lines)
    print(f"\n{text_of(result['machine'])}\n")
    for name, what, got, bar, met in lines:
        print(f"{name:<8}{what:<{wide}}  {got:>12}  {bar:<12}{'' if met else 'short'}")
    path = FOLDER / "all.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"\nas JSON: {path.relative_to(ROOT)}")
    return 0 if len(result["parts"]) == len(PARTS) else 1


if __name__ == "__main__":
    sys.exit(main())
