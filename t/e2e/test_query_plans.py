"""No query touches more of the tables than it has to: what Postgres did for it, as it says itself."""

import datetime
import json
import re

import pytest

from harness.stored import UTC, Pages
from harness.waiting import wait_until

DAYS = 12
PER_DAY = 8000
TODAY = datetime.datetime.now(UTC).date()

EXPLAIN = """
session_preload_libraries = 'auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_timing = off
auto_explain.log_format = json
log_line_prefix = '%a '
log_min_messages = log
"""


def day(ago):
    return TODAY - datetime.timedelta(days=ago)


def table(ago):
    return f"logs_{day(ago):%Y%m%d}"


def fill(postgres, days, per_day):
    """As loaders would, but CRITICAL is a thing of the first day."""
    for ago in range(days):
        start = day(ago)
        postgres.execute(
            f"CREATE TABLE IF NOT EXISTS {table(ago)} PARTITION OF logs FOR VALUES FROM"
            f" ('{start} 00:00Z') TO ('{start + datetime.timedelta(1)} 00:00Z')")
        last = "'CRITICAL'" if ago == days - 1 else "'ERROR'"
        postgres.execute(
            "INSERT INTO logs (id, created_at, device_id, log_level, message, log_data)"
            f" SELECT {ago * per_day} + g, '{start} 00:00Z'::timestamptz"
            f" + g / 40 * interval '{300 * PER_DAY / per_day} s' + g % 40 * interval '1 ms',"
            f" 'device-' || g % 200, (ARRAY['DEBUG','INFO','INFO','WARNING',{last}])"
            "[1 + g % 5]::log_level, 'message ' || g, '{}'"
            f" FROM generate_series(1, {per_day}) AS g")
    postgres.execute(
        "INSERT INTO counters SELECT date_trunc('minute', created_at), log_level, 'test', count(*)"
        " FROM logs GROUP BY 1, 2")


class Plans:
    def __init__(self, stack):
        self.stack = stack
        self.pages = Pages(stack.server)
        self.log = stack.folder / "log" / "postgres.log"

    def of(self, path, **parameters):
        """Every node of every plan that the question made, as far as it was executed. What was not
        is locked all the same."""
        self.pages.ask("/api/logs", limit=1)  # connected, so that only the question is seen
        start = self.log.stat().st_size
        answer = self.pages.ask(path, **parameters)
        assert answer.status == 200, answer
        # Postgres logs a plan before it says that the query is done.
        text = self.log.read_bytes()[start:].decode()
        plans = [json.loads(plan) for plan in
                 re.findall(r"sluiced-serve LOG: .*? plan:\n(\t\{.*?\n\t\})$", text,
                            re.S | re.M)]
        assert plans
        found = []
        for plan in plans:
            walk(plan["Plan"], found)
        self.locked = tables(found)
        return answer.json, [node for node in found if node.get("Actual Loops")]


def walk(node, found):
    found.append(node)
    for child in node.get("Plans", ()):
        walk(child, found)


def tables(nodes):
    return {node["Relation Name"] for node in nodes
            if node.get("Relation Name", "").startswith("logs_")}


