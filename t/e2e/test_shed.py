"""Shedding: the lowest level goes first when Redis fills or the loader falls behind."""

import collections
import http.client
import threading

import pytest

from harness.waiting import wait_until
from test_metrics import metrics

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MEGABYTE = 1024 * 1024
DIRECTIVE = "sluice_timeout 5s;"


class Told:
    """An edge whose loader is the test: it says how much waits, of 1000 records at most, and how
    many are stored a second."""

    def __init__(self, stack, drain=100, postgres="up"):
        self.stack = stack
        self.api = stack.api()
        self.fields = {"postgres": postgres, "backlog_bytes": 0, "drain_records": drain,
                       "drain_bytes": 0}

    def at(self, percent):
        """Until the edge knows."""
        self.fields["backlog_records"] = 10 * percent
        self.stack.redis.client.hset("logs:stream:loader", mapping=self.fields)
        wait_until(lambda: self.values()['sluice_edge_pressure{cause="records"}'] == percent / 100,
                   5, "the edge knows")

    def values(self):
        return metrics(self.api)[1]

    def shares(self):
        return [self.values()[f'sluice_edge_shed_share{{level="{level}"}}'] for level in LEVELS]


def start(make_stack, shed="records=1000", **options):
    """Without the loader."""
    stack = make_stack(nginx_edits=[(DIRECTIVE, f"{DIRECTIVE} sluice_shed {shed};")], **options)
    for part in (stack.redis, stack.postgres, stack.server, stack.nginx):
        part.start()
    stack.posts = 0

    def is_taken():
        stack.posts += 1
        return stack.api().log().status == 200

    wait_until(is_taken, 10, "POSTs are taken")
    return stack


def reload(stack):
    """Until nobody is left who has the old configuration."""
    before = stack.nginx.reload()
    wait_until(lambda: before.isdisjoint(stack.nginx.worker_pids())
               and not stack.nginx.leaving_worker_pids(), 10, "the old workers are gone")


def codes(api, level, count=40):
    """How often which answer came."""
    return collections.Counter(
        "queued" if answer.status == 200 else answer.json["code"]
        for answer in (api.log(log_level=level) for _ in range(count)))


def test_levels_go_one_after_the_other_and_come_back_later(make_stack):
    stack = start(make_stack)
    api = stack.api()
    told = Told(stack)
    told.at(59)
    assert told.shares() == [0, 0, 0, 0, 0]
    assert "Sluice-Min-Level" not in api.log(log_level="DEBUG").headers
    for percent, shed in ((67, 1), (77, 2), (86, 3), (94, 4)):
        told.at(percent)
        assert told.shares() == [1] * shed + [0] * (5 - shed)
        for number, level in enumerate(LEVELS):
            answer = api.log(log_level=level)
            assert (answer.status == 200) == (number >= shed), (percent, level, answer)
            assert answer.headers["Sluice-Min-Level"] == LEVELS[shed]
            if number < shed:
                assert answer.status == 503 and answer.json["code"] == "shed"
                assert f"{level} is taken now, but {LEVELS[shed]} and above" in answer.json["detail"]
                assert f"is at {percent}%" in answer.json["detail"]
    assert api.get("/health/ready").status == 200
    told.at(95)
    for level in LEVELS:
        answer = api.log(log_level=level)
        assert answer.status == 503 and answer.json["code"] == "overloaded"
        assert answer.headers["Sluice-Min-Level"] == "none"
        assert "nothing is taken now" in answer.json["detail"]
    assert api.get("/health/ready").status == 503
    assert api.health().status == 200
    # A body that was not read is not counted; the connection goes on.
    assert api.request("GET", "/health/live").status == 200
    # The hysteresis is 3 %.
    told.at(92)
    assert codes(api, "CRITICAL", 5) == {"overloaded": 5}
    told.at(91)
    assert codes(api, "CRITICAL", 5) == {"queued": 5}
    assert codes(api, "WARNING", 5) == {"shed": 5}
    assert 0.85 < told.shares()[3] < 0.86
    told.at(57)
    assert told.shares()[1:] == [0, 0, 0, 0]
    told.at(56)
    assert "Sluice-Min-Level" not in api.log(log_level="DEBUG").headers
    text = stack.nginx.error_text()
    for level in LEVELS:
        assert text.count(f"{level} begins to be shed: records at") == 1
        assert text.count(f"{level} is not shed any more: records at") == 1


