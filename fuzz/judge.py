"""What every file has to end in, however broken: slices, or a clear error.

    python -m fuzz.judge FILE ...

reads files one after the other, and prints a line of JSON for each.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tumorlens.errors import InputError
from tumorlens.imaging.dicom.decoder import close_decoder
from tumorlens.imaging.read import read_study

MOST_SECONDS = 2.0
MOST_GROWTH = 200e6
"""Bytes by which reading may raise the most memory that the process has held."""

NAME = "fuzzed"
_TRIES = 3
_UNIT = 1 if sys.platform == "darwin" else 1024


class PromiseError(Exception):
    """A reader broke a promise; the message says which."""


class Reading(NamedTuple):
    """How one file was read.

    Parameters
    ----------
    outcome
        ``ok``, or the code of the error.
    seconds
        Processor time, that of a decoder which ended included: wall time depends
        on what else the machine does.
    grown
        Bytes by which the process's peak memory is above where the judge began.
    decoder
        The same of the processes that decoded for it and have ended.
    """

    outcome: str
    seconds: float
    grown: int
    decoder: int


class Judge:
    """Reads files and holds each against the promises.

    Parameters
    ----------
    warm
        Good files, read first: what they load is not charged to the others.
    """

    def __init__(self, warm: list[bytes]) -> None:
        for data in warm:
            outcome_of(data)
        # It counts once it has ended.
        close_decoder()
        self._start, self._decoder = _peak(), _peak_of_children()

    def start_anew(self) -> None:
        """Charge what the process holds now to nobody: an engine keeps much itself."""
        self._start = max(self._start, _memory("VmRSS"))

    def read(self, data: bytes) -> Reading:
        """Read a file and measure it; see `outcome_of`."""
        start = _processor_time()
        found = outcome_of(data)
        return Reading(
            found,
            _processor_time() - start,
            _peak() - self._start,
            _peak_of_children() - self._decoder,
        )

    def judge(self, data: bytes) -> str:
        """Read a file and return its outcome.

        Raises
        ------
        PromiseError
            As `outcome_of`; and where it takes too long or too much memory.
        """
        found = self.read(data)
        for _ in range(_TRIES - 1):
            if found.seconds <= MOST_SECONDS:
                break
            # A decoder that ends is charged with all that it did before this file.
            found = self.read(data)
        if found.seconds > MOST_SECONDS:
            raise PromiseError(f"took {found.seconds:.1f} s")
        grown = max(found.grown, found.decoder)
        if grown > MOST_GROWTH:
            raise PromiseError(f"memory grew by {grown / 1e6:.0f} MB")
        return found.outcome


def outcome_of(data: bytes) -> str:
    """Read a file: ``ok``, or the code of the error.

    Raises
    ------
    PromiseError
        Where it ends in an error that is not TumorLens's own or says too little,
        or in slices that are none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            study = read_study(data, NAME)
    except InputError as error:
        if NAME not in error.message or not error.hint:
            raise PromiseError(f"the error says too little: {error!r}") from error
        return error.code
    except Exception as error:
        raise PromiseError(f"{type(error).__name__}: {error}") from error
    if not study.slices:
        raise PromiseError("no slices, and no error")
    for item in study.slices:
        if item.pixels.dtype != np.float32 or not np.isfinite(item.pixels).all():
            raise PromiseError("pixels that are not finite float32")
    return "ok"


def _processor_time() -> float:
    return sum(os.times()[:4])


def _peak() -> int:
    """Most memory that this process has held so far, in bytes."""
    return _memory("VmHWM")


def _memory(field: str) -> int:
    """Read one of the kernel's figures of this process, in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        # Elsewhere than on Linux: it starts at what the parent process has held.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def _peak_of_children() -> int:
    """Most memory that one of the processes which ended has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _UNIT


def main() -> int:
    """Read the files that the command line names; the first one is the warm one."""
    paths = [Path(item) for item in sys.argv[1:]]
    judge = Judge([paths[0].read_bytes()])
    for path in paths[1:]:
        try:
            found: dict[str, object] = judge.read(path.read_bytes())._asdict()
        except PromiseError as error:
            found = {"broken": str(error)}
        print(json.dumps({"file": path.name, **found}), flush=True)
    # A decoder that still runs has not been counted yet.
    close_decoder()
    last = judge.read(paths[0].read_bytes())
    print(json.dumps({"file": f"{len(paths)} last", **last._asdict()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
