"""Compressed frames are decoded in a process of their own.

The libraries that decode JPEG, JPEG-LS and JPEG 2000 end the whole process on some
damaged files, and take memory as the compressed data say. So a second process
decodes, limited in memory and time; it is started once, kept, and replaced when it
dies.

A request is a line of JSON, then the compressed frame. The answer is a line of
JSON, then the values. Nothing that comes back is trusted: type and shape have to be
what was asked for.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import subprocess
import sys
import threading
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_WALL_SECONDS = 60.0
"""Guard against a hang; processor time is limited far below that."""


class DecodingError(Exception):
    """The frame is broken, or takes more time or memory than one of its size."""


class DecoderEndedError(DecodingError):
    """The process died of the frame, or was ended since it took too long."""


class NoDecoderError(Exception):
    """No library that is installed reads the transfer syntax."""


def decode_apart(
    syntax: str, options: dict[str, int | str], frame: bytes
) -> NDArray[Any]:
    """Decode one compressed frame, in the other process.

    Parameters
    ----------
    syntax
        UID of the transfer syntax.
    options
        Facts of the header, by the names of `pydicom.pixels.Decoder.as_array`;
        ``rows``, ``columns`` and ``samples_per_pixel`` among them.
    frame
        The compressed frame.

    Returns
    -------
    ndarray
        Shape (H, W), or (H, W, 3) in RGB; integers of at most 32 bits; read-only.

    Raises
    ------
    NoDecoderError, DecodingError, DecoderEndedError
        Where no library decodes it, where the frame is broken, and where the
        process died of it.
    """
    shape: tuple[int, ...] = (int(options["rows"]), int(options["columns"]))
    samples = int(options["samples_per_pixel"])
    if samples > 1:
        shape = (*shape, samples)
    request = {"syntax": syntax, "options": options, "length": len(frame)}
    with _LOCK:
        worker = _running()
        try:
            return worker.ask(request, frame, shape)
        except (OSError, ValueError, KeyError, TypeError) as error:
            # What it still has to say would be taken for the next frame's answer.
            close_decoder()
            raise DecoderEndedError("the decoder's process ended") from error


class _Worker:
    """The process, and what is said to it."""

    def __init__(self) -> None:
        # It finds modules where this process does, but for the current folder,
        # which may be anybody's.
        path = os.pathsep.join(item for item in sys.path if item)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TUMORLENS_")}
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tumorlens.imaging.dicom.decoder_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )

    @property
    def usable(self) -> bool:
        """False once it died, and in a fork of the process that started it."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(
        self, request: dict[str, Any], frame: bytes, shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Send a request and return its frame, which has this shape."""
        requests, answers = self._pipes()
        # A read that waits ends with the process.
        timer = threading.Timer(_WALL_SECONDS, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            requests.write(json.dumps(request).encode() + b"\n" + frame)
            requests.flush()
            head = json.loads(answers.readline(1000))
            if not head["decoded"]:
                if head["no_decoder"]:
                    raise NoDecoderError(request["syntax"])
                raise DecodingError("the frame is broken")
            dtype = np.dtype(str(head["dtype"]))
            if (
                tuple(head["shape"]) != shape
                or dtype.kind not in "iu"
                or dtype.itemsize > 4
            ):
                raise ValueError("the answer is not what was asked for")
            raw = answers.read(math.prod(shape) * dtype.itemsize)
        finally:
            timer.cancel()
        return np.frombuffer(raw, dtype).reshape(shape)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        requests, answers = self.process.stdin, self.process.stdout
        assert requests is not None
        assert answers is not None
        return requests, answers

    def close(self) -> None:
        """End it at once; it keeps nothing."""
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
        for pipe in self._pipes():
            # What was not sent yet can no longer be.
            with contextlib.suppress(OSError):
                pipe.close()


_LOCK = threading.RLock()
_KEPT: list[_Worker] = []
"""The process that runs, if any."""


def _running() -> _Worker:
    if not _KEPT or not _KEPT[0].usable:
        close_decoder()
        _KEPT.append(_Worker())
    return _KEPT[0]


@atexit.register
def close_decoder() -> None:
    """End the process; the next compressed frame starts another."""
    with _LOCK:
        while _KEPT:
            _KEPT.pop().close()
