"""Idempotency-Key: a request that is sent again gets the answer that it got before.

The key is kept with the results, as long as they are, and only as a digest.

Tested in `tests/web/views/api/test_idempotency.py`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flask import request
from werkzeug.datastructures import FileStorage

from tumorlens.errors import IdempotencyError
from tumorlens.web.uploads.store import AnswerKey

HEADER = "Idempotency-Key"
_LONGEST = 255


class KeyLocks:
    """Lets requests of the same key through one after the other."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def hold(self, key: AnswerKey | None) -> Iterator[None]:
        """Wait until nobody else has the key; None is everybody's."""
        if key is None:
            yield
            return
        with self._guard:
            lock, holders = self._locks.get(key.digest, (threading.Lock(), 0))
            self._locks[key.digest] = (lock, holders + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, holders = self._locks.pop(key.digest)
                if holders > 1:
                    self._locks[key.digest] = (lock, holders - 1)


def answer_key(owner: str, files: Sequence[FileStorage]) -> AnswerKey | None:
    """Read the key of the request that is served; None where it has none.

    Parameters
    ----------
    owner
        Whose the key is.
    files
        Files of the request, which with its fields make its body: the bytes between
        them differ each time.

    Raises
    ------
    IdempotencyError
        Where the key is empty or too long.
    """
    text = request.headers.get(HEADER)
    if text is None:
        return None
    if not 0 < len(text.strip()) <= _LONGEST:
        raise IdempotencyError(
            f"The header {HEADER} has {len(text)} characters.",
            f"Give 1 to {_LONGEST}, such as a UUID.",
        )
    body = hashlib.sha256()
    for name, value in sorted(request.form.items(multi=True)):
        body.update(f"{name}\0{value}\0".encode())
    for file in files:
        file.stream.seek(0)
        digest = hashlib.file_digest(file.stream, "sha256")  # type: ignore[arg-type]
        file.stream.seek(0)
        body.update(f"{file.filename}\0".encode() + digest.digest())
    place = f"{owner}\0{request.path}\0{text.strip()}"
    return AnswerKey(hashlib.sha256(place.encode()).hexdigest(), body.hexdigest())
