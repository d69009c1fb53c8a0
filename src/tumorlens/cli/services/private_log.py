"""The log of commands that handle patients' files: it says nothing about patients.

Tested in `tests/cli/services/test_dicomweb.py` and `tests/pacs/test_killed.py`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def private_log() -> Iterator[None]:
    """Log what TumorLens says, and nothing of what libraries say.

    Libraries quote headers, and so patients: in what they log, and in warnings.
    """
    ours, root = logging.getLogger("tumorlens"), logging.getLogger()
    handler, nowhere = logging.StreamHandler(), logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    before = (ours.level, ours.propagate)
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
    # Without any handler, the worst would be shown nevertheless.
    root.addHandler(nowhere)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ours.level, ours.propagate = before
        ours.removeHandler(handler)
        root.removeHandler(nowhere)
