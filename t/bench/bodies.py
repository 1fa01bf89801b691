"""Bodies of random realistic records, made before the clock starts. One repeated body would flatter
every cache on the way."""

import gzip
import json
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


def record(dice):
    words = " ".join(dice.choices(WORDS, k=dice.randint(6, 14)))
    return json.dumps({
        "device_id": f"device-{dice.randrange(100):02d}",
        "log_level": dice.choice(LEVELS),
        "message": f"{words} {dice.getrandbits(31):08x}",
        "log_data": {
            "user": dice.randint(1, 999999),
            "ip": f"10.{dice.randrange(256)}.{dice.randrange(256)}.{dice.randrange(256)}",
            "latency_ms": round(dice.random() * 100, 3),
            "ok": dice.random() > 0.1,
        },
    }, separators=(",", ":"))


def body(dice, records, form):
    """Of so many records; 0 is one as itself."""
    if records == 0:
        return record(dice).encode()
    made = [record(dice) for _ in range(records)]
    if form == "ndjson":
        return "".join(line + "\n" for line in made).encode()
    text = f'{{"logs":[{",".join(made)}]}}'.encode()
    return gzip.compress(text, GZIP_LEVEL) if form == "gzip" else text


def write_bodies(path, records, form):
    """As records.lua reads them: the two headers, then bodies, each behind its length."""
    dice = random.Random(42)
    with open(path, "wb") as file:
        file.write("".join(header + "\n" for header in FORMS[form]).encode())
        for _ in range(20 if records > 100 else 200):
            one = body(dice, records, form)
            file.write(b"%d\n%s" % (len(one), one))
