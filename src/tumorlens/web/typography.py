"""How sentences are set on a page."""

from __future__ import annotations

import re

_UNIT = re.compile(r"(?<=\d) (?=(?:%|mm|MB|pixels)(?![A-Za-z]))")


def unbroken(text: str) -> str:
    """Keep each number on one line with its unit, by spaces that do not break.

    Parameters
    ----------
    text
        A sentence, not yet markup.
    """
    return _UNIT.sub("\N{NO-BREAK SPACE}", text)
