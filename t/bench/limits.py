"""What limits cost: the same single records through no limit, one, three and ten, each far from being
reached; and how cheaply a client beyond its limit is refused, against nginx's own `return 429`.

One worker, its own Redis with appendfsync everysec, every case in turn in every round; ratios are made
within a round, and the median of the rounds is told.
"""

import argparse
import json
import statistics
import sys

from edge import Bench
from harness.build import ROOT
from measure import wrk

CONNECTIONS = 256
FAR = "rate=1000000000r/s"
KEYS = ["$sluice_client", "$http_host", "$request_method", "$remote_addr$http_host", "$uri",
        "$server_port", "$scheme", "$server_protocol", "$remote_port", "$connection"]
ZONES = "".join(f"    sluice_limit_zone {key} zone=far{i}:1m {FAR};\n" for i, key in enumerate(KEYS))
ZONES += f"    sluice_limit_zone device_id zone=device:16m {FAR};\n"
ZONES += "    sluice_limit_zone $sluice_client zone=bytes:1m rate=1000gb/s;\n"
ZONES += f"    sluice_limit_zone $sluice_client zone=global:1m {FAR} scope=global;\n"
ZONES += "    sluice_limit_zone $server_port zone=over:1m rate=1r/m;\n"
# name, zones of the location, most of the loss of requests/s that is allowed
CASES = [
    ("one", ["far0"], None),
    ("one, by device", ["device"], None),
    ("three", ["far0", "device", "bytes"], 0.03),
    ("ten", [f"far{i}" for i in range(10)], None),
    ("one, global", ["global"], 0.05),
]


def location(path, inside):
    return f"""
        location = {path} {{
            client_max_body_size 1m;
            client_body_buffer_size 1m;
            {inside}
        }}
"""


def locations():
    text = location("/none", "sluice log;")
    for i, (_, zones, _) in enumerate(CASES):
        limits = " ".join(f"sluice_limit zone={zone};" for zone in zones)
        text += location(f"/case{i}", "sluice log; " + limits)
    text += location("/over", "sluice log; sluice_limit zone=over burst=1;")
    text += location("/refused", "return 429;")
    return text + "\n        location / {\n"


class Limits(Bench):
    def __init__(self, seconds):
        super().__init__("everysec", seconds, [
            ("        location / {\n", locations()),
            ("    sluice_zone sluice:512k;", "    sluice_zone sluice:512k;\n" + ZONES),
        ])

    def taken(self, path):
        self.redis.client.delete("logs:stream")
        return self.load(path, 0, CONNECTIONS)

    def refused(self, path):
        url = f"http://127.0.0.1:{self.nginx.port}{path}"
        result = wrk(url, CONNECTIONS, self.seconds, self.bodies(0, "json"))
        assert result["socket_errors"] == 0, result
        # the first record of all is within the limit
        assert result["not_2xx"] >= result["requests"] - 1, result
        return result


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench limits")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    kept, us, refusals = {}, {}, []
    with Limits(options.seconds) as bench:
        for _ in range(options.rounds):
            for i, (name, _, _) in enumerate(CASES):
                # before and after, for the machine is not the same from one second to the next
                before = bench.taken("/none")
                limited = bench.taken(f"/case{i}")
                after = bench.taken("/none")
                none = (before["per_s"] + after["per_s"]) / 2
                kept.setdefault(name, []).append(limited["per_s"] / none)
                us.setdefault(name, []).append(
                    limited["nginx_us"] - (before["nginx_us"] + after["nginx_us"]) / 2)
            before, over, after = (bench.refused(path) for path in ("/refused", "/over", "/refused"))
            refusals.append(over["per_s"] / ((before["per_s"] + after["per_s"]) / 2))
            rate = over["per_s"]
    result = {"rounds": options.rounds, "cases": {}}
    print(f"{'limits':<16} {'requests/s kept':>16} {'spread':>15} {'bar':>6} {'nginx us more':>14}")
    for name, _, bar in CASES:
        ratios = sorted(kept[name])
        middle = statistics.median(ratios)
        result["cases"][name] = {"kept": middle, "bar": bar and 1 - bar, "rounds": kept[name],
                                 "us": statistics.median(us[name])}
        print(f"{name:<16} {middle:>16.3f} {ratios[0]:>7.3f}-{ratios[-1]:.3f}"
              f" {'' if bar is None else format(1 - bar, '.2f'):>7} {statistics.median(us[name]):>14.2f}")
    middle = statistics.median(refusals)
    result["over_limit"] = {"ratio": middle, "rounds": refusals}
    print(f"beyond the limit: {middle:.2f} of the rate of return 429 (bar 0.90), {rate:,.0f}/s")
    path = ROOT / "build" / "bench" / "limits.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"\nas JSON: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
