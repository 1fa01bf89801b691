"""What scripts/bench is made of, as far as that needs no quiet machine."""

import sys

from harness.build import ROOT

sys.path.append(str(ROOT / "t" / "bench"))
from attackers import make_attacks  # noqa: E402


def test_attacks_can_be_made():
    attacks = make_attacks()
    assert len({attack.name for attack in attacks}) == len(attacks) > 10
    assert all(attack.thrown_away().requests for attack in attacks)
