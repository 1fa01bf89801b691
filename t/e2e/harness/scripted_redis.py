"""A Redis that does what a test wants: answers late, half, wrong, or not at all.

It knows what the edge asks when it connects, and whether Redis takes writes, and answers that as a
durable Redis would; what it does with XADD is the test's: a function that gets the frame and returns the bytes to send, in
pieces if it likes, or None to close the connection.
"""

import collections
import fnmatch
import itertools
import socket
import struct
import threading
import time

Frame = collections.namedtuple("Frame", "u records rows")

QUESTION_ID = b"0-0"  # with which the edge asks whether writes are taken
TAKES_WRITES = b"-ERR The ID specified in XADD must be greater than 0-0\r\n"

INFO = (b"# Persistence\r\naof_enabled:1\r\naof_last_write_status:ok\r\n"
        b"# Memory\r\nused_memory:1000000\r\nmaxmemory:100000000\r\n")


def bulk(text):
    return b"$%d\r\n%s\r\n" % (len(text), text)


def array(*items):
    return b"*%d\r\n%s" % (len(items), b"".join(bulk(item) for item in items))


ANSWERS = {
    b"CLIENT": b"+OK\r\n",
    b"AUTH": b"+OK\r\n",
    b"SELECT": b"+OK\r\n",
    b"INFO": bulk(INFO),
    b"ROLE": b"*3\r\n" + bulk(b"master") + b":0\r\n*0\r\n",
    b"HMGET": b"*5\r\n" + 5 * b"$-1\r\n",
    b"XLEN": b":0\r\n",
}


SETTINGS = {
    b"appendonly": b"yes",
    b"appendfsync": b"always",
    b"no-appendfsync-on-rewrite": b"no",
    b"maxmemory-policy": b"noeviction",
}


class Reader:
    def __init__(self, connection):
        self.file = connection.makefile("rb")

    def command(self):
        """The next command, as a list of words; None at the end."""
        head = self.file.readline()
        if not head:
            return None
        words = []
        for _ in range(int(head[1:])):
            size = int(self.file.readline()[1:])
            words.append(self.file.read(size + 2)[:-2])
        return words


def pid_of_peer(connection):
    size = struct.calcsize("3i")
    return struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]


class ScriptedRedis:
    def __init__(self, folder):
        self.path = folder / "redis.sock"
        self.frames = []  # every XADD that was read, in order
        self.added = itertools.count(1)
        self.on_xadd = self.store
        self.on_question = lambda: TAKES_WRITES
        self.questions = []  # pid of who asked
        self.watchers = []  # pid of who asked how durable it is
        self.shut_out = set()  # pids who get no answer
        self.answers = dict(ANSWERS)
        self.settings = dict(SETTINGS)
        self.connections = []
        self.accepted = 0
        self.listener = None
        self.lock = threading.Lock()

    def store(self, _frame):
        """What Redis does: the entry's id."""
        return bulk(b"1700000000000-%d" % next(self.added))

    def start(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self):
        """As if it were killed: nobody answers any more."""
        if self.listener is None:
            return
        self.path.unlink()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.listener = None
        self.drop()

    def drop(self):
        """Closes all connections."""
        with self.lock:
            connections, self.connections = self.connections, []
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        listener = self.listener
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            with self.lock:
                self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        reader = Reader(connection)
        pid = pid_of_peer(connection)
        try:
            while (words := reader.command()) is not None and pid not in self.shut_out:
                answer = self._answer(words, pid)
                if answer is None:
                    break
                for piece in [answer] if isinstance(answer, bytes) else answer:
                    if isinstance(piece, bytes):
                        connection.sendall(piece)
                    else:
                        time.sleep(piece)
        except (OSError, ValueError):
            pass
        finally:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def _answer(self, words, pid):
        name = words[0]
        if name == b"ROLE":
            self.watchers.append(pid)
        if name in self.answers:
            return self.answers[name]
        if name == b"CONFIG":
            return self._config(words[2])
        if words[2] == QUESTION_ID:
            self.questions.append(pid)
            return self.on_question()
        fields = dict(zip(words[3::2], words[4::2]))
        frame = Frame(fields[b"u"], int(fields[b"n"]), fields[b"r"])
        with self.lock:
            self.frames.append(frame)
        return self.on_xadd(frame)

    def _config(self, pattern):
        found = [(name, value) for name, value in self.settings.items()
                 if fnmatch.fnmatchcase(name, pattern)]
        return array(*itertools.chain.from_iterable(found))
