"""The log of commands that handle patients' files: it says nothing about patients.

Tested in `tests/cli/services/test_dicomweb.py` and `tests/pacs/test_killed.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tumorlens.operations.logs import only_our_log


@contextmanager
def private_log() -> Iterator[None]:
    """Log what TumorLens says as lines of text, and nothing of what libraries say."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    with only_our_log(handler):
        yield
