"""Entries as the edge and other producers write them, but with whatever bytes a test wants."""

import os
import time


def row(message="m", device_id="d", level="INFO", log_data="{}", event_time="\\N"):
    """A row in COPY text form, without its newline. Values are put in as they are."""
    columns = (device_id, level, message, log_data, event_time)
    return b"\t".join(
        value if isinstance(value, bytes) else value.encode() for value in columns
    )


def keyed_id():
    """A producer id of the kind that a request with an Idempotency-Key gets: a UUID version 8."""
    data = bytearray(os.urandom(16))
    data[6] = 0x80 | data[6] & 0x0F
    return bytes(data)


def frame(rows, t_ms=None, u=None, **fields):
    """The fields of a frame's entry; some may be given otherwise, so that it is damaged."""
    return {
        "v": "1",
        "u": u or os.urandom(16),
        "t": int(time.time() * 1000) if t_ms is None else t_ms,
        "n": len(rows),
        "r": b"".join(one + b"\n" for one in rows),
        **fields,
    }


def add(redis, entries, stream="logs:stream"):
    """Adds entries at once, so that one read finds them all; returns their ids."""
    pipeline = redis.client.pipeline(transaction=True)
    for entry in entries:
        pipeline.xadd(stream, entry)
    return [entry_id.decode() for entry_id in pipeline.execute()]


def netstrings(data):
    """The strings of "5:hello,5:world,"."""
    found = []
    while data:
        length, _, rest = data.partition(b":")
        length = int(length)
        found.append(rest[:length])
        assert rest[length:length + 1] == b","
        data = rest[length + 1:]
    return found
