"""What the commands that handle patients' files log."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_log() -> Iterator[None]:
    """Log what TumorLens says, and nothing of what libraries say.

    They quote headers, and so patients: in what they log, and in warnings.
    """
    ours, root = logging.getLogger("tumorlens"), logging.getLogger()
    shown, nowhere = logging.StreamHandler(), logging.NullHandler()
    shown.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    before = (ours.level, ours.propagate)
    ours.addHandler(shown)
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
        ours.removeHandler(shown)
        root.removeHandler(nowhere)
