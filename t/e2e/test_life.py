"""What can happen to nginx's processes: killed workers, shutdown with and without a deadline."""

import http.client
import os
import select
import signal
import threading

import pytest
from harness.api import Api
from harness.process import open_files, processes_of_group
from harness.scripted_redis import ScriptedRedis
from harness.waiting import wait_until
from test_limits import PATIENT

BODY = b'{"device_id":"d","log_level":"INFO","message":"m"}'
REQUEST = (b"POST /api/log HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
           b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(BODY), BODY))


def status_of(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    connection.close()  # nginx would linger
    return response.status


def post_until(stack, done, answers):
    """Posts until done is set; answers takes the status of each, None for none."""
    while not done.is_set():
        api = Api(stack.nginx.port)
        try:
            answers.append(api.log().status)
        except (OSError, http.client.HTTPException):
            answers.append(None)
        finally:
            api.close()


def under_load(stack, event, threads=4):
    done, answers = threading.Event(), []
    running = [threading.Thread(target=post_until, args=(stack, done, answers))
               for _ in range(threads)]
    for thread in running:
        thread.start()
    wait_until(lambda: len(answers) > 50, 20, "there is load")
    event()
    seen = len(answers)
    wait_until(lambda: len(answers) > seen + 50, 20, "the load goes on")
    done.set()
    for thread in running:
        thread.join()
    return answers


def test_a_killed_worker_takes_only_its_own_requests(stack):
    stack.allow(r"worker process \d+ exited on signal 9")
    killed = []

    def kill():
        killed.extend(stack.nginx.worker_pids()[:1])
        os.kill(killed[0], signal.SIGKILL)
        wait_until(lambda: len(set(stack.nginx.worker_pids()) - set(killed)) == 2, 10)

    answers = under_load(stack, kill)
    assert set(answers) <= {200, None}
    assert answers.count(None) <= 8, "only what was in the killed worker"
    stack.wait_drained()
    assert answers.count(200) <= stack.rows() <= len(answers)
    metrics = stack.api().get("/metrics").body.decode()
    assert "sluice_edge_inflight_requests 0" in metrics, "a dead worker holds nothing"


def inflight_of(stack):
    text = stack.api().get("/metrics").body.decode()
    return int(text.partition("\nsluice_edge_inflight_requests ")[2].split()[0])


def is_open(connection):
    """Nothing has come, not even an end."""
    return not select.select([connection], [], [], 0)[0]


@pytest.mark.parametrize("leaving", [False, True])
def test_what_a_killed_worker_held_is_not_in_flight(make_stack, leaving):
    """Nor if no other worker takes its place, because it was to leave."""
    stack = make_stack(nginx_edits=[PATIENT])
    stack.allow(r"worker process \d+ exited on signal 9")
    scripted = ScriptedRedis(stack.folder).start()
    stack.nginx.start()
    wait_until(lambda: stack.api().get("/health/ready").status == 200, 10, "the edge is ready")
    go = threading.Event()
    scripted.on_xadd = lambda frame: go.wait(60) and scripted.store(frame)
    connections = [stack.api().raw(REQUEST) for _ in range(100)]
    wait_until(lambda: inflight_of(stack) == 100, 10, "all of them wait")
    killed = max(stack.nginx.worker_pids(), key=open_files)
    if leaving:
        stack.nginx.reload()
        wait_until(lambda: killed in stack.nginx.leaving_worker_pids(), 5)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in processes_of_group(stack.nginx.group), 5, "it is gone")
    wait_until(lambda: len(stack.nginx.worker_pids()) == 2, 5, "two workers serve")
    left = []

    def as_many_as_wait():
        left[:] = [connection for connection in connections if is_open(connection)]
        return inflight_of(stack) == len(left) < 100

    wait_until(as_many_as_wait, 5, "those whose connections are open are in flight")
    go.set()
    assert [status_of(connection) for connection in left] == [200] * len(left)
    wait_until(lambda: inflight_of(stack) == 0, 2, "none is in flight")
    for connection in connections:
        connection.close()
    stack.nginx.stop()
    scripted.stop()


def test_the_watch_over_redis_outlives_its_worker(stack, api):
    """The lease of a killed watcher goes to another worker."""
    stack.allow(r"worker process \d+ exited on signal 9|redis is less durable")
    for pid in stack.nginx.worker_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: stack.nginx.is_ready(), 10, "new workers serve")
    stack.redis.client.config_set("appendfsync", "everysec")
    wait_until(lambda: api.log().status == 503, 10, "the new watcher has seen it")
    stack.redis.client.config_set("appendfsync", "always")
    wait_until(lambda: api.log().status == 200, 10)


def test_shutdown_waits_for_the_answers(make_stack):
    """200 requests wait for a slow Redis when nginx is asked to leave: all are answered."""
    stack = make_stack(nginx_edits=[PATIENT])
    scripted = ScriptedRedis(stack.folder).start()
    stack.nginx.start()
    wait_until(lambda: stack.api().get("/health/ready").status == 200, 10, "the edge is ready")
    go = threading.Event()
    scripted.on_xadd = lambda frame: go.wait(60) and scripted.store(frame)
    connections = [stack.api().raw(REQUEST) for _ in range(200)]
    api = stack.api()
    wait_until(lambda: b"\nsluice_edge_inflight_requests 200\n" in api.get("/metrics").body, 10,
               "all of them wait")
    stack.nginx.signal(signal.SIGQUIT)
    wait_until(lambda: len(stack.nginx.leaving_worker_pids()) == 2, 5, "the workers are to leave")
    go.set()
    assert [status_of(connection) for connection in connections] == [200] * 200
    stack.nginx.stop()
    scripted.stop()


def test_worker_shutdown_timeout_ends_what_waits(make_stack):
    stack = make_stack(nginx_edits=[("worker_shutdown_timeout 30s;", "worker_shutdown_timeout 1s;")])
    scripted = ScriptedRedis(stack.folder).start()
    stack.nginx.start()
    wait_until(lambda: stack.api().get("/health/ready").status == 200, 10, "the edge is ready")
    scripted.on_xadd = lambda frame: [3.0]
    connections = [stack.api().raw(REQUEST) for _ in range(50)]
    wait_until(lambda: scripted.frames, 5)
    stack.nginx.stop_timeout = 4
    stack.nginx.stop()
    for connection in connections:
        connection.close()
    scripted.stop()


def test_a_single_process(make_stack):
    """master_process off, as when one debugs: it serves, leaves when asked, and cannot reload,
    which must not take from it what it has."""
    stack = make_stack(nginx_edits=[("worker_processes 2;", "worker_processes 1; master_process off;")])
    stack.allow("nginx cannot reload: restart it")
    for part in stack.parts[:-1]:
        part.start()
    stack.nginx.launch()
    stack.wait_healthy()
    api = stack.api()
    assert api.log().status == 200
    for number in (1, 2):
        stack.nginx.signal(signal.SIGHUP)
        wait_until(lambda number=number: stack.nginx.error_text().count("restart it") == number, 5,
                   "it says that it cannot")
        assert api.log().status == 200
        assert stack.api().log().status == 200
    stack.redis.kill()
    stack.redis.start()
    wait_until(lambda: api.log().status == 200, 10, "it connects to Redis anew")
    stack.wait_rows(6)
