"""What the edge counts, and what it tells log_format."""

import re

from harness.waiting import wait_until

LINE = re.compile(r'^[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? \d+(\.\d+)?$')


def metrics(api, path="/metrics"):
    text = api.get(path).body.decode()
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    return text, values


def families_of(answer):
    """Of a page that is Prometheus text in every line."""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
    families, samples = set(), set()
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
            assert family not in families, f"{family} twice"
            families.add(family)
        elif not line.startswith("# HELP "):
            assert LINE.match(line), line
            sample = line.rpartition(" ")[0]
            assert sample not in samples, f"{sample} twice"
            samples.add(sample)
            name = re.split(r"[ {]", line)[0]
            assert name in families or re.sub("_(bucket|sum|count)$", "", name) in families, line
    return families


def test_every_line_is_prometheus_text(stack, api):
    assert api.log().status == 200
    families_of(api.get("/metrics"))


def test_each_answer_is_counted_once_by_its_code(stack, api):
    for _ in range(3):
        assert api.log().status == 200
    assert api.batch([{"device_id": "d", "log_level": "INFO", "message": "\0"}] * 5).status == 200
    assert api.log(message="").status == 422
    assert api.log(extra=1).status == 200
    assert api.post("/api/log", "{").status == 400
    assert api.get("/api/log").status == 405
    _, values = metrics(api)
    by_code = {name: value for name, value in values.items()
               if name.startswith("sluice_edge_requests_total") and value}
    assert by_code == {
        'sluice_edge_requests_total{code="queued"}': 5,
        'sluice_edge_requests_total{code="empty"}': 1,
        'sluice_edge_requests_total{code="malformed_json"}': 1,
        'sluice_edge_requests_total{code="method_not_allowed"}': 1,
    }
    assert values["sluice_edge_records_total"] == 9
    assert values["sluice_edge_nuls_replaced_total"] == 5
    assert values["sluice_edge_unknown_fields_total"] == 1
    assert values["sluice_edge_frame_records_sum"] == 9
    assert values["sluice_edge_durability"] == 3


def test_counters_outlive_workers(stack, api):
    for _ in range(4):
        assert api.log().status == 200
    stack.nginx.reload()
    api.close()
    assert api.log().status == 200
    wait_until(lambda: not stack.nginx.leaving_worker_pids(), 10, "the old workers are gone")
    assert metrics(api)[1]["sluice_edge_records_total"] == 5


def test_the_access_log_tells_what_became_of_a_request(stack, api):
    assert api.log().status == 200
    api.log(device_id="")
    api.get("/health/live")

    stored, refused = stack.nginx.logged_posts(2)
    assert float(stored.pop("redis_seconds")) > 0 and stored.pop("message_id").endswith("-0")
    assert told(stored) == {"status": 200, "outcome": "queued", "records": "1", "reason": "",
                            "limit": "", "limit_status": "PASSED"}
    assert told(refused) == {"status": 422, "outcome": "refused", "records": "1", "message_id": "",
                             "reason": "empty", "redis_seconds": "", "limit": "",
                             "limit_status": ""}
    assert "GET /health/live" not in (stack.folder / "log" / "nginx-access.log").read_text()


def told(line):
    """Without what every server's log has."""
    usual = ("time", "client", "user", "path", "bytes", "seconds", "agent")
    return {name: value for name, value in line.items() if name not in usual}


def test_lines_of_the_access_log_can_be_read_whatever_clients_send(stack, api):
    """JSON, each line, of what can be printed."""
    paths = {b"/api/log": "/api/log", b"/api/log?\xff": "?", b'/api/log?"\\': '/api/log?"\\'}
    heads = [b"User-Agent: \xff\xfe", b'User-Agent: "\\', b"User-Agent: \x1b[2J",
             b"Authorization: Basic //86eA==", b"Authorization: Basic YTpi"]
    for path in paths:
        for head in heads:
            request = b"POST %s HTTP/1.0\r\n%s\r\nContent-Length: 0\r\n\r\n" % (path, head)
            with api.raw(request) as connection:
                assert connection.recv(12) == b"HTTP/1.1 400"
    lines = stack.nginx.logged_posts(len(paths) * len(heads))
    assert {line["path"] for line in lines} == set(paths.values())
    assert {line["agent"] for line in lines} == {"", "?", '"\\'}
    assert {line["user"] for line in lines} == {"", "?", "a"}
    assert {line["reason"] for line in lines} == {"empty_body"}
