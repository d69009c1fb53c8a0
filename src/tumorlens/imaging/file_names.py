"""Names of files: printed anywhere, and in the order that people count in.

Tested in `tests/imaging/test_read.py`.
"""

from __future__ import annotations

import os
import re


def display_name(path: str | os.PathLike[str]) -> str:
    r"""Write a path so that it can be printed anywhere.

    Parameters
    ----------
    path
        May hold bytes that are no UTF-8, line breaks or control characters.

    Returns
    -------
    str
        The path, with such characters written as ``\xff``; never empty.
    """
    raw = os.fsencode(os.fspath(path))
    text = raw.decode("utf-8", "backslashreplace")
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )
    return shown or "''"


def natural_order(name: str) -> list[tuple[int, str]]:
    """Give the key by which names sort as people count: 2 comes before 10."""
    return [
        (int(part), "")
        if part.isdecimal() and part.isascii()
        else (-1, part.casefold())
        for part in re.split(r"([0-9]{1,18})", name)
        if part
    ]
