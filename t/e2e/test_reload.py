"""Reload and quit under load: every request that nginx took gets its right answer."""

import http.client
import signal
import threading

from harness.waiting import wait_until


class Load:
    """Posts from several threads, each on a connection it keeps, and counts what comes back.

    nginx may close a kept connection between two requests, and a quit resets connections that
    nginx has not accepted yet. HTTP leaves it to the client to send such a request again; what must
    hold is that nginx had not taken it: it is not stored."""

    def __init__(self, stack, threads=8):
        self.stack = stack
        self.answered = 0
        self.refused = []
        self.lost = []  # (message, error): no answer on a connection that was fresh
        self.closed = []  # message: no answer on a connection that was kept
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
            message = f"{number}-{sent}"
            was_kept = api.connection is not None
            try:
                answer = api.log("load", message=message)
            except ConnectionRefusedError:
                return  # nginx has quit
            except (OSError, http.client.HTTPException) as error:
                with self.lock:
                    if was_kept and isinstance(error, ConnectionError):
                        self.closed.append(message)
                    else:
                        self.lost.append((message, error))
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
        """What was answered is stored, and nothing else."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.refused, self.refused[:5]
        self.stack.wait_drained()
        stored = {message for message, in self.stack.postgres.query("SELECT message FROM logs")}
        unanswered = self.closed + [message for message, _ in self.lost]
        assert not stored & set(unanswered), "stored, but the answer is lost"
        assert self.stack.rows() == len(stored) == self.answered


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


def open_connections(stack):
    """Established TCP connections of nginx' port, seen from the server's side."""
    port = f"{stack.nginx.port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(row[1].endswith(":" + port) and row[3] == "01" for row in rows)
