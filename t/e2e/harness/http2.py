"""HTTP/2 without TLS: a client for well-behaved streams and for those that are cut off."""

import collections
import json
import socket
import struct
import time
import uuid

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

Broken = (OSError, h2.exceptions.ProtocolError)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Http2:
    """One connection. Streams are opened, fed and reset by their numbers."""

    def __init__(self, port, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.statuses, self.bodies, self.ended = {}, collections.defaultdict(bytes), set()
        self._flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def begin(self, path, method="POST", **headers):
        """The head of a request; returns the stream's number."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [
            (":method", method), (":scheme", "http"), (":authority", "x"), (":path", path),
            ("content-type", "application/json"),
            *((name.replace("_", "-"), str(value)) for name, value in headers.items()),
        ])
        self._flush()
        return stream

    def send(self, stream, data, end=False):
        """Waits for room in the windows, if it must; nginx may want no more."""
        while data and stream not in self.ended:
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if size == 0:
                self.read()
                continue
            self.h2.send_data(stream, data[:size])
            self._flush()
            data = data[size:]
        if end and stream not in self.ended:
            self.h2.end_stream(stream)
            self._flush()

    def post(self, path, body):
        stream = self.begin(path, content_length=len(body))
        self.send(stream, body, end=True)
        return stream

    def get(self, path):
        stream = self.begin(path, "GET")
        self.send(stream, b"", end=True)
        return stream

    def reset(self, stream):
        self.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def drop(self):
        """Closes the connection with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.socket.close()

    def read(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed by nginx")
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.statuses[event.stream_id] = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                self.ended.add(event.stream_id)
        self._flush()

    def wait(self, streams):
        """Until all of them have ended."""
        while not self.ended.issuperset(streams):
            self.read()

    def _flush(self):
        self.socket.sendall(self.h2.data_to_send())


class Leaver:
    """Streams that are reset, and connections that are dropped, at random moments; among them
    streams that are not, which must be answered."""

    def __init__(self, port, rng, device):
        self.port = port
        self.rng = rng
        self.device = device
        # Messages: answered 200; answered otherwise; without an answer.
        self.stored, self.refused, self.unknown = [], [], []
        self.broken = []  # connections that ended before we left them

    def run(self, streams):
        while streams > 0:
            number = min(streams, self.rng.randrange(1, 30))
            streams -= number
            waiting = {}
            try:
                with Http2(self.port) as connection:
                    self._cut(connection, number, waiting)
            except Broken as error:
                self.broken.append(error)
            self.unknown += waiting.values()

    def _cut(self, connection, number, waiting):
        """Whoever is in waiting has a message that may be stored, and no answer."""
        rng = self.rng
        cut = []
        for _ in range(number):
            message = uuid.uuid4().hex
            body = self._body(message)
            length = {"content_length": len(body)} if rng.random() < 0.5 else {}
            stream = connection.begin("/api/log", **length)
            waiting[stream] = message
            if rng.random() < 0.6:
                cut.append(stream)
            if stream in cut and rng.random() < 0.5:
                connection.send(stream, body[: rng.randrange(len(body))])
            else:
                connection.send(stream, body, end=True)
        rng.shuffle(cut)
        for stream in cut:
            if rng.random() < 0.2:
                time.sleep(rng.random() * 0.002)
            if stream not in connection.ended:
                connection.reset(stream)
        how = rng.random()
        if how < 0.3:
            connection.drop()
        elif how < 0.9:
            self._take_answers(connection, set(waiting) - set(cut), waiting)

    def _body(self, message):
        padding = "p" * self.rng.choice([0, 0, 0, 5000, 100000])
        return json.dumps({"device_id": self.device, "log_level": "INFO", "message": message,
                           "log_data": {"padding": padding}}).encode()

    def _take_answers(self, connection, streams, waiting):
        connection.wait(streams)
        for stream in streams:
            if stream not in connection.statuses:
                continue
            if connection.statuses[stream] == 200:
                self.stored.append(waiting.pop(stream))
            elif json.loads(connection.bodies[stream])["code"] != "outcome_unknown":
                self.refused.append(waiting.pop(stream))