def test_between_watermarks_a_part_is_shed(make_stack):
    stack = start(make_stack, "records=1000 DEBUG=10% INFO=90% WARNING=91% ERROR=92% hysteresis=0%")
    api = stack.api()
    told = Told(stack)
    told.at(50)
    assert 0.49 < told.shares()[0] < 0.51
    found = codes(api, "DEBUG", 400)
    assert 140 < found["shed"] < 260 and found["shed"] + found["queued"] == 400
    assert codes(api, "INFO") == {"queued": 40}
    told.at(10)
    assert codes(api, "DEBUG") == {"queued": 40}


@pytest.mark.parametrize("drain, postgres, least, most", [
    (10, "up", 8, 12),     # of 1000 records 10 % are above the watermark, less the hysteresis
    (1000, "up", 1, 1),
    (1, "up", 48, 60),
    (1000, "down", 48, 60),
])
def test_who_is_refused_is_told_when_to_come_back(make_stack, drain, postgres, least, most):
    stack = start(make_stack)
    told = Told(stack, drain, postgres)
    told.at(67)
    api = stack.api()
    after = {int(api.log(log_level="DEBUG").headers["Retry-After"]) for _ in range(60)}
    assert least <= min(after) and max(after) <= most
    assert most == 1 or len(after) > 2, "not all at once"


def test_a_batch_counts_as_its_highest_level(make_stack):
    stack = start(make_stack)
    api = stack.api()
    told = Told(stack)
    told.at(77)

    def batch(*levels):
        return api.batch([{"device_id": "d", "log_level": level, "message": "m"}
                          for level in levels])

    before = told.values()
    assert batch("DEBUG", "WARNING", "DEBUG").status == 200
    answer = batch("DEBUG", "INFO", "DEBUG")
    assert answer.status == 503 and answer.json["code"] == "shed"
    assert "not all of INFO" in answer.json["detail"]
    after = told.values()
    shed = {name: after[name] - before[name] for name in after
            if name.startswith("sluice_edge_shed_records_total") and after[name] != before[name]}
    assert shed == {'sluice_edge_shed_records_total{level="INFO"}': 3}
    assert after["sluice_edge_records_total"] == before["sluice_edge_records_total"] + 3
    assert after['sluice_edge_requests_total{code="shed"}'] == 1
    # Of two workers' logs nobody knows the order.
    shed, = [line for line in stack.nginx.logged_posts(stack.posts + 2)
             if line["outcome"] == "shed"]
    assert (shed["records"], shed["reason"]) == ("3", "shed")


def test_in_partial_mode_each_record_is_shed_by_itself(make_stack):
    stack = start(make_stack)
    stack.loader.start()
    stack.wait_drained()
    stack.loader.stop()
    stack.redis.client.delete("logs:stream:loader")
    api = stack.api()
    told = Told(stack)
    told.at(77)
    levels = ["ERROR", "DEBUG", "DEBUG", "WARNING", "INFO", "nonsense", "CRITICAL"]
    before = stack.rows()
    records = [{"device_id": "d", "log_level": level, "message": f"partial {level}"}
               for level in levels]
    answer = api.post("/api/logs/batch", records, Prefer="handling=lenient")
    assert answer.status == 200
    assert answer.headers["Sluice-Min-Level"] == "WARNING"
    assert answer.json["count"] == 3 and answer.json["rejected"] == 4
    withheld = answer.json["withheld"]
    assert withheld["code"] == "shed" and withheld["count"] == 3
    assert withheld["indexes"] == [[1, 2], [4, 4]]
    assert 1 <= withheld["retry_after"] <= 60
    assert [error["index"] for error in answer.json["errors"]] == [5]
    values = told.values()
    assert values['sluice_edge_shed_records_total{level="DEBUG"}'] == 2
    assert values['sluice_edge_shed_records_total{level="INFO"}'] == 1
    answer = api.post("/api/logs/batch", records[1:3], Prefer="handling=lenient")
    assert answer.status == 503 and answer.json["code"] == "shed"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    stack.redis.client.delete("logs:stream:loader")
    stack.loader.start()
    stack.wait_rows(before + 3)
    assert stack.postgres.query("SELECT log_level FROM logs WHERE message LIKE 'partial%' ORDER BY 1"
                                ) == [("WARNING",), ("ERROR",), ("CRITICAL",)]


