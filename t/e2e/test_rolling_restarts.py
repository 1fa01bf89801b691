"""Edge, loader and server are restarted in every order under steady load: nothing is lost, nothing
is there twice, nothing is refused, and no question goes without its answer."""

import http.client
import itertools
import signal
import threading

import pytest

from harness.exact import check_counters, differences, stored_messages
from harness.waiting import wait_until

DEVICE = "rolling"


def record(message):
    return {"device_id": DEVICE, "log_level": "INFO", "message": message}


class Sender(threading.Thread):
    """As agents do (and HTTP lets a client do on a connection that was kept): what has no answer is
    sent again. What is answered otherwise than with 200 is kept as it is."""

    def __init__(self, stack, number, send):
        super().__init__()
        self.api = stack.api()
        self.number = number
        self.send = send
        self.messages = []
        self.answers = 0
        self.resent = 0
        self.wrong = []
        self.stopping = threading.Event()

    def name(self, count=1):
        """New ones."""
        first = len(self.messages)
        self.messages += [f"{self.number}-{first + i}" for i in range(count)]
        return self.messages[first:]

    def run(self):
        while not self.stopping.is_set():
            request = self.send(self)
            try:
                answer = self.answer(request)
            except OSError as error:
                self.wrong.append(error)
                continue
            self.answers += 1
            if answer.status != 200:
                self.wrong.append(answer)

    def answer(self, request):
        for attempt in range(3):
            try:
                return request(self.api)
            except (OSError, http.client.HTTPException) as error:
                failure = error
                self.resent += 1
        raise OSError(f"no answer: {failure!r}")


def single(sender):
    message, = sender.name()
    return lambda api: api.post("/api/log", record(message))


def batch(sender):
    messages = sender.name(20)
    return lambda api: api.batch([record(message) for message in messages])


def keyed(sender):
    message, = sender.name()
    return lambda api: api.post("/api/log", record(message), **{"Idempotency-Key": message})


def cached(sender):
    return lambda api: api.logs(DEVICE)


offsets = itertools.count()


def uncached(sender):
    """A page that nobody has asked for."""
    offset = next(offsets)
    return lambda api: api.logs(DEVICE, f"?limit={offset % 100 + 1}&offset={offset // 100}")


class Traffic:
    def __init__(self, stack, kinds):
        self.stack = stack
        self.senders = [Sender(stack, number, kind) for number, kind in enumerate(kinds)]
        for sender in self.senders:
            sender.start()

    def wait_answered(self, more=5):
        """By each of them."""
        seen = [sender.answers for sender in self.senders]
        wait_until(lambda: all(sender.answers >= before + more or sender.wrong
                               for sender, before in zip(self.senders, seen)), 30, "answers come")

    def stop(self):
        for sender in self.senders:
            sender.stopping.set()
        for sender in self.senders:
            sender.join()

    def wrong(self, kinds):
        return [answer for sender in self.senders if sender.send in kinds
                for answer in sender.wrong]

    def check_stored(self):
        messages = [message for sender in self.senders for message in sender.messages]
        self.stack.wait_drained()
        assert not (wrong := differences(stored_messages(self.stack), set(messages))), wrong
        check_counters(self.stack)


def restart(part):
    part.signal(signal.SIGTERM)
    assert part.process.wait(40) == 0
    part.start()


def restarts_of(stack):
    return {
        "edge": stack.nginx.reload,
        "loader": lambda: restart(stack.loader),
        "server": lambda: restart(stack.server),
    }


POSTS = (single, batch, keyed)
QUERIES = (cached, uncached)


@pytest.mark.alone
def test_restarts_in_every_order(make_stack):
    """Somebody else holds the server's socket, as systemd does."""
    stack = make_stack()
    stack.server.hold_socket()
    stack.start()
    restarts = restarts_of(stack)
    traffic = Traffic(stack, POSTS * 2 + QUERIES * 2)
    try:
        traffic.wait_answered()
        for order in itertools.permutations(restarts):
            for name in order:
                restarts[name]()
            traffic.wait_answered()
        running = [threading.Thread(target=one) for one in restarts.values()]
        for one in running:
            one.start()
        for one in running:
            one.join()
        traffic.wait_answered()
    finally:
        traffic.stop()
    wrong = traffic.wrong(POSTS + QUERIES)
    assert not wrong, (len(wrong), wrong[:5])
    traffic.check_stored()
    stack.server.listening.close()


def test_pages_in_the_cache_outlast_a_server_that_holds_its_own_socket(make_stack):
    """As under supervisor: who asks for another page meanwhile is told to come back."""
    stack = make_stack()
    stack.allow(r"serve\.sock failed")
    stack.start()
    assert stack.api().logs(DEVICE).status == 200
    traffic = Traffic(stack, POSTS + QUERIES)
    try:
        for _ in range(4):
            traffic.wait_answered()
            restart(stack.server)
            restart(stack.loader)
            stack.nginx.reload()
    finally:
        traffic.stop()
    wrong = traffic.wrong(POSTS + (cached,))
    assert not wrong, (len(wrong), wrong[:5])
    for answer in traffic.wrong((uncached,)):
        assert answer.status == 503 and answer.headers["Retry-After"]
    traffic.check_stored()
