"""conf/monitoring: rules, dashboard and scrape configuration, held against a system that runs."""

import json
import re
import subprocess
import urllib.parse
import urllib.request

import pytest
import yaml

from harness.build import ROOT
from harness.process import Process
from harness.waiting import free_port, wait_until
from test_metrics import families_of

MONITORING = ROOT / "conf" / "monitoring"
RULES = MONITORING / "sluice.rules.yml"
# Of others: Prometheus itself, node_exporter.
FOREIGN = re.compile(r"^(up|node_\w+)$")
WORDS = {
    "sum", "max", "min", "by", "and", "or", "rate", "deriv", "increase", "absent", "le",
    "histogram_quantile", "predict_linear",
}


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rules():
    return yaml.safe_load(RULES.read_text())["groups"][0]["rules"]


def names_in(expression):
    """Names of metrics: what is left without labels, ranges, groupings, words and numbers."""
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)", " ", expression)
    return set(re.findall(r"\b[a-z_]\w*", text)) - WORDS


def test_the_rules_and_the_scrape_configuration_are_valid():
    promtool("check", "config", str(MONITORING / "prometheus.yml"))
    promtool("check", "rules", str(RULES))


def test_each_alert_fires_when_it_should():
    tests = ROOT / "t" / "monitoring" / "sluice.rules.test.yml"
    promtool("test", "rules", str(tests))
    tried = {test["name"].partition(":")[0] for test in yaml.safe_load(tests.read_text())["tests"]}
    assert tried == {rule["alert"] for rule in rules()}


def test_each_alert_says_what_to_do():
    for rule in rules():
        assert len(rule["annotations"]["runbook"]) > 40, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]


def test_what_rules_and_dashboard_name_exists(stack, api):
    assert api.log().status == 200
    wait_until(lambda: b"sluice_loader_backlog_entries" in api.get("/metrics/daemon").body
               and b"sluice_loader_tomorrow_partition" in api.get("/metrics/daemon").body, 15)
    existing = families_of(api.get("/metrics")) | families_of(api.get("/metrics/daemon"))
    board = json.loads((MONITORING / "grafana-sluice.json").read_text())
    expressions = [rule["expr"] for rule in rules()]
    expressions += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    for expression in expressions:
        names = names_in(expression)
        assert names, expression
        for name in names:
            family = re.sub("_bucket$", "", name)
            assert FOREIGN.match(name) or family in existing, f"{name} in {expression}"


class Prometheus(Process):
    """The shipped configuration, with seconds where it has minutes."""

    name = "prometheus"

    def __init__(self, stack):
        super().__init__(stack.folder)
        self.port = free_port()
        self.conf = (MONITORING / "prometheus.yml").read_text()
        self.conf = self.conf.replace("127.0.0.1:18723", f"127.0.0.1:{stack.nginx.port}")
        self.conf = re.sub("interval: 15s", "interval: 1s", self.conf)
        self.rules = re.sub(r"for: \w+", "for: 1s", RULES.read_text())

    def before_start(self):
        (self.folder / "prometheus.yml").write_text(self.conf)
        (self.folder / RULES.name).write_text(self.rules)

    def command(self):
        return ["prometheus", f"--config.file={self.folder}/prometheus.yml",
                f"--storage.tsdb.path={self.folder}/prometheus",
                f"--web.listen-address=127.0.0.1:{self.port}"]

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
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


@pytest.fixture
def prometheus(stack):
    process = Prometheus(stack).start()
    yield process
    process.stop()


def test_prometheus_reads_it_all_and_alerts_fire_when_something_is_wrong(stack, api, prometheus):
    assert api.batch([{"device_id": "d", "log_level": "INFO", "message": "m"}] * 30).status == 200
    stack.wait_drained()
    for expression in ("sum(sluice_loader_rows_total)", "sum(sluice_edge_records_total)"):
        wait_until(lambda: prometheus.value(expression) == 30, 15, expression)
    assert prometheus.value('sum(up{job=~"sluice-.*"})') == 2
    # All is well for some evaluations.
    seen = prometheus.value("count_over_time(up{job='sluice-edge'}[1m])")
    wait_until(lambda: prometheus.value("count_over_time(up{job='sluice-edge'}[1m])") > seen + 3, 15)
    assert prometheus.firing() == set()
    stack.loader.stop()
    assert api.log().status == 200
    wait_until(lambda: {"SluiceLag", "SluiceLoaderAway"} <= prometheus.firing(), 25, "lag")
    stack.loader.start()
    wait_until(lambda: not prometheus.firing() & {"SluiceLag", "SluiceLoaderAway"}, 15, "none")
    stack.redis.kill()
    wait_until(lambda: "SluiceBreakerOpen" in prometheus.firing(), 20, "the breaker is open")
    stack.redis.start()
    wait_until(lambda: "SluiceBreakerOpen" not in prometheus.firing(), 20, "it is closed")
