"""The factory gives pages what they are set with."""

from __future__ import annotations

import pytest

from tumorlens.web.app import unbroken


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("of 81, 52 % (41 % to 63 %) were", "of 81, 52~% (41~% to 63~%) were"),
        ("about 38 × 40 × 30 mm (across", "about 38 × 40 × 30~mm (across"),
        ("< 0.1 %", "< 0.1~%"),
        ("in 220 patients, 3 mmHg", "in 220 patients, 3 mmHg"),
    ],
)
def test_a_unit_is_not_parted_from_its_number(text: str, kept: str) -> None:
    assert unbroken(text) == kept.replace("~", "\N{NO-BREAK SPACE}")
