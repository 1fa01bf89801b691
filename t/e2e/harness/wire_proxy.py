"""Proxies between a loader and its Redis and Postgres that know what is asked, and fail by name.

`before` a step its request is not passed on; `after` it was done, but nobody is told. Steps are
Redis' commands, and what PG_STEPS and the messages of COPY are called below.
"""

import re
import select
import signal
import socket
import threading

REDIS_STEPS = ["XREADGROUP", "XREADGROUP own", "XAUTOCLAIM", "XACK", "XTRIM", "XGROUP"]
# What the SQL of a step begins with.
PG_STEPS = {
    "BEGIN": b"BEGIN",
    "ledger": b"INSERT INTO ledger",
    "keys": b"INSERT INTO idempotency",
    "COPY begin": b"COPY",
    "counters": b"INSERT INTO counters",
    "COMMIT": b"COMMIT",
    "make partition": b"SELECT sluice_make_partition",
    "ids": b"SELECT nextval",
    "dead letter": b"INSERT INTO dead_letters",
    "undo rows": b"ROLLBACK TO",
}
COPY_STEPS = {b"d": "COPY data", b"c": "COPY end"}


class Fault:
    """Happens once, unless it is cancelled. do(link) says whether the connection goes on."""

    def __init__(self, step, when, do):
        self.step, self.when, self.do = step, when, do
        self.begun = threading.Event()
        self.done = threading.Event()
        self.cancelled = False

    def wait(self, timeout=30):
        assert self.done.wait(timeout), f"not within {timeout} s: {self.when} {self.step}"


def cut(_link):
    return False


def hang(link):
    """Nothing comes through any more, until the loader gives up."""
    link.wait_given_up()
    return False


def kill(part):
    """SIGKILL; reaping it is left to the test."""

    def do(_link):
        part.signal(signal.SIGKILL)
        return False

    return do


class RedisProtocol:
    """One command at a time: a reply's first bytes say that it was done."""

    def __init__(self):
        self.asked = b""

    def requests(self, data):
        self.asked += data
        while (words_end := self._command_end()) is not None:
            words, end = words_end
            message, self.asked = self.asked[:end], self.asked[end:]
            yield self._step(words), message

    def _command_end(self):
        words, at = [], self.asked.find(b"\r\n") + 2
        if at < 2:
            return None
        for _ in range(int(self.asked[1:at])):
            start = self.asked.find(b"\r\n", at) + 2
            if start < 2:
                return None
            size = int(self.asked[at + 1:start])
            words.append(self.asked[start:start + size])
            at = start + size + 2
        return (words, at) if at <= len(self.asked) else None

    @staticmethod
    def _step(words):
        name = words[0].decode()
        if name == "EVAL" and b"XTRIM" in words[1]:
            name = "XTRIM"
        return name + " own" if name == "XREADGROUP" and words[-1] != b">" else name

    @staticmethod
    def whole(_reply):
        return True

    @staticmethod
    def did_something(reply):
        if reply.startswith((b"*-1", b"$-1", b":0", b"-")):
            return False
        return len(reply) >= 64 or not reply.endswith(b"*0\r\n")

    def look_at_answer(self, data):
        pass

    def has_answer(self, _step):
        return True


class PgProtocol:
    """Messages of the protocol's version 3; the first one of a connection has no type."""

    def __init__(self):
        self.asked = b""
        self.greeted = False
        self.backend_pid = None
        self.answers = b""  # until the backend has told its pid

    def requests(self, data):
        self.asked += data
        while True:
            head = 1 if self.greeted else 0
            if len(self.asked) < head + 4:
                return
            end = head + int.from_bytes(self.asked[head:head + 4], "big")
            if len(self.asked) < end:
                return
            message, self.asked = self.asked[:end], self.asked[end:]
            step = self._step(message) if self.greeted else None
            self.greeted = True
            yield step, message

    def _step(self, message):
        kind = message[:1]
        if kind in COPY_STEPS:
            return COPY_STEPS[kind]
        if kind not in (b"Q", b"P"):
            return None
        # A prepared statement's name, which is empty, stands before its SQL.
        sql = message[5:].lstrip(b"\0")
        for step, begin in PG_STEPS.items():
            if sql.startswith(begin):
                return step
        return None

    @staticmethod
    def whole(reply):
        """Up to ReadyForQuery, or to the invitation to COPY."""
        at = 0
        while len(reply) >= at + 5:
            kind = reply[at:at + 1]
            at += 1 + int.from_bytes(reply[at + 1:at + 5], "big")
            if kind in (b"Z", b"G") and len(reply) >= at:
                return True
        return False

    @staticmethod
    def did_something(_reply):
        return True

    def look_at_answer(self, data):
        if self.backend_pid is None:
            self.answers += data
            # BackendKeyData: pid and secret.
            found = re.search(rb"K\0\0\0\x0c(....)....Z", self.answers, re.S)
            if found:
                self.backend_pid = int.from_bytes(found.group(1), "big")
                self.answers = b""

    def has_answer(self, step):
        return step != "COPY data"


