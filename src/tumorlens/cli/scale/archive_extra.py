"""The extra that archives need, asked for only when a command runs.

Tested in `tests/cli/scale/test_batch.py`.
"""

from __future__ import annotations

from tumorlens.errors import MissingExtraError


def require_archive() -> None:
    """Make sure that the extra ``archive`` is installed.

    Raises
    ------
    MissingExtraError
        It is not.
    """
    try:
        import fsspec  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("An archive", "archive") from error
