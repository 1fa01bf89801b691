"""A client of Server-Sent Events, as a browser's EventSource is: it comes back, and says where it was."""

import codecs
import json
import socket
import threading
import time
import urllib.parse

from .waiting import wait_until


class Event:
    def __init__(self, kind, event_id, data):
        self.kind = kind
        self.id = event_id
        self.data = json.loads(data)


class Parser:
    """By the rules of the HTML standard, also where lines may end."""

    def __init__(self):
        self.rest = ""
        self.last_id = ""
        self.retry_ms = None
        self._begin()

    def _begin(self):
        self.kind, self.lines, self.new_id = "message", [], self.last_id

    def feed(self, text):
        text = self.rest + text
        # "\r" at the end may be half of an end of a line.
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.rest = lines.pop()
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line):
        if line == "":
            # Not before: who is cut off amid an event comes back to where it was.
            self.last_id = self.new_id
            event = Event(self.kind, self.last_id, "\n".join(self.lines)) if self.lines else None
            self._begin()
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            self.new_id = value
        elif name == "data":
            self.lines.append(value)
        elif name == "event":
            self.kind = value
        elif name == "retry":
            self.retry_ms = int(value)
        return None


class EventStream:
    """Reads on a thread of its own until it is closed."""

    def __init__(self, address, comes_back=True, last_id="", headers=(), paused=False,
                 **parameters):
        self.address = address
        self.target = "/api/logs/stream"
        if parameters:
            self.target += "?" + urllib.parse.urlencode(parameters)
        self.comes_back = comes_back
        self.headers = dict(headers)
        self.events = []
        self.times = []
        self.connections = 0
        self.status = None
        self.head = None
        self.parser = Parser()
        self.parser.last_id = last_id
        self.closed = False
        self.paused = threading.Event()
        if paused:
            self.paused.set()
        self.socket = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.closed:
            try:
                self._read()
            except (OSError, ValueError, IndexError):  # cut off in the middle
                pass
            if not self.comes_back:
                return
            time.sleep((self.parser.retry_ms or 100) / 1000 / 5)

    def _open(self):
        if isinstance(self.address, int):
            return socket.create_connection(("127.0.0.1", self.address))
        made = socket.socket(socket.AF_UNIX)
        made.connect(str(self.address))
        return made

    def _read(self):
        self.parser.rest = ""
        self.parser._begin()
        with self._open() as self.socket:
            lines = [f"GET {self.target} HTTP/1.1", "Host: here", "Accept: text/event-stream",
                     "Connection: close"]
            lines += [f"{name}: {value}" for name, value in self.headers.items()]
            if self.parser.last_id:
                lines.append(f"Last-Event-ID: {self.parser.last_id}")
            self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
            stream = self.socket.makefile("rb")
            self.status = int(stream.readline().split()[1])
            self.head = {}
            while (line := stream.readline().strip()) != b"":
                name, _, value = line.decode().partition(":")
                self.head[name.lower()] = value.strip()
            if self.status != 200:
                self.comes_back = False
                return
            self.connections += 1
            decoder = codecs.getincrementaldecoder("utf-8")()
            while True:
                while self.paused.is_set() and not self.closed:
                    time.sleep(0.01)
                if "chunked" in self.head.get("transfer-encoding", ""):
                    size = int(stream.readline(), 16)
                    body = stream.read(size)
                    stream.readline()
                else:
                    body = stream.read1(65536)
                if not body:
                    return
                # Neither events nor characters are whole in a piece.
                events = self.parser.feed(decoder.decode(body))
                self.times += [time.monotonic()] * len(events)
                self.events += events

    @property
    def logs(self):
        return [event.data for event in self.of_kind("message")]

    @property
    def messages(self):
        return [log["message"] for log in self.logs]

    def of_kind(self, kind):
        return [event for event in list(self.events) if event.kind == kind]

    def wait_open(self, timeout=10):
        wait_until(lambda: self.connections, timeout, "the stream is open")
        return self

    def wait_logs(self, count, timeout=15):
        wait_until(lambda: len(self.logs) >= count, timeout, f"{count} records are shown")
        return self.logs

    def close(self):
        self.closed = True
        self.comes_back = False
        if self.socket is not None:
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(10)
