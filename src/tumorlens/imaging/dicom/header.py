"""A DICOM file's data set, held back from what hostile files do to a parser.

Tested in `tests/imaging/dicom/test_pixels.py`.
"""

from __future__ import annotations

import io
import logging
import math
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tumorlens.errors import DamagedFileError, InputError, TooLargeError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_INFLATED_BYTES = 64 * 2**20
"""Bytes of a deflated data set: 120 slices of 512 x 512 with 16 bits."""

MAX_DEPTH = 16
"""Sequences inside one another; enhanced MR needs four."""

MAX_READS = 500_000
"""Pieces that the parser may ask for: 1,000 frames of enhanced MR need fewer."""

MAX_SEQUENCE_BYTES = 8 * 2**20
"""Bytes of one sequence of stated length; 1,000 frames of enhanced MR fit."""

_DEFLATED = "1.2.840.10008.1.2.1.99"
_PREAMBLE = b"\0" * 128 + b"DICM"
# (0002,0010) UI, explicit VR little endian: what an inflated data set is.
_PLAIN_META = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
_STARTS = tuple(
    group + element
    for group in (b"\x02\x00", b"\x08\x00")
    for element in (b"\0\0", b"\1\0", b"\2\0", b"\5\0", b"\x08\0", b"\x10\0", b"\x16\0")
)

_LOCK = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom silent: its warnings quote values, a patient's name among them.

    Never around a `yield`: what waits there keeps all other threads waiting.
    """
    # The filters of `warnings` belong to all threads; so one at a time.
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
        yield


def is_dicom(data: bytes) -> bool:
    """Tell whether a file starts like DICOM, with or without a preamble."""
    return data[128:132] == b"DICM" or (
        data.startswith(_STARTS) and len(data) > 16 and _known_vr(data)
    )


def _known_vr(data: bytes) -> bool:
    """Tell whether the first element is explicit, or implicit and short."""
    return data[4:6] in (b"UL", b"OB", b"UI", b"CS", b"DA") or (
        data[6:8] == b"\0\0" and int.from_bytes(data[4:6], "little") < 256
    )


class _Counted(io.BytesIO):
    """A file that can be asked `MAX_READS` times: each element asks once or more."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise TooLargeError("It has too many elements.")
        return super().read(size)


def parse(data: bytes, name: str) -> Dataset:
    """Read a data set with its pixel data, still encoded.

    Parameters
    ----------
    data
        The whole file.
    name
        The name of the file, for messages.

    Raises
    ------
    DamagedFileError
        Where it is cut off, broken or nested too deeply.
    TooLargeError
        Where it inflates, or has more elements, than a slice can need.
    """
    from pydicom import dcmread

    try:
        with quiet():
            header = dcmread(_Counted(_inflated(data)), force=True)
            _check_depth(header, name)
    except TooLargeError as error:
        raise TooLargeError(
            f"{name} has more elements or bytes than an MR picture needs.",
            "Export the series again, uncompressed.",
        ) from error
    except InputError:
        raise
    except RecursionError as error:
        raise _too_deep(name) from error
    # What pydicom raises on broken files is not documented, and is nearly all kinds.
    except Exception as error:
        raise DamagedFileError(
            f"{name} starts like a DICOM file, but its header is cut off or broken."
        ) from error
    return header


def _inflated(data: bytes) -> bytes:
    """Replace a deflated data set by a plain one, within a cap."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    if _DEFLATED.encode() not in data[:4096] or data[128:132] != b"DICM":
        return data
    file = io.BytesIO(data)
    read_preamble(file, force=False)
    meta = _read_file_meta_info(file)
    if str(meta.get("TransferSyntaxUID", "")) != _DEFLATED:
        return data
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = unpacker.decompress(memoryview(data)[file.tell() :], MAX_INFLATED_BYTES)
    if unpacker.unconsumed_tail:
        raise TooLargeError("It inflates without end.")
    return b"".join((_PREAMBLE, _PLAIN_META, plain))


def _too_deep(name: str) -> DamagedFileError:
    return DamagedFileError(
        f"{name} nests its sequences more than {MAX_DEPTH} deep; none needs that."
    )


def _check_depth(top: Dataset, name: str) -> None:
    """Unfold every sequence once, so that nobody later meets a trap in it."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    waiting = [(top, 0)]
    while waiting:
        here, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _too_deep(name)
        for tag in list(here.keys()):
            item: Any = here.get_item(tag)
            kind = item.VR
            if kind in (None, "UN") and dictionary_has_tag(tag):
                kind = dictionary_VR(tag)
            if kind != "SQ":
                continue
            raw = item.value
            if isinstance(raw, bytes) and len(raw) > MAX_SEQUENCE_BYTES:
                raise TooLargeError("A sequence is too long.")
            items: Any = here[tag].value
            if not isinstance(items, bytes):
                waiting += [(child, depth + 1) for child in items or ()]


def integer(
    header: Dataset, keyword: str, name: str, default: int | None = None
) -> int:
    """Return one whole number that must be there, or the default.

    Raises
    ------
    DamagedFileError
        Where the tag is missing without a default, or holds something else.
    """
    try:
        value: Any = header.get(keyword)
    except Exception as error:
        raise _bad(keyword, name) from error
    if value is None or value == "":
        if default is None:
            raise DamagedFileError(f"{name} lacks the tag {keyword}.")
        return default
    if isinstance(value, bool | bytes | str) or not hasattr(value, "__int__"):
        raise _bad(keyword, name)
    try:
        return int(value)
    except (ValueError, OverflowError) as error:
        # Where another kind of number stands there, it may be none or infinite.
        raise _bad(keyword, name) from error


def numbers(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return that many finite numbers, or None where the tag has none such."""
    try:
        value: Any = header.get(keyword)
        if value is None or isinstance(value, str | bytes):
            return None
        floats = tuple(float(x) for x in (value if count > 1 else (value,)))
    except Exception:
        # An optional tag that cannot be read counts as missing.
        return None
    good = len(floats) == count and all(math.isfinite(x) for x in floats)
    return floats if good else None


def text(header: Dataset, keyword: str) -> str:
    """Return a tag as text, its values joined by a backslash; empty where missing."""
    try:
        value: Any = header.get(keyword)
    except Exception:
        return ""
    if value is None or isinstance(value, bytes):
        return ""
    if isinstance(value, str):
        return value.strip()
    try:
        return "\\".join(str(x) for x in value)
    except TypeError:
        return str(value)


def _bad(keyword: str, name: str) -> DamagedFileError:
    return DamagedFileError(f"{name} holds no whole number in the tag {keyword}.")
