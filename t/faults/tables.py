"""What is told of many runs, added up."""

import collections

COLUMNS = ("acknowledged", "unknown", "lost", "duplicated")


def print_tables(told):
    """told: of each program that ran, as its --json has it."""
    by_durability = collections.defaultdict(list)
    done = collections.Counter()
    for run in (run for program in told for run in program["runs"]):
        by_durability[run["durability"]].append(run)
        done.update(run["faults"])
    names = ("runs", "wrong", "faults", *COLUMNS)
    print(f"\n{'':<10}" + "".join(f"{name:>14}" for name in names))
    for durability, runs in by_durability.items():
        counts = [len(runs), sum(bool(run["troubles"]) for run in runs),
                  sum(sum(run["faults"].values()) for run in runs),
                  *(sum(run.get(name, 0) for run in runs) for name in COLUMNS)]
        print(f"{durability:<10}" + "".join(f"{count:>14,}" for count in counts))
    print("\nhow often each was made:")
    for kind, count in sorted(done.items()):
        print(f"  {count:>6}  {kind}")
    for faults, why in {item for program in told for item in program["not made here"].items()}:
        print(f"  not made here: {faults}: {why}")