class Link(threading.Thread):
    """One connection of the loader, and the one it is passed on by."""

    def __init__(self, proxy, client):
        super().__init__(daemon=True)
        self.proxy = proxy
        self.protocol = proxy.protocol()
        self.client = client
        self.server = socket.socket(socket.AF_UNIX)
        self.fault = None  # whose request was passed on
        self.held = b""

    def run(self):
        try:
            self.server.connect(str(self.proxy.target))
            while self._relay():
                pass
        except OSError:
            pass
        finally:
            if self.fault is not None:
                self.proxy.put_back(self.fault)
            self.close()

    def close(self):
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def wait_given_up(self):
        while self.client.recv(1 << 16):
            pass

    @property
    def backend_pid(self):
        return self.protocol.backend_pid

    def _relay(self):
        for end in select.select([self.client, self.server], [], [])[0]:
            data = end.recv(1 << 18)
            if not data:
                return False
            if not (self._asked(data) if end is self.client else self._answered(data)):
                return False
        return True

    def _asked(self, data):
        for step, message in self.protocol.requests(data):
            fault = self.proxy.take(step)
            if fault and fault.when == "before" and not self._fire(fault):
                return False
            self.server.sendall(message)
            if fault and fault.when == "after":
                if not self.protocol.has_answer(step):
                    return self._fire(fault)
                self.fault = fault
        return True

    def _answered(self, data):
        self.protocol.look_at_answer(data)
        if self.fault is None:
            self.client.sendall(data)
            return True
        self.held += data
        if not self.protocol.whole(self.held):
            return True
        fault, self.fault = self.fault, None
        reply, self.held = self.held, b""
        if not self.protocol.did_something(reply):
            self.proxy.put_back(fault)
        elif not self._fire(fault):
            return False
        self.client.sendall(reply)
        return True

    def _fire(self, fault):
        fault.begun.set()
        goes_on = fault.do(self)
        if not goes_on:
            self.close()
        fault.done.set()
        return goes_on


class WireProxy:
    def __init__(self, protocol, path, target):
        self.protocol, self.target = protocol, target
        self.fault = None
        self.links = []
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            link = Link(self, client)
            with self.lock:
                self.links = [other for other in self.links if other.is_alive()] + [link]
                link.start()

    def arm(self, fault):
        with self.lock:
            assert self.fault is None, "a fault is armed already"
            self.fault = fault

    def put_back(self, fault):
        """There was nothing to be done in this step: it is for the next one."""
        with self.lock:
            if self.fault is None and not fault.cancelled:
                self.fault = fault

    def cancel(self, fault):
        """If it has not begun it will not."""
        with self.lock:
            fault.cancelled = True
            if self.fault is fault:
                self.fault = None

    def take(self, step):
        with self.lock:
            if self.fault is None or self.fault.step != step:
                return None
            fault, self.fault = self.fault, None
            return fault

    def cut(self):
        """Whatever they are at."""
        with self.lock:
            links = list(self.links)
        for link in links:
            link.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()


class Wires:
    """Both of a loader's ways out of its process."""

    def __init__(self, stack, loader):
        folder = stack.folder / f"{loader.name}-wires"
        folder.mkdir()
        self.redis = WireProxy(RedisProtocol, folder / "redis.sock", stack.redis.socket_path)
        self.postgres = WireProxy(
            PgProtocol, folder / ".s.PGSQL.5432", stack.folder / ".s.PGSQL.5432")
        loader.settings["SLUICED_REDIS_URL"] = f"unix://loader@{folder}/redis.sock"
        loader.settings["SLUICED_POSTGRES_DSN"] = f"host={folder} dbname=sluice"

    def arm(self, step, when, do):
        fault = Fault(step, when, do)
        self.of(step).arm(fault)
        return fault

    def of(self, step):
        return self.redis if step in REDIS_STEPS else self.postgres

    def close(self):
        self.redis.close()
        self.postgres.close()
