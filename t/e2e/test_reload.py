"""Reload and quit under load: every request that nginx took gets its right answer."""

import http.client
import signal
import threading

from harness.waiting import wait_until


class Load:
    """Posts from several threads, each on a connection it keeps, and counts what comes back.

    A kept connection that nginx closes between two requests is no lost answer: HTTP leaves it to
    the client to send again, and nothing was taken in. So a request that gets no byte of an answer
    on a used connection is sent once more on a fresh one."""

    def __init__(self, stack, threads=8):
        self.stack = stack
        self.answered = 0
        self.refused = []
        self.lost = []
        self.resent = 0
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        api = self.stack.api()
        sent = 0
        while not self.stopping.is_set():
            sent += 1
            used = api.connection is not None
            try:
                answer = api.log("load", message=f"{number}-{sent}")
            except (OSError, http.client.HTTPException) as error:
                with self.lock:
                    if used and isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
                        self.resent += 1
                    elif self.stopping.is_set() or isinstance(error, ConnectionRefusedError):
                        return
                    else:
                        self.lost.append(repr(error))
                continue
            with self.lock:
                if answer.status == 200:
                    self.answered += 1
                else:
                    self.refused.append(answer)

    def wait_answered(self, more, timeout=20):
        target = self.answered + more
        wait_until(lambda: self.answered >= target, timeout, f"{more} more answers")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.lost, self.lost[:5]
        assert not self.refused, self.refused[:5]


def test_reloads_under_load(stack):
    load = Load(stack)
    for _ in range(5):
        load.wait_answered(100)
        old = stack.nginx.reload()
        load.wait_answered(100)
        wait_until(lambda: not old & set(stack.nginx.leaving_worker_pids()), 15, "old workers left")
    load.stop()
    stack.wait_drained()
    # A request sent again may have been stored twice by this client's own doing, never fewer.
    assert load.answered <= stack.rows() <= load.answered + load.resent


def test_quit_under_load(stack):
    load = Load(stack)
    load.wait_answered(200)
    stack.nginx.signal(signal.SIGQUIT)
    assert stack.nginx.process.wait(15) == 0
    load.stop()
    stack.wait_drained()
    assert load.answered <= stack.rows() <= load.answered + load.resent


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


def open_connections(stack):
    """Established TCP connections of nginx' port, seen from the server's side."""
    port = f"{stack.nginx.port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(row[1].endswith(":" + port) and row[3] == "01" for row in rows)
