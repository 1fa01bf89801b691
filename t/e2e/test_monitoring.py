"""conf/monitoring: rules, dashboard and scrape configuration, held against a system that runs."""

import json
import re
import subprocess

import yaml

from harness.build import ROOT
from harness.prometheus import MONITORING, RULES
from harness.waiting import wait_until
from test_metrics import families_of

# Of others: Prometheus itself, node_exporter.
FOREIGN = re.compile(r"^(up|node_\w+)$")
WORDS = {
    "sum", "max", "min", "by", "and", "or", "rate", "deriv", "increase", "absent", "le",
    "histogram_quantile", "predict_linear", "unless", "offset",
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


def test_each_alert_is_also_fired_by_what_it_is_about():
    source = (ROOT / "t" / "e2e" / "test_alerts.py").read_text()
    assert set(re.findall(r'"(Sluice\w+)"', source)) == {rule["alert"] for rule in rules()}


def test_each_alert_says_what_to_do():
    for rule in rules():
        assert len(rule["annotations"]["runbook"]) > 40, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]


def test_what_rules_and_dashboard_name_exists(stack, api):
    assert api.log().status == 200
    wait_until(lambda: b"sluice_loader_backlog_entries" in api.get("/metrics/daemon").body
               and b"sluice_loader_redis_durability" in api.get("/metrics/daemon").body
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
