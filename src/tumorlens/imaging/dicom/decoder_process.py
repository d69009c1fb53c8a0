"""The process that decodes compressed frames: it may die, TumorLens does not.

Run by `tumorlens.imaging.dicom.decoder`, which says what goes in and out.

Tested in `tests/imaging/dicom/test_decoder.py`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SECONDS = 0.5
_VALUES_PER_SECOND = 15_000_000
_CODE_BYTES_PER_SECOND = 1_000_000
_MOST_SECONDS = 1.5
"""Processor time for a frame: JPEG 2000, the slowest, takes a sixth of it, and of the
most a third for 2048 x 2048 of noise."""

_SPARE_BYTES = 64 * 2**20
_BYTES_PER_VALUE = 16
"""Memory for a frame: JPEG 2000 holds each value twice in 32 bits, then as bytes."""

_JPEG_2000 = "1.2.840.10008.1.2.4.91"
_HIGH_THROUGHPUT = tuple(f"1.2.840.10008.1.2.4.20{number}" for number in (1, 2, 3))
"""Transfer syntaxes of high-throughput JPEG 2000 (HTJ2K)."""


def main() -> int:
    """Answer requests on the standard input until it closes."""
    warnings.simplefilter("ignore")
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    # The libraries print what they think of a file; that is no answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while line := requests.readline():
        request = json.loads(line)
        frame = _decode(request, requests.read(request["length"]))
        head: dict[str, Any] = {"decoded": isinstance(frame, np.ndarray)}
        if isinstance(frame, np.ndarray):
            head |= {"shape": frame.shape, "dtype": frame.dtype.str}
        else:
            head |= {"no_decoder": frame}
        answers.write(json.dumps(head).encode() + b"\n")
        if isinstance(frame, np.ndarray):
            answers.write(np.ascontiguousarray(frame).data)
        answers.flush()
    return 0


def _decode(request: dict[str, Any], data: bytes) -> NDArray[Any] | bool:
    """Return the frame; else whether it was for lack of a decoder."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    options, syntax, plugin = request["options"], request["syntax"], ""
    if syntax in _HIGH_THROUGHPUT:
        # The OpenJPEG in Pillow reads it as it does other JPEG 2000; pydicom would ask
        # for another library.
        syntax, plugin = _JPEG_2000, "pillow"
    try:
        # Loads the libraries, which is not charged to the file.
        decoder = get_decoder(syntax)
        if not decoder.is_available:
            return True
    except NotImplementedError:
        return True
    values = options["rows"] * options["columns"] * options["samples_per_pixel"]
    _hold(values, len(data))
    try:
        frame, _ = decoder.as_array(
            encapsulate([data]), index=0, decoding_plugin=plugin, **options
        )
    # The decoders of several libraries stand behind this; what they raise on broken
    # data is not documented.
    except Exception:
        return False
    finally:
        _release()
    return frame


def _hold(values: int, code_bytes: int) -> None:
    """Limit time and memory by what the header states and how long the code is.

    Where the system has no such limits (Windows), the caller's clock remains.
    """
    if hasattr(signal, "setitimer"):
        # Not caught: the signal ends the process, wherever in a decoder that is.
        due = values / _VALUES_PER_SECOND + code_bytes / _CODE_BYTES_PER_SECOND
        signal.setitimer(signal.ITIMER_PROF, min(_SECONDS + due, _MOST_SECONDS))
    _limit_memory(_SPARE_BYTES + _BYTES_PER_VALUE * values)


def _release() -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, 0)
    _limit_memory(None)


def _limit_memory(more: int | None) -> None:
    """Allow this many bytes beyond what the process has now; None lifts it."""
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = hard
    if more is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        soft = pages * resource.getpagesize() + more
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    sys.exit(main())
