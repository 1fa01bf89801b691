"""Debian's Prometheus and node_exporter, with the shipped configuration and rules."""

import json
import re
import urllib.parse
import urllib.request

from .build import ROOT
from .process import Process
from .waiting import free_port, wait_until

MONITORING = ROOT / "conf" / "monitoring"
RULES = MONITORING / "sluice.rules.yml"


def in_seconds(rules):
    """The rules with seconds where they have minutes and hours."""
    rules = re.sub(r"for: \w+", "for: 1s", rules)
    rules = re.sub(r"\[\w+:\w+\]", "[15s:1s]", rules)
    rules = re.sub(r"offset \d+[mh]", "offset 60s", rules)
    return re.sub(r"\[\d+[mh]\]", "[60s]", rules)


class NodeExporter(Process):
    name = "node_exporter"

    def __init__(self, folder):
        super().__init__(folder)
        self.port = free_port()

    def command(self):
        return ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{self.port}",
                "--collector.disable-defaults", "--collector.filesystem"]

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


class Prometheus(Process):
    name = "prometheus"
    start_timeout = 60

    def __init__(self, stack, node=None, mountpoint=None):
        """node: who tells of disks, and which of them is Sluice's."""
        super().__init__(stack.folder)
        self.port = free_port()
        self.conf = (MONITORING / "prometheus.yml").read_text()
        self.conf = self.conf.replace("127.0.0.1:18723", f"127.0.0.1:{stack.nginx.port}")
        self.conf = self.conf.replace("127.0.0.1:9100", f"127.0.0.1:{node.port if node else 1}")
        self.conf = re.sub("interval: 15s", "interval: 1s", self.conf)
        self.rules = in_seconds(RULES.read_text())
        if mountpoint is not None:
            self.rules = self.rules.replace('fstype!~"tmpfs|overlay"', f'mountpoint="{mountpoint}"')

    def before_start(self):
        (self.folder / "prometheus.yml").write_text(self.conf)
        (self.folder / RULES.name).write_text(self.rules)

    def command(self):
        return ["prometheus", f"--config.file={self.folder}/prometheus.yml",
                f"--storage.tsdb.path={self.folder}/prometheus",
                f"--web.listen-address=127.0.0.1:{self.port}"]

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return json.load(answer)["data"]

    def is_ready(self):
        try:
            return self.value("vector(1)") == 1
        except OSError:
            return False

    def value(self, expression):
        """Of its only sample; None if there is none."""
        query = urllib.parse.urlencode({"query": expression})
        result = self.get(f"/api/v1/query?{query}")["result"]
        return float(result[0]["value"][1]) if result else None

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.get("/api/v1/alerts")["alerts"]
                if alert["state"] == "firing"}

    def wait_firing(self, *names, timeout=60):
        """Until these do, and no others."""
        seen = set()

        def only_these():
            seen.clear()
            seen.update(self.firing())
            return seen == set(names)

        try:
            wait_until(only_these, timeout)
        except AssertionError:
            raise AssertionError(f"{sorted(seen)} fire, not {sorted(names)}") from None

    def wait_quiet(self):
        """Until everything has been looked at, and some times again, and nothing fires."""
        watched = 'count_over_time(up{job="sluice-daemon"}[1h])'
        wait_until(lambda: (self.value(watched) or 0) > 3, 60, "it is watched")
        self.wait_firing()
