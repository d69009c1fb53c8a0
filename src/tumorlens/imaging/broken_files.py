"""What the broken files of a study may cost before the study is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tumorlens.errors import FatalFileError, InputError, TooManyBrokenError
from tumorlens.imaging.limits import MAX_BROKEN_SECONDS, MAX_FATAL_FILES

_FREE_SECONDS = 0.05
"""What any file may take: thousands that are merely of another kind cost nothing."""


class BrokenFiles:
    """Files of one study that could not be read, and what trying took.

    Each alone is held to seconds, but an archive may hold thousands.

    Parameters
    ----------
    label
        What the user calls the study.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._fatal = 0
        self._slow = 0
        self._seconds = 0.0

    @contextmanager
    def passing_over(
        self, name: str, failures: list[tuple[str, InputError]]
    ) -> Iterator[None]:
        """Read one file inside: that it cannot be read is noted and charged.

        Parameters
        ----------
        name
            Of the file.
        failures
            Where its name and error are noted.

        Raises
        ------
        TooManyBrokenError
            Where the files of `MAX_FATAL_FILES` ended their decoder, or all
            together took `MAX_BROKEN_SECONDS`.
        """
        start = time.monotonic()
        try:
            yield
        except InputError as error:
            # A copy: the error itself holds on to all that was being read.
            failures.append((name, type(error)(error.message, error.hint)))
            self._charge(name, error, time.monotonic() - start)

    def _charge(self, name: str, error: InputError, seconds: float) -> None:
        mend = "Leave those files out, or export the study again, uncompressed."
        self._fatal += isinstance(error, FatalFileError)
        if self._fatal >= MAX_FATAL_FILES:
            raise TooManyBrokenError(
                f"{self._label} holds {self._fatal} files whose pixel data end their "
                f"decoder or keep it busy, the last of them {name}; the rest of the "
                "study was not read.",
                mend,
            ) from error
        if seconds > _FREE_SECONDS:
            self._slow += 1
            self._seconds += seconds
        if self._seconds >= MAX_BROKEN_SECONDS:
            raise TooManyBrokenError(
                f"{self._label} holds {self._slow} files that took long and could not "
                f"be read, the last of them {name}; the rest of the study was not "
                "read.",
                mend,
            ) from error
