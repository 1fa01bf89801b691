"""The cases of t/json/cases.tsv."""

import re

from .build import ROOT


def read_cases():
    """(name, verdict, text as bytes) of each."""
    cases = []
    for line in (ROOT / "t" / "json" / "cases.tsv").read_text("ascii").splitlines():
        if line.startswith("#"):
            continue
        name, verdict, repeat, text = line.split("\t")[:4]
        plain = re.sub(rb"\\(x..|.)", unescape, text.encode("ascii"), flags=re.S)
        if repeat.endswith("x"):
            plain *= int(repeat[:-1])
        elif repeat:
            times = int(repeat[:-1])
            plain = plain[:1] * times + plain[1:] * times
        cases.append((name, verdict, plain))
    return cases


def unescape(match):
    escaped = match.group(1)
    return bytes([int(escaped[1:], 16)]) if escaped[:1] == b"x" else escaped