def test_a_loader_that_does_not_tell_is_not_trusted_to_drain(make_stack):
    """All of the stream may wait then, in frames as large as the edge's own."""
    stack = start(make_stack, "records=1000")
    stack.redis.client.delete("logs:stream")
    api = stack.api()
    records = [{"device_id": "d", "log_level": "CRITICAL", "message": "m"}] * 33
    for _ in range(20):
        assert api.batch(records).status == 200
    length = stack.redis.stream_length()

    def estimate():
        return metrics(api)[1]["sluice_edge_backlog_records"]

    wait_until(lambda: 0.9 * 33 * length < estimate() <= 33 * length, 5, "it is estimated")
    answer = wait_until(lambda: (a := api.log(log_level="DEBUG")).status == 503 and a, 5)
    assert int(answer.headers["Retry-After"]) >= 48
    # A loader that did tell, and died.
    stack.loader.start()
    wait_until(lambda: estimate() == 0, 10, "the loader has caught up")
    assert api.log(log_level="DEBUG").status == 200
    stack.loader.kill()
    for _ in range(25):
        assert api.batch(records).status == 200
    wait_until(lambda: api.log(log_level="DEBUG").status == 503, 10, "it is shed")


def test_the_size_of_the_backlog_counts_too(make_stack):
    stack = start(make_stack, "bytes=100k")
    told = Told(stack)
    told.fields |= {"backlog_bytes": 77 * 1024, "drain_bytes": 7 * 1024}
    told.fields["backlog_records"] = 0
    stack.redis.client.hset("logs:stream:loader", mapping=told.fields)
    api = stack.api()
    wait_until(lambda: codes(api, "INFO", 3) == {"shed": 3}, 5)
    answer = api.log(log_level="DEBUG")
    assert "the size of records not stored yet is at 77%" in answer.json["detail"]
    assert 2 <= int(answer.headers["Retry-After"]) <= 4
    values = told.values()
    assert values['sluice_edge_pressure{cause="bytes"}'] == 0.77
    assert values["sluice_edge_drain_bytes_per_second"] == 7 * 1024


def test_shedding_off_takes_all_until_redis_is_full(make_stack):
    stack = start(make_stack, "off; sluice_breaker off")
    api = stack.api()
    client = stack.redis.client
    client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
    wait_until(lambda: metrics(api)[1]['sluice_edge_pressure{cause="memory"}'] > 1.5, 5)
    answer = api.log(log_level="DEBUG")
    assert answer.status == 503 and answer.json["code"] == "redis_full"
    assert "Sluice-Min-Level" not in answer.headers
    # And on, by a reload: what was so before does not matter.
    api.close()
    stack.nginx.edit("sluice_shed off;", "")
    reload(stack)
    wait_until(lambda: api.log(log_level="CRITICAL").json.get("code") == "overloaded", 5)
    api.close()
    stack.nginx.edit(DIRECTIVE, f"{DIRECTIVE} sluice_shed off;")
    reload(stack)
    assert api.log(log_level="CRITICAL").json["code"] == "redis_full"


