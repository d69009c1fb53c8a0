"""The .mat files of the set of Cheng et al. become pictures and outlines.

Tested in `tests/data/public/test_fetch.py`.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import DatasetError, MissingExtraError
from tumorlens.taxonomy import TumorClass

_LABELS = {
    1: TumorClass.MENINGIOMA,
    2: TumorClass.GLIOMA,
    3: TumorClass.PITUITARY,
}
_MEND = "Fetch the file again, from the set of Cheng et al."


@dataclass(frozen=True)
class TumorSlice:
    """One slice of the set.

    Parameters
    ----------
    label
        The tumour's class.
    record
        The set's own number for the examination.
    pixels
        Shape (H, W), uint8: the file's values, darkest to brightest.
    mask
        Shape (H, W), uint8: 255 inside the tumour's outline, else 0.
    """

    label: TumorClass
    record: str
    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]

    @property
    def patient(self) -> str:
        """The examination's number without a letter at its end.

        Numbers that differ in such a letter alone are most likely of one
        person, so they have to stay together.
        """
        return re.sub(r"(?<=\d)[A-Z]$", "", self.record)


def read_tumor_slice(data: bytes, name: str) -> TumorSlice:
    """Read one file: MATLAB 7.3, which is HDF5, with the structure ``cjdata``.

    Parameters
    ----------
    data
        The whole file.
    name
        Name of the file, for messages.

    Raises
    ------
    DatasetError
        If the file is damaged or holds something else.
    MissingExtraError
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("Reading .mat files", "train") from error
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            parts = {
                key: np.asarray(file["cjdata"][key])
                for key in ("label", "PID", "image", "tumorMask")
            }
    # h5py raises any of these for files that are cut off or hold other things.
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{name} is damaged, or is no slice of this set ({error}).", _MEND
        ) from error
    return TumorSlice(
        label=_label(parts["label"], name),
        record=_text(parts["PID"], name),
        # MATLAB writes columns first.
        pixels=_to_bytes(parts["image"].T, name),
        mask=_mask(parts["tumorMask"].T, parts["image"].T.shape, name),
    )


def _label(value: NDArray[Any], name: str) -> TumorClass:
    number = int(value.ravel()[0]) if value.size == 1 else None
    if number not in _LABELS:
        raise DatasetError(
            f"{name} has the label {value.ravel()[:5].tolist()}; known are 1, 2 and 3.",
            _MEND,
        )
    return _LABELS[number]


def _text(value: NDArray[Any], name: str) -> str:
    try:
        text = "".join(chr(int(code)) for code in value.ravel()).strip("\0 ")
    except (ValueError, TypeError, OverflowError):
        text = ""
    if not re.fullmatch(r"[\w.-]+", text):
        raise DatasetError(f"{name} names no patient (PID {text!r}).", _MEND)
    return text


def _to_bytes(image: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if image.ndim != 2 or image.size == 0 or image.dtype.kind not in "iuf":
        raise DatasetError(
            f"{name} holds an image of shape {image.shape} and type {image.dtype}.",
            _MEND,
        )
    values = image.astype(np.float64)
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all() or high <= low:
        raise DatasetError(f"{name} holds a blank image.", _MEND)
    scaled = np.rint((values - low) * (255.0 / (high - low)))
    return np.ascontiguousarray(scaled.astype(np.uint8))


def _mask(mask: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    if mask.shape != shape:
        raise DatasetError(
            f"{name} has an outline of shape {mask.shape} on an image of {shape}.",
            _MEND,
        )
    return np.ascontiguousarray((mask > 0).astype(np.uint8) * np.uint8(255))
