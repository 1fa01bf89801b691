"""Bodies of random realistic records, made before the clock starts. One repeated body would flatter
every cache on the way."""

import gzip
import itertools
import json
import math
import random

WORDS = (
    "connection timeout user login payment accepted retry upstream cache miss order created shipped "
    "failed sensor value temperature pressure valve opened closed session expired token refreshed "
    "query slow index").split()
LEVELS = ["DEBUG", "INFO", "INFO", "INFO", "INFO", "WARNING", "ERROR", "CRITICAL"]
GZIP_LEVEL = 6  # what clients use unless told otherwise

# Content-Type and Content-Encoding of each form.
FORMS = {
    "json": ("application/json", ""),
    "ndjson": ("application/x-ndjson", ""),
    "gzip": ("application/json", "gzip"),
}


def record(dice, device, size=0):
    """Of about so many bytes; 0 is as they happen to be."""
    words = " ".join(dice.choices(WORDS, k=dice.randint(6, 14)))
    made = {
        "device_id": f"device-{device:02d}",
        "log_level": dice.choice(LEVELS),
        "message": f"{words} {dice.getrandbits(31):08x}",
        "log_data": {
            "user": dice.randint(1, 999999),
            "ip": f"10.{dice.randrange(256)}.{dice.randrange(256)}.{dice.randrange(256)}",
            "latency_ms": round(dice.random() * 100, 3),
            "ok": dice.random() > 0.1,
        },
    }
    if size:
        fit(dice, made, size)
    return text_of(made)


def fit(dice, made, size):
    """A small one says less; a large one has words in both of its texts."""
    if size < len(text_of(made)):
        made |= {"message": f"{dice.choice(WORDS)} {dice.getrandbits(31):08x}", "log_data": {}}
    half = max(0, size - len(text_of(made))) // 2
    if half > 100:
        made["log_data"]["trace"] = " ".join(dice.choices(WORDS, k=half // 8))
        made["message"] += " " + " ".join(dice.choices(WORDS, k=half // 8))


def text_of(made):
    return json.dumps(made, separators=(",", ":"))


def body(made, form):
    """Of a list of records; of one alone, as itself."""
    if isinstance(made, str):
        return made.encode()
    if form == "ndjson":
        return "".join(line + "\n" for line in made).encode()
    text = f'{{"logs":[{",".join(made)}]}}'.encode()
    return gzip.compress(text, GZIP_LEVEL) if form == "gzip" else text


def write_bodies(path, records, form, devices=100, size=0):
    """As records.lua reads them: the two headers, then bodies, each behind its length. Of so many
    records each, 0 is one as itself; of each device there is at least one."""
    dice = random.Random(42)
    count = max(20 if records > 100 else 200, math.ceil(devices / max(records, 1)))
    order = itertools.cycle(dice.sample(range(devices), devices)) if devices > 100 else None

    def one():
        return record(dice, next(order) if order else dice.randrange(devices), size)

    with open(path, "wb") as file:
        file.write("".join(header + "\n" for header in FORMS[form]).encode())
        for _ in range(count):
            made = body([one() for _ in range(records)] if records else one(), form)
            file.write(b"%d\n%s" % (len(made), made))