def rows_read(nodes):
    return sum((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
               for node in nodes if node.get("Relation Name", "").startswith("logs_"))


def no_scan_of_a_table(nodes):
    assert "Seq Scan" not in {node["Node Type"] for node in nodes
                              if node.get("Relation Name", "").startswith("logs_")}


def plans_of(make_stack, days, per_day, then=""):
    stack = make_stack()
    stack.postgres.conf += EXPLAIN
    for part in (stack.redis, stack.postgres, stack.server):
        part.start()
    connection = stack.postgres.connect()
    cursor = connection.cursor()
    fill(cursor, days, per_day)
    cursor.execute("SELECT 1;" + then)
    connection.close()
    stack.redis.client.xgroup_create("logs:stream", "log_workers", "0", mkstream=True)
    plans = Plans(stack)
    wait_until(lambda: plans.pages.page(order="asc", limit=1)["data"], 10, "the horizon is known")
    return plans


def test_no_query_reads_more_than_it_has_to(make_stack):
    plans = plans_of(make_stack, DAYS, PER_DAY, "ANALYZE")
    pages_read_what_they_show(plans)
    counts_never_look_at_logs(plans)
    plans.pages.close()


def test_of_days_that_postgres_knows_nothing_of(make_stack):
    """It analyzes none before its millionth row."""
    plans = plans_of(make_stack, 2, 200000)
    for parameters in ({}, {"device_id": "device-7"}, {"min_level": "WARNING"},
                       {"device_id": "device-7", "level": "DEBUG,INFO"}, {"offset": 50},
                       {"order": "asc", "from_": f"{day(1)}T10:00:00Z"}):
        page, nodes = plans.of("/api/logs", **parameters)
        assert page["total"] == 100 and rows_read(nodes) <= 300, parameters
        no_scan_of_a_table(nodes)
    plans.pages.close()


def pages_read_what_they_show(plans):
    # The newest of a device: 40 rows a day.
    page, nodes = plans.of("/api/logs", device_id="device-7", limit=50)
    assert page["total"] == 50
    assert tables(nodes) <= {table(0), table(1)}
    assert rows_read(nodes) <= 80
    no_scan_of_a_table(nodes)

    # Further back than two days: by counters, in windows that grow.
    page, nodes = plans.of("/api/logs", device_id="device-7", limit=200)
    assert page["total"] == 200
    assert table(9) not in tables(nodes) and rows_read(nodes) <= 300
    no_scan_of_a_table(nodes)

    # The newest of all, whatever the level.
    page, nodes = plans.of("/api/logs", limit=100)
    assert page["total"] == 100
    assert tables(nodes) <= {table(0), table(1)}
    assert rows_read(nodes) <= 110
    no_scan_of_a_table(nodes)

    # A level that was seen on one day only, far back.
    page, nodes = plans.of("/api/logs", level="CRITICAL", limit=100)
    assert page["total"] == 100 and {log["log_level"] for log in page["data"]} == {"CRITICAL"}
    assert tables(nodes) <= {table(0), table(1), table(DAYS - 1)}
    assert rows_read(nodes) <= 101
    no_scan_of_a_table(nodes)

    # Levels of a device that it seldom has are looked for in the index, not in its rows.
    for levels in ({"level": "CRITICAL"}, {"min_level": "CRITICAL"}, {"level": "ERROR,CRITICAL"},
                   {"level": "DEBUG,CRITICAL"}):
        page, nodes = plans.of("/api/logs", device_id="device-4", limit=10, **levels)
        assert page["total"] == 10 and rows_read(nodes) <= 60, levels
        no_scan_of_a_table(nodes)

    # Between two times only their days.
    page, nodes = plans.of("/api/logs", device_id="device-7", from_=f"{day(6)}T06:00:00Z",
                           to=f"{day(5)}T06:00:00Z")
    assert page["total"] > 0 and tables(nodes) == {table(5), table(6)}
    no_scan_of_a_table(nodes)

    # Forwards from a time.
    page, nodes = plans.of("/api/logs", order="asc", from_=f"{day(8)}", limit=100)
    assert tables(nodes) <= {table(8), table(7)} and rows_read(nodes) <= 110

    # An offset needs no other days than those it leaves out: locks are what Postgres runs out of.
    for parameters in ({}, {"device_id": "device-7"}, {"level": "DEBUG,ERROR"}):
        page, nodes = plans.of("/api/logs", offset=1, limit=20, **parameters)
        assert page["total"] == 20 and plans.locked <= {table(0), table(1)}, parameters
    page, nodes = plans.of("/api/logs", offset=200, device_id="device-7", limit=20)
    assert page["total"] == 20 and table(9) not in plans.locked
    assert rows_read(nodes) <= 500

    # A search looks at no more than it needs for its page.
    page, nodes = plans.of("/api/logs", q="message 9", limit=20)
    assert page["total"] == 20 and rows_read(nodes) < PER_DAY
    assert tables(nodes) <= {table(0), table(1)}


def counts_never_look_at_logs(plans):
    for path, parameters in (("/api/stats", {}), ("/api/hits", {"from_": "-10d", "step": "1h"}),
                             ("/api/hits", {"from_": "-10d", "step": "1d", "level": "ERROR"}),
                             ("/api/hits", {"from_": "-2h"})):
        _, nodes = plans.of(path, **parameters)
        assert not tables(nodes)
    # And of the counters only those that the step needs.
    _, nodes = plans.of("/api/hits", from_="-10d", step="1d")
    assert {node["Relation Name"] for node in nodes if "Relation Name" in node} == {"counters_day"}
