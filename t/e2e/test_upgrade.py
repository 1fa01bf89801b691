"""Another binary under load: two masters on one socket, forth and back."""

import os
import signal
import threading

import pytest
from harness.load import Load
from harness.nginx_server import NginxDaemon
from harness.process import parent_of
from harness.waiting import wait_until


@pytest.fixture
def stack(make_stack):
    return make_stack(nginx=NginxDaemon).start()


def wait_workers(stack, master, count):
    wait_until(lambda: len(stack.nginx.worker_pids_of(master)) == count, 15,
               f"master {master} has {count} workers")


def test_upgrade_under_load(stack):
    """Twice, since the new master must be as good as the first."""
    load = Load(stack)
    for _ in range(2):
        load.wait_answered(100)
        old = stack.nginx.upgrade()
        load.wait_answered(100)
        assert len(stack.nginx.worker_pids_of(old.pid)) == 2
        os.kill(old.pid, signal.SIGWINCH)
        wait_workers(stack, old.pid, 0)
        wait_until(lambda: not stack.nginx.leaving_worker_pids(), 15, "its workers have left")
        load.wait_answered(100)
        os.kill(old.pid, signal.SIGQUIT)
        assert old.wait(15) == 0
        load.wait_answered(100)
    load.stop()
    assert not load.lost, load.lost[:5]


def test_upgrade_and_back_under_load(stack):
    load = Load(stack)
    load.wait_answered(100)
    old = stack.nginx.upgrade()
    new = stack.nginx.pid
    os.kill(old.pid, signal.SIGWINCH)
    wait_workers(stack, old.pid, 0)
    load.wait_answered(100)
    os.kill(old.pid, signal.SIGHUP)
    wait_workers(stack, old.pid, 2)
    os.kill(new, signal.SIGQUIT)
    stack.nginx.follow(new)
    assert stack.nginx.pid == old.pid
    wait_until(lambda: parent_of(new) is None, 15, "the new master has left")
    load.wait_answered(100)
    load.stop()
    assert not load.lost, load.lost[:5]
    assert f"{new} exited with code 0" in stack.nginx.error_text()


def test_an_upgrade_while_redis_hangs_answers_everyone(make_stack):
    """Requests wait in the workers of both binaries when Redis takes writes again. New workers can
    log in meanwhile: else they would say after a second that Redis is away."""
    stack = make_stack(nginx=NginxDaemon, nginx_edits=[
        ("sluice_timeout 5s;", "sluice_timeout 60s; sluice_breaker off;")]).start()
    answers = []

    def post():
        answers.append(stack.api(timeout=60).log("parked"))

    def park(count):
        threads = [threading.Thread(target=post) for _ in range(count)]
        for thread in threads:
            thread.start()
        return threads

    stack.redis.client.execute_command("CLIENT", "PAUSE", 60000, "WRITE")
    threads = park(20)
    wait_until(lambda: waiting(stack) == 20, 10, "20 requests wait")
    old = stack.nginx.upgrade()
    os.kill(old.pid, signal.SIGQUIT)
    wait_until(lambda: len(stack.nginx.leaving_worker_pids()) == 2, 10, "the old ones are to leave")
    threads += park(20)
    wait_until(lambda: waiting(stack) == 20, 10, "20 more wait, in the new ones")
    stack.redis.client.execute_command("CLIENT", "UNPAUSE")
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 40
    assert old.wait(15) == 0
    stack.wait_rows(40)


def waiting(stack):
    text = stack.api().get("/metrics").body.decode()
    return int(text.partition("\nsluice_edge_inflight_requests ")[2].split()[0])
