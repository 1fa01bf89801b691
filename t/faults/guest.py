"""Who uses the system from outside, until he is stopped."""

import random
import threading

from harness.api import Api


class Guest(threading.Thread):
    """A subclass says what he does, once: act(). What he cannot accept, stop() raises."""

    def __init__(self, address, book, seed):
        super().__init__()
        self.address, self.book = address, book
        self.dice = random.Random(seed)
        self.stopping = threading.Event()
        host, port = address
        self.api = Api(port, timeout=20, host=host)
        self.failure = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.act()
        except Exception as failure:
            self.failure = failure
        finally:
            self.api.close()

    def stop(self):
        self.stopping.set()
        self.join()
        if self.failure:
            raise self.failure
