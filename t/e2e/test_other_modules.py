"""The edge beside other dynamic modules, loaded before it and after it: Debian's own ones."""

import json
import pathlib
import socket

import pytest
from harness.waiting import wait_until

OTHERS = ["ngx_http_echo", "ngx_http_headers_more_filter", "ngx_stream"]
# They load into any nginx that was built with compatible flags, as ours with sanitizers is.
FOLDER = pathlib.Path("/usr/lib/nginx/modules")

RECORD = {"device_id": "d", "log_level": "INFO", "message": "m"}
LOCATION = "        location / {\n"
LOCATIONS = """
        location = /headers { sluice log; client_max_body_size 1m; client_body_buffer_size 1m;
                              more_set_input_headers "Content-Type: application/json";
                              more_set_headers "X-Outcome: $sluice_status"; }
        location = /framed { sluice log; client_max_body_size 1m; client_body_buffer_size 1m;
                             echo_before_body -n "<"; echo_after_body -n ">"; }
        location = /nested { echo_subrequest POST /api/log -b '{"device_id":"n","log_level":"INFO",\
"message":"nested"}'; echo_subrequest POST /api/log -b "{"; }
"""
STREAM = """
stream { server { listen unix:STATE/stream.sock; return "streamed"; } }
"""


@pytest.fixture(params=["before", "after"])
def stack(make_stack, request):
    stack = make_stack()
    nginx = stack.nginx
    ours = next(line for line in nginx.conf.splitlines() if line.startswith("load_module "))
    others = "\n".join(f"load_module {FOLDER}/{name}_module.so;" for name in OTHERS)
    nginx.edit(ours, f"{others}\n{ours}" if request.param == "before" else f"{ours}\n{others}")
    nginx.edit(LOCATION, LOCATIONS + LOCATION)
    nginx.conf += STREAM.replace("STATE", str(stack.folder))
    return stack.start()


def test_each_does_its_own(stack):
    status, text = stack.nginx.check()
    assert status == 0, text
    headers_and_body(stack.api())
    subrequests(stack.api())
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(stack.folder / "stream.sock"))
        assert stream.recv(100) == b"streamed"
    stack.wait_rows(3)
    old = stack.nginx.reload()
    wait_until(lambda: not old & set(stack.nginx.leaving_worker_pids()), 15, "old workers left")
    assert stack.api().log().status == 200
    stack.wait_rows(4)


def headers_and_body(api):
    answer = api.request("POST", "/headers", RECORD, {"Content-Type": "text/plain"})
    assert (answer.status, answer.headers["X-Outcome"]) == (200, "queued")
    answer = api.post("/framed", RECORD)
    assert (answer.body[:1], answer.body[-1:]) == (b"<", b">")
    assert json.loads(answer.body[1:-1])["status"] == "queued"


def subrequests(api):
    """One is stored and one is refused, and their answers stand one after the other."""
    answer = api.get("/nested")
    assert answer.status == 200
    queued, refused = json.loads(b"[" + answer.body.replace(b"}{", b"},{") + b"]")
    assert queued["status"] == "queued"
    assert refused["code"] == "malformed_json"
