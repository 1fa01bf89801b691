"""A load of POSTs of which each is accounted for."""

import http.client
import threading

from .waiting import wait_until


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
        rows = self.stack.postgres.query("SELECT message FROM logs WHERE device_id = 'load'")
        stored = {message for message, in rows}
        unanswered = self.closed + [message for message, _ in self.lost]
        assert not stored & set(unanswered), "stored, but the answer is lost"
        assert len(rows) == len(stored) == self.answered
