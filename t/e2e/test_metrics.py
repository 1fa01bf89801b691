"""What the edge counts, and what it tells log_format."""

import re

from harness.waiting import wait_until

LINE = re.compile(r'^[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? \d+(\.\d+)?$')


def metrics(api):
    text = api.get("/metrics").body.decode()
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    return text, values


def test_every_line_is_prometheus_text(stack, api):
    assert api.log().status == 200
    answer = api.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
    families, samples = set(), set()
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            families.add(line.split()[2])
        elif not line.startswith("# HELP "):
            assert LINE.match(line), line
            sample = line.rpartition(" ")[0]
            assert sample not in samples, f"{sample} twice"
            samples.add(sample)
            name = re.split(r"[ {]", line)[0]
            assert name in families or re.sub("_(bucket|sum|count)$", "", name) in families, line


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

    def lines():
        return (stack.folder / "log" / "nginx-access.log").read_text().splitlines()

    wait_until(lambda: len(lines()) == 2, 5, "both POSTs are logged")
    stored, refused = (line.split('"')[-1].split() for line in lines())
    assert stored[:3] == ["queued", "1", "-"] and float(stored[3]) > 0
    assert stored[4:] == ["-", "PASSED"]
    assert refused == ["refused", "1", "empty", "-", "-", "-"]
