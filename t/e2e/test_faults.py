"""scripts/faults: a short run of it, and that it would notice."""

import subprocess
import sys

import pytest

from harness.build import ROOT

sys.path.append(str(ROOT / "t" / "faults"))
from book import ACKNOWLEDGED, REFUSED, Book  # noqa: E402


@pytest.mark.alone
def test_whatever_fails_what_was_acknowledged_is_there_once():
    done = subprocess.run([ROOT / "scripts" / "faults", "--seconds", "60", "--seed", "1",
                           "--durability", "always"], capture_output=True, text=True, timeout=600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing wrong" in done.stdout


def told(*outcomes):
    book = Book()
    records = [{"message": f"m{n}", "log_data": {"n": n}} for n in range(len(outcomes))]
    book.sent(records)
    for record, outcome in zip(records, outcomes):
        if outcome:
            book.told([record], outcome)
    return book


@pytest.mark.parametrize("rows, wrong", [
    ([("m0", '{"n": 0}')], {}),
    ([("m0", '{"n": 0}'), ("m2", '{"n": 2.0}')], {}),
    ([], {"lost": ["m0"]}),
    ([("m0", '{"n": 0}'), ("m0", '{"n": 0}')], {"twice": ["m0"]}),
    ([("m0", '{"n": 0}'), ("m2", '{"n": 2}'), ("m2", '{"n": 2}')], {"twice": ["m2"]}),
    ([("m0", '{"n": 0}'), ("m1", '{"n": 1}')], {"refused, and there": ["m1"]}),
    ([("m0", '{"n": 5}')], {"changed": ["m0"]}),
    ([("m0", '{"n": 0}'), ("m7", "{}")], {"strange": ["m7"]}),
])
def test_what_is_not_as_it_was_told_is_found(rows, wrong):
    assert told(ACKNOWLEDGED, REFUSED, None).judge(rows) == wrong
