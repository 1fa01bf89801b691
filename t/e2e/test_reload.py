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


def test_reload_while_redis_hangs_answers_everyone(stack):
    """The old workers stay until Redis has answered those who wait."""
    api = stack.api()
    assert api.log().status == 200
    answers = []

    def post():
        answers.append(stack.api().log("parked"))

    stack.redis.pause()
    threads = [threading.Thread(target=post) for _ in range(40)]
    for thread in threads:
        thread.start()
    wait_until(lambda: open_connections(stack) >= 40, 10, "40 requests are parked")
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
    before = set(stack.nginx.worker_pids())
    stack.nginx.signal(signal.SIGHUP)
    time.sleep(1.5)
    stack.redis.pause()
    let_it_be_read()
    wait_until(lambda: len(set(stack.nginx.worker_pids()) - before) == 2, 10, "new workers")
    time.sleep(0.3)
    stack.redis.resume()
    wait_until(lambda: not stack.nginx.leaving_worker_pids(), 15, "old workers left")
    assert stack.api().log().status == 200
    assert "is down" not in stack.nginx.error_text()


def open_connections(stack):
    """Established TCP connections of nginx' port, seen from the server's side."""
    port = f"{stack.nginx.port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(row[1].endswith(":" + port) and row[3] == "01" for row in rows)
