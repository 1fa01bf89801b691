"""A server of queries that does what a test wants: says what may be cached and for how long, is
late, fails, or goes away; and remembers what it was asked."""

import collections
import socket
import threading
import time

Asked = collections.namedtuple("Asked", "method target headers body")


def answer(body, status="200 OK", **headers):
    """The bytes of an answer; of headers with an underscore for each dash."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def page(text="", cache_control="max-age=60", **headers):
    """A page as the server writes it, of whom it says what is given."""
    return answer(f'{{"source":"database","total":1,"data":["{text}"]}}',
                  Cache_Control=cache_control, Content_Type="application/json", **headers)


def problem(status="503 Service Unavailable", cache_control="no-store"):
    return answer('{"code":"scripted"}', status, Cache_Control=cache_control,
                  Content_Type="application/problem+json")


class ScriptedServer:
    """on_request gets what was asked, and gives the bytes to send, in pieces with seconds to wait
    between them if it likes, or None to close the connection."""

    def __init__(self, folder):
        self.path = folder / "serve.sock"
        self.asked = []
        self.on_request = lambda asked: page(asked.target)
        self.connections = []
        self.lock = threading.Lock()
        self.listener = None

    @property
    def targets(self):
        return [asked.target for asked in self.asked]

    def start(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(512)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        """As if it were killed."""
        if self.listener is None:
            return
        self.path.unlink()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.listener = None
        with self.lock:
            connections, self.connections = self.connections, []
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as file:
            try:
                while (asked := self._read(file)) is not None:
                    with self.lock:
                        self.asked.append(asked)
                    pieces = self.on_request(asked)
                    if pieces is None:
                        return
                    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                        if isinstance(piece, bytes):
                            connection.sendall(piece)
                        else:
                            time.sleep(piece)
            except (OSError, ValueError):
                pass

    @staticmethod
    def _read(file):
        line = file.readline()
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split(" ")
        headers = {}
        while (line := file.readline().strip()):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = file.read(int(headers.get("content-length", 0)))
        return Asked(method, target, headers, body.decode("latin-1"))
