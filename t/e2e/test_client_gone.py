"""Clients that leave while their POST waits for Redis."""

import json
import random
import socket
import struct

from harness.waiting import wait_until

BODY = json.dumps({"device_id": "d", "log_level": "INFO", "message": "gone"}).encode()
REQUEST = (
    b"POST /api/log HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


def reset(connection):
    """Closes with a RST instead of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_clients_leave_while_redis_hangs(stack, api):
    stack.redis.pause()
    connections = [api.raw(REQUEST) for _ in range(50)]
    for number, connection in enumerate(connections):
        if number % 2:
            reset(connection)
        else:
            connection.close()
    stack.redis.resume()
    wait_until(lambda: api.log().status == 200, 10, "POSTs are taken again")
    stack.wait_drained()
    assert 1 <= stack.rows() <= 52


def test_clients_leave_at_any_byte(stack, api):
    rng = random.Random(7)
    for number in range(300):
        cut = rng.randrange(1, len(REQUEST) + 1)
        connection = api.raw(REQUEST[:cut])
        if number % 3:
            reset(connection)
        else:
            connection.close()
    assert api.log().status == 200
    stack.wait_drained()


def test_pipelined_posts_are_all_answered_in_order(stack, api):
    count = 200
    connection = api.raw(REQUEST * count)
    received = b""
    while received.count(b"HTTP/1.1 200") < count:
        chunk = connection.recv(65536)
        assert chunk, received[-500:]
        received += chunk
    connection.close()
    stack.wait_rows(count)
