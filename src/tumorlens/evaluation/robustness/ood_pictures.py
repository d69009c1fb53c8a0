"""Gathers pictures that are no brain MRI, and says of which kinds bundles learn.

Nothing is downloaded: photographs and files of other body parts come from
packages that are installed anyway, or are left out with a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.labelled_slices import read_labelled_slice
from tumorlens.data.manifest import Record
from tumorlens.data.ood_pictures import CT_FLAG, draw_outliers, photographs
from tumorlens.errors import InputError
from tumorlens.evaluation.robustness.ood_drawn import DRAWN, draw_foreign
from tumorlens.imaging.grey import to_slice
from tumorlens.imaging.study import Slice

_SEED = 271_828
"""Far from the seeds of training runs, whose drawings taught the bundle."""

OTHER_PHOTOGRAPHS = (
    "clock",
    "horse",
    "microaneurysms",
    "stereo_motorcycle",
    "logo",
    "lfw_subset",
)
"""scikit-image's pictures that do not teach."""

DICOM_FILES = {
    "CT_small.dcm": "CT of another body part",
    "693_J2KI.dcm": "CT of a head",
    "J2K_pixelrep_mismatch.dcm": "CT of a head",
    "MR_small.dcm": "MRI of another body part",
    "examples_overlay.dcm": "MRI of another body part",
    "examples_palette.dcm": "ultrasound",
    "examples_rgb_color.dcm": "ultrasound",
    "examples_ybr_color.dcm": "ultrasound",
    "examples_jpeg2k.dcm": "ultrasound",
    "JPEG2000.dcm": "bone scan",
    "liver_1frame.dcm": "outline of a liver",
    "image_dfl.dcm": "test picture",
    "SC_ybr_full_422_uncompressed.dcm": "test picture",
}
"""Files that come with pydicom and show a picture of 32 pixels or more, and
what they show."""


@dataclass(frozen=True)
class Foreign:
    """A picture that must be refused.

    Parameters
    ----------
    kind
        What it is.
    origin
        Pictures of one origin are parts of one another, and count together.
    slice_
        As the engine takes it.
    taught
        Whether bundles learn from this kind what to refuse.
    """

    kind: str
    origin: str
    slice_: Slice
    taught: bool


def gather(
    records: Sequence[Record], of_each_kind: int, first: int = 0
) -> tuple[list[Foreign], list[str]]:
    """Gather foreign pictures of every kind there is.

    Parameters
    ----------
    records
        Those flagged ``ct`` are taken; others are passed over.
    of_each_kind
        How many are drawn of each drawn kind.
    first
        Number of the first drawing: others differ from it.

    Returns
    -------
    pictures, notes
        Notes are full sentences on what had to be left out.
    """
    notes: list[str] = []
    found = [*_drawn(of_each_kind, first), *_taught_photographs()]
    found += _other_photographs()
    found += _computed_tomography(records)
    dicom = list(_dicom())
    if not dicom:
        notes.append(
            "The files of other body parts that come with pydicom were left out: "
            "it is not installed."
        )
    return found + dicom, notes


def _drawn(of_each_kind: int, first: int) -> Iterator[Foreign]:
    numbers: dict[str, int] = {}
    for item in draw_outliers(of_each_kind, _SEED + first):
        number = numbers[item.kind] = numbers.get(item.kind, first) + 1
        origin = f"{item.kind} {number}"
        shown = replace(to_slice(item.pixels, origin), colorfulness=item.colorfulness)
        yield Foreign(f"drawn: {item.kind}", origin, shown, taught=True)
    for kind in DRAWN:
        for number in range(first, first + of_each_kind):
            origin = f"{kind} {number}"
            pixels = draw_foreign(kind, _SEED + number)
            yield Foreign(
                f"drawn: {kind}", origin, to_slice(pixels, origin), taught=False
            )


def _taught_photographs() -> Iterator[Foreign]:
    """Take the very photographs that teach: whole, then four parts of each."""
    for row, item in enumerate(photographs()):
        origin = f"photograph {row // 5}"
        shown = replace(to_slice(item.pixels, origin), colorfulness=item.colorfulness)
        yield Foreign("photograph that taught", origin, shown, taught=True)


def _other_photographs() -> Iterator[Foreign]:
    """Photographs that do not teach, as they are and in grey."""
    for name, picture in _arrays():
        grey = picture if picture.ndim == 2 else None
        for part in _parts(picture):
            shown = to_slice(part, name)
            if grey is None:
                yield Foreign("photograph in colour", name, shown, taught=False)
            plain = replace(shown, colorfulness=0.0)
            yield Foreign("photograph in grey", name, plain, taught=False)


def _arrays() -> Iterator[tuple[str, NDArray[Any]]]:
    import skimage.data
    from sklearn.datasets import load_sample_images

    for name in OTHER_PHOTOGRAPHS:
        try:
            found = getattr(skimage.data, name)()
        except (AttributeError, OSError, ImportError, ValueError):
            continue  # this release does not carry it
        if name == "lfw_subset":
            # Faces of 25 x 25 pixels: enlarged, as a web page would show them.
            for row in range(0, 100, 10):
                yield f"face {row}", np.kron(found[row], np.ones((8, 8)))
        else:
            yield name, np.asarray(found[0] if isinstance(found, tuple) else found)
    for row, picture in enumerate(load_sample_images().images):
        yield f"sample photograph {row}", np.asarray(picture)


def _parts(picture: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the whole, then its quarters."""
    picture = picture * 255.0 if picture.dtype == bool else picture
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    yield picture
    for rows in (slice(0, height), slice(height, None)):
        for columns in (slice(0, width), slice(width, None)):
            yield np.ascontiguousarray(picture[rows, columns])


def _computed_tomography(records: Sequence[Record]) -> Iterator[Foreign]:
    for record in records:
        if record.flag == CT_FLAG:
            shown = read_labelled_slice(record)
            if shown is not None:
                # A bundle learns from the CT of its own manifest.
                yield Foreign("CT among the MRI", record.group, shown, taught=True)


def _dicom() -> Iterator[Foreign]:
    try:
        pydicom = import_module("pydicom")
    except ImportError:
        return
    folder = Path(str(pydicom.__file__)).parent / "data" / "test_files"
    for name, kind in DICOM_FILES.items():
        pixels = _decoded(pydicom.dcmread, folder / name)
        if pixels is not None:
            yield Foreign(f"DICOM: {kind}", name, to_slice(pixels, name), taught=False)


def _decoded(read: Callable[[Path], Any], path: Path) -> NDArray[Any] | None:
    """Decode the first frame; None where this installation cannot."""
    try:
        data = read(path)
        pixels = np.asarray(data.pixel_array)
        if int(getattr(data, "NumberOfFrames", 1) or 1) > 1:
            pixels = pixels[0]
        to_slice(pixels, path.name)
    except (OSError, ValueError, AttributeError, RuntimeError, InputError):
        return None
    return pixels
