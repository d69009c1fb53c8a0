"""The splits: their names, and how public sets spell them.

Tested in `tests/data/test_manifest.py`.
"""

from __future__ import annotations

SPLITS = ("train", "validation", "test")

_SPELLINGS = {
    "": "",
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def parse_split(text: str) -> str | None:
    """Read a split's name in any of the spellings that public sets use.

    Parameters
    ----------
    text
        Name such as ``Training`` or ``val``.

    Returns
    -------
    str or None
        One of `SPLITS`, or empty for an empty text; None where the text names
        no split.
    """
    return _SPELLINGS.get(text.lower())
