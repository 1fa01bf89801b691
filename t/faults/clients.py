"""Clients of every kind that post to the edge, each record once, and write down what they are told."""

import gzip
import http.client
import json
import socket
import time
import uuid

from book import ACKNOWLEDGED, REFUSED, UNKNOWN
from guest import Guest

LEVELS = ("DEBUG", "INFO", "INFO", "INFO", "WARNING", "ERROR", "CRITICAL")
TEXTS = ("it flows", "tab\there", "back\\slash", "quote\"d", "line\nbreak", "ünï 中 😀", "\\N", "\\.")
KEYED_TRIES = 200


def value(dice, depth=0):
    kind = dice.randrange(7 if depth < 2 else 5)
    if kind == 5:
        return [value(dice, depth + 1) for _ in range(dice.randrange(4))]
    if kind == 6:
        return {dice.choice("abcdef"): value(dice, depth + 1) for _ in range(dice.randrange(4))}
    return (None, dice.random() < 0.5, dice.randrange(-10**12, 10**12), dice.randrange(4000) / 8,
            dice.choice(TEXTS))[kind]


def record(dice):
    return {"device_id": f"device-{dice.randrange(50)}", "log_level": dice.choice(LEVELS),
            "message": f"{dice.choice(TEXTS)} {uuid.UUID(int=dice.getrandbits(128)).hex}",
            "log_data": {"n": dice.randrange(10**9), "v": value(dice)}}


class Client(Guest):
    def act(self):
        kind = self.dice.random()
        if kind < 0.55:
            self.send([record(self.dice)], single=True)
        elif kind < 0.85:
            self.send(self.batch())
        elif kind < 0.90:
            self.send(self.batch(), **{"Content-Encoding": "gzip"})
        elif kind < 0.97:
            self.send_keyed(self.batch())
        else:
            self.send_and_leave([record(self.dice)])

    def batch(self):
        return [record(self.dice) for _ in range(self.dice.choice((2, 5, 20, 60)))]

    def send(self, records, single=False, **headers):
        self.book.sent(records)
        self.book.told(records, self.post(records, single, **headers))

    def post(self, records, single=False, **headers):
        """The outcome."""
        body = json.dumps(records[0] if single else {"logs": records}).encode()
        if "Content-Encoding" in headers:
            body = gzip.compress(body, 1)
        try:
            answer = self.api.post("/api/log" if single else "/api/logs/batch", body, **headers)
        except ConnectionRefusedError:
            self.stopping.wait(0.02)
            return REFUSED
        except (OSError, http.client.HTTPException):
            self.stopping.wait(0.02)
            return UNKNOWN
        if answer.status == 200:
            return ACKNOWLEDGED
        # There is nothing wrong with what is sent, and no fault may make it look so.
        assert answer.status == 503, answer
        self.stopping.wait(0.02)
        return UNKNOWN if answer.json["code"] == "outcome_unknown" else REFUSED

    def send_keyed(self, records):
        """Again and again until it is taken: with its key it is stored once all the same."""
        key = {"Idempotency-Key": f"{self.dice.getrandbits(64):x}"}
        self.book.sent(records)
        was_unknown = False
        for _ in range(KEYED_TRIES):
            outcome = self.post(records, **key)
            was_unknown = was_unknown or outcome == UNKNOWN
            if outcome == ACKNOWLEDGED or self.stopping.is_set():
                break
            time.sleep(0.05)
        if outcome == REFUSED and was_unknown:
            outcome = UNKNOWN
        self.book.told(records, outcome)

    def send_and_leave(self, records):
        self.book.sent(records)
        body = json.dumps(records[0]).encode()
        request = (b"POST /api/log HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                   b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        whole = self.dice.random() < 0.7
        try:
            with socket.create_connection(self.address, timeout=5) as connection:
                connection.sendall(request if whole else request[:-1])
                time.sleep(self.dice.choice((0, 0, 0.001, 0.01)))
        except OSError:
            pass
        self.book.told(records, UNKNOWN if whole else REFUSED)