def test_where_nothing_can_run_out_that_is_told(make_stack):
    stack = make_stack()
    stack.redis.conf = stack.redis.conf.replace("maxmemory 256mb", "maxmemory 0")
    stack.start()
    assert stack.nginx.error_text().count("nothing is ever shed: Redis has no maxmemory") >= 1
    assert codes(stack.api(), "DEBUG", 5) == {"queued": 5}
    stack.nginx.edit(DIRECTIVE, f"{DIRECTIVE} sluice_shed records=10;")
    seen = stack.nginx.error_text().count("nothing is ever shed")
    stack.nginx.reload()
    assert stack.nginx.error_text().count("nothing is ever shed") == seen


class Sender(threading.Thread):
    """Posts batches of one level as fast as it can."""

    def __init__(self, stack, level):
        super().__init__()
        self.api = stack.api()
        self.level = level
        self.messages = []
        self.answers = collections.Counter()
        self.first_refused = None  # when the level was refused first: at which answer of CRITICAL
        self.stopping = False

    def run(self):
        number = 0
        while not self.stopping:
            messages = [f"{self.level} {number + n}" for n in range(50)]
            number += 50
            records = [{"device_id": "d", "log_level": self.level, "message": message + " " * 400}
                       for message in messages]
            try:
                answer = self.api.batch(records)
            except (OSError, http.client.HTTPException):
                self.answers["lost"] += 1
                continue
            if answer.status == 200:
                self.messages += messages
                self.answers["queued"] += 1
            else:
                self.answers[answer.json["code"]] += 1


@pytest.mark.alone
def test_while_postgres_is_away_redis_never_gets_full(make_stack):
    """Under load from all levels: DEBUG goes first, CRITICAL last, then all. What was acknowledged
    is stored when Postgres is back, and all is taken again. Alone: it keeps the machine busy."""
    stack = make_stack().start()
    client = stack.redis.client
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 40 * MEGABYTE)
    stack.postgres.stop()
    senders = {level: Sender(stack, level) for level in LEVELS}
    for sender in senders.values():
        sender.start()
    try:
        api = stack.api()
        wait_until(lambda: "CRITICAL begins to be shed" in stack.nginx.error_text(), 90,
                   "nothing is taken")
    finally:
        for sender in senders.values():
            sender.stopping = True
        for sender in senders.values():
            sender.join()
    text = stack.nginx.error_text()
    begins = [text.index(f"{level} begins to be shed: memory at") for level in LEVELS]
    assert begins == sorted(begins)
    for sender in senders.values():
        assert set(sender.answers) <= {"queued", "shed", "overloaded"}, sender.answers
    assert senders["CRITICAL"].answers["shed"] <= 1  # on the way through the gates
    memory = client.info("memory")
    assert 0.9 < memory["used_memory"] / memory["maxmemory"] < 1
    assert "errorstat_OOM" not in client.info("errorstats")
    stack.postgres.start()
    stack.wait_drained(60)
    stored = dict(stack.postgres.query("SELECT rtrim(message), count(*) FROM logs GROUP BY 1"))
    for sender in senders.values():
        assert all(stored[message] == 1 for message in sender.messages)
    wait_until(lambda: codes(api, "DEBUG", 3) == {"queued": 3}, 15, "all is taken again")
    stack.wait_drained()


def test_what_was_taken_since_the_last_look_counts_as_used(make_stack):
    stack = start(make_stack, "records=1000000000")
    client, api = stack.redis.client, stack.api()
    client.setrange("ballast", 60 * MEGABYTE, "x")
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.93))
    wait_until(lambda: 0.92 < metrics(api)[1]['sluice_edge_pressure{cause="memory"}'] < 0.945, 5,
               "the edge knows")
    # There is room for three to the last watermark, and for ten in Redis.
    batch = [{"device_id": "d", "log_level": "CRITICAL", "message": "x" * 900}] * 450
    found = [api.batch(batch) for _ in range(10)]
    assert [answer.status for answer in found[:2]] == [200, 200]
    assert 2 <= sum(answer.status == 200 for answer in found) <= 5
    assert {answer.json["code"] for answer in found if answer.status != 200} == {"overloaded"}
