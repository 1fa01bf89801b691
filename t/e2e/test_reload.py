"""Reload and quit under load: every request that nginx took gets its right answer."""

import os
import signal
import threading
import time

from harness.load import Load
from harness.waiting import wait_until


def test_reloads_under_load(stack):
    load = Load(stack)
    for _ in range(5):
        load.wait_answered(100)
        old = stack.nginx.reload()
        load.wait_answered(100)
        wait_until(lambda: not old & set(stack.nginx.leaving_worker_pids()), 15, "old workers left")
    load.stop()
    assert not load.lost, load.lost[:5]


def test_quit_under_load(stack):
    load = Load(stack)
    load.wait_answered(200)
    stack.nginx.signal(signal.SIGQUIT)
    assert stack.nginx.process.wait(15) == 0
    load.stop()
    # Connections that were still in the kernel's queue, at most one a thread.
    assert len(load.lost) <= len(load.threads)
    assert all(isinstance(error, ConnectionError) for _, error in load.lost), load.lost


def test_reload_while_redis_hangs_answers_everyone(make_stack):
    """The old workers stay until Redis has answered those who wait."""
    stack = make_stack(nginx_edits=[
        ("sluice_timeout 5s;", "sluice_timeout 60s; sluice_breaker off;")]).start()
    api = stack.api()
    assert api.log().status == 200
    answers = []

    def post():
        answers.append(stack.api().log("parked"))

    stack.redis.pause()
    threads = [threading.Thread(target=post) for _ in range(40)]
    for thread in threads:
        thread.start()
    wait_until(lambda: parked(stack) == 40, 10, "40 requests are parked")
    old = stack.nginx.reload()
    stack.redis.resume()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 40
    wait_until(lambda: not old & set(stack.nginx.leaving_worker_pids()), 15, "old workers left")
    stack.wait_rows(41)


def test_a_configuration_that_takes_long_to_read(make_stack):
    """A worker's clock stands, at first, where it stood when its master began to read: what has gone
    by since then is not taken from the time that Redis has to answer its login."""
    stack = make_stack()
    fifo = stack.folder / "fifo"
    os.mkfifo(fifo)
    stack.nginx.edit("http {", f"http {{\n    ssl_password_file {fifo};")

    def let_it_be_read():
        with open(fifo, "w", encoding="ascii") as writer:
            writer.write("secret\n")

    first = threading.Thread(target=let_it_be_read)
    first.start()
    stack.start()
    first.join()

    def reload():
        """How long Redis did not answer; and what was said meanwhile."""
        said, before = len(stack.nginx.error_text()), set(stack.nginx.worker_pids())
        stack.nginx.signal(signal.SIGHUP)
        time.sleep(1.5)
        stack.redis.pause()
        began = time.monotonic()
        let_it_be_read()
        wait_until(lambda: len(set(stack.nginx.worker_pids()) - before) == 2, 10, "new workers")
        time.sleep(0.3)
        stack.redis.resume()
        assert stack.redis.client.ping()
        took = time.monotonic() - began
        wait_until(lambda: not stack.nginx.leaving_worker_pids(), 15, "old workers left")
        wait_until(lambda: stack.api().log().status == 200, 10, "POSTs are taken")
        return took, stack.nginx.error_text()[said:]

    # It has a second: more than that is no answer in time.
    for _ in range(10):
        took, said = reload()
        if took < 0.8:
            break
    assert took < 0.8 and "is down" not in said


def parked(stack):
    text = stack.api().get("/metrics").body.decode()
    return int(text.partition("\nsluice_edge_inflight_requests ")[2].split()[0])
