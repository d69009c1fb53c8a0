"""Names of files, so that they can be printed anywhere.

Tested in `tests/imaging/test_read.py`.
"""

from __future__ import annotations

import os


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
