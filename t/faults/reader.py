"""One who reads while everything fails: he is told that it fails, or shown what was sent, as it was."""

import http.client
import json
import random
import threading

from harness.api import Api

PAGES = ("/api/logs?limit=200", "/api/logs?min_level=ERROR&limit=50", "/api/logs/device-7?limit=100",
         "/api/logs?device_id=device-8&q=flows", "/api/logs/device-9?format=ndjson&limit=1000")
NUMBERS = ("/api/stats", "/api/hits")


class Reader(threading.Thread):
    def __init__(self, address, book, seed):
        super().__init__()
        host, port = address
        self.api = Api(port, timeout=20, host=host)
        self.book = book
        self.dice = random.Random(seed)
        self.stopping = threading.Event()
        self.rows_shown = 0
        self.failure = None

    def run(self):
        try:
            while not self.stopping.wait(self.dice.choice((0, 0.1, 0.3))):
                self.read(self.dice.choice(PAGES + NUMBERS))
        except Exception as failure:
            self.failure = failure
        finally:
            self.api.close()

    def stop(self):
        self.stopping.set()
        self.join()
        if self.failure:
            raise self.failure
        assert self.rows_shown, "nothing was read"

    def read(self, path):
        try:
            answer = self.api.get(path)
        except (OSError, http.client.HTTPException):
            return  # also of what was cut off, which is seen
        if answer.status == 503:
            assert answer.json["code"], answer
            return
        assert answer.status == 200, (path, answer)
        if path in PAGES:
            self.look(self.rows_of(path, answer))

    def rows_of(self, path, answer):
        if "ndjson" in path:
            return [json.loads(line) for line in answer.body.splitlines()]
        return answer.json["data"]

    def look(self, rows):
        messages = {row["message"] for row in rows}
        assert len(messages) == len(rows), "a record is there twice"
        for row in rows:
            wrong = self.book.what_is_wrong_with(row["device_id"], row["log_level"], row["message"],
                                                 row["log_data"])
            assert not wrong, (wrong, row)
        self.rows_shown += len(rows)
