"""Study of Series of Slices: the result of reading a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError, warn_of_old_name
from tumorlens.imaging.limits import MAX_PIXELS, check_dimensions, check_values

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_PIXEL_RATIO = 1.1
"""Longer over shorter side of a pixel, above which pictures are made square."""


class Plane(StrEnum):
    """Anatomical plane of a slice."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


Point: TypeAlias = tuple[float, float, float]
"""Left, posterior, superior (LPS) in mm, as DICOM counts (PS3.3 C.7.6.2.1.1)."""

_PLANES = (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)


@dataclass(frozen=True)
class Placement:
    """A slice's place in the patient, in LPS millimetres.

    Parameters
    ----------
    origin
        Centre of the pixel in the first row and column.
    across
        Step from a pixel to the next in its row.
    down
        Step from a pixel to the one below it.
    """

    origin: Point
    across: Point
    down: Point

    @classmethod
    def of(
        cls,
        origin: NDArray[np.float64],
        across: NDArray[np.float64],
        down: NDArray[np.float64],
    ) -> Self:
        """Make one of arrays of shape (3,), in LPS mm."""
        return cls(_point(origin), _point(across), _point(down))

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Distance between rows and between columns, in mm."""
        return float(np.linalg.norm(self.down)), float(np.linalg.norm(self.across))

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across the slice, right-handed, of shape (3,)."""
        product = np.cross(self.across, self.down)
        return np.asarray(product / np.linalg.norm(product), np.float64)

    @property
    def plane(self) -> Plane:
        """The anatomical plane that is nearest."""
        return _PLANES[int(np.argmax(np.abs(self.normal)))]

    def at(self, column: float, row: float) -> NDArray[np.float64]:
        """Find a spot of the slice in the patient.

        Parameters
        ----------
        column, row
            Coordinates from 0 at the centre of the first pixel.

        Returns
        -------
        ndarray
            Shape (3,), LPS mm.
        """
        steps = column * np.array(self.across) + row * np.array(self.down)
        return np.asarray(np.array(self.origin) + steps, np.float64)


def _point(values: NDArray[np.float64]) -> Point:
    left, posterior, superior = (float(item) for item in values)
    return left, posterior, superior


class MRSequence(StrEnum):
    """Weighting of an MR series, as far as its header states it."""

    T1 = "T1"
    T1_CONTRAST = "T1 with contrast"
    T2 = "T2"
    FLAIR = "FLAIR"
    DIFFUSION = "DWI"
    OTHER = "other"

    @property
    def word(self) -> str:
        """Name in manifests, and by which a bundle's figures are kept; such as T1C."""
        return "T1C" if self is MRSequence.T1_CONTRAST else self.value


Corners: TypeAlias = tuple[
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
]
"""Upper left, upper right, lower right and lower left corner: x, then y, in pixels."""


@dataclass(frozen=True)
class PictureView:
    """Part of a picture that is the slice.

    Parameters
    ----------
    corners
        Corners in pixels of the picture, edges of pixels being whole numbers.
    shape
        Rows and columns of the slice once it is cut out and straight.
    inverted
        Whether air is white, so that greys have to be turned round.
    """

    corners: Corners
    shape: tuple[int, int]
    inverted: bool = False

    @property
    def is_box(self) -> bool:
        """True where it can be cut out without turning."""
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = self.corners
        straight = (y0, x1, y2, x3) == (y1, x2, y3, x0)
        whole = all(float(x).is_integer() for point in self.corners for x in point)
        return straight and whole


@dataclass(frozen=True)
class Slice:
    """One picture of a series.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, finite, in the file's own units, brighter is
        higher.
    source
        The name of the file it came from, as the user knows it.
    index
        Position in the series, from 0.
    spacing_mm
        Distance between rows and between columns in mm; None where the format
        does not say.
    plane
        None where the format does not say.
    colorfulness
        Mean spread between the colour channels, 0 (grey) to 1; MRI is grey.
    placement
        Place in the patient; None where the format does not state it.
    window
        Lowest and highest value that the file asks viewers to tell apart, in the
        units of `pixels`; None where it does not. Only for showing: the model's
        input does not depend on it.
    sequence
        The weighting of its series; None where the format does not say.
    pixel_aspect
        Height over width of a pixel; 1 where the format does not say.
    view
        Part of a picture that is the slice, where it shows more; else None.
    """

    pixels: NDArray[np.float32]
    source: str
    index: int = 0
    spacing_mm: tuple[float, float] | None = None
    plane: Plane | None = None
    colorfulness: float = 0.0
    placement: Placement | None = None
    window: tuple[float, float] | None = None
    sequence: MRSequence | None = None
    pixel_aspect: float = 1.0
    view: PictureView | None = None

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.pixels.shape[1])


_BAND = 256
"""Rows of a colour picture that become grey at a time."""


def to_slice(pixels: NDArray[Any], source: str, index: int = 0) -> Slice:
    """Make a slice of an array of grey values or colours.

    Parameters
    ----------
    pixels
        Shape (H, W), (H, W, 3) in RGB, or (H, W, 4) with alpha, which is laid
        on black; integers or floats, finite, brighter is higher.
    source
        The name of the file, or what the user calls the array.
    index
        The position among the slices of the same source.

    Raises
    ------
    InputError
        Where shape, dtype or values are none of these, or a limit is passed.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4)):
        raise InputError(
            f"{source} has the shape {pixels.shape}.",
            "Give (height, width), or (height, width, 3) for colours in RGB.",
        )
    if pixels.dtype.kind not in "buif":
        raise InputError(
            f"{source} has the type {pixels.dtype}.", "Give integers or floats."
        )
    check_dimensions(pixels.shape[1], pixels.shape[0], source)
    if pixels.ndim == 2:
        grey, colorfulness = pixels.astype(np.float32), 0.0
    else:
        grey, colorfulness = _to_grey(pixels)
    if pixels.dtype.kind == "f" and not np.isfinite(cv2.sumElems(grey)[0]):
        raise InputError(
            f"{source} holds values that are not finite numbers.",
            "Replace NaN and infinity before giving the picture.",
        )
    if pixels.dtype.kind == "f":
        check_values(*cv2.minMaxLoc(grey)[:2], source)
    return Slice(grey, source, index, colorfulness=colorfulness)


def _to_grey(pixels: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Weigh the channels as BT.601 does, and measure how far they differ."""
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
        full = float(np.iinfo(pixels.dtype).max)
    else:
        # Floats and wide integers have no set white: take the brightest value.
        full = float(np.abs(pixels[..., :3]).max()) or 1.0
    top = None
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3]
        top = full if pixels.dtype.kind == "u" else max(1.0, float(alpha.max()))
        # An alpha of 0 everywhere was left empty by a program: it hides nothing.
        top = top if float(alpha.max()) > 0.0 and float(alpha.min()) < top else None
    grey = np.empty(pixels.shape[:2], np.float32)
    spread = 0.0
    # In bands: the steps between hold several copies.
    for start in range(0, len(pixels), _BAND):
        band = pixels[start : start + _BAND]
        grey[start : start + _BAND], differing = _band_to_grey(band, top)
        spread += differing * len(band) / len(pixels)
    return grey, min(1.0, spread / full)


def _band_to_grey(
    pixels: NDArray[Any], top: float | None
) -> tuple[NDArray[np.float32], float]:
    """Grey values, and the mean spread; `top` is full cover, None is no alpha."""
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        pixels = pixels.astype(np.float32)
    channels = list(cv2.split(np.ascontiguousarray(pixels)))
    if len(channels) == 4:
        alpha = channels.pop()
        if top is not None:
            cover = alpha.astype(np.float32) / np.float32(top)
            channels = [item.astype(np.float32) * cover for item in channels]
    red, green, blue = channels
    brightest = cv2.max(cv2.max(red, green), blue)
    darkest = cv2.min(cv2.min(red, green), blue)
    spread = cv2.mean(cv2.subtract(brightest, darkest))[0]
    if spread == 0.0:
        return red.astype(np.float32), 0.0
    grey = cv2.cvtColor(cv2.merge(channels), cv2.COLOR_RGB2GRAY)
    return grey.astype(np.float32), float(spread)


@dataclass(frozen=True)
class VoxelGrid:
    """The grid of a volume's file, which its slices were turned from.

    Parameters
    ----------
    shape
        Slices, rows, columns, as the file counts them.
    affine
        Shape (4, 4): (column, row, slice, 1) to LPS mm.
    plane
        Plane in which the volume was sliced.
    placed
        Whether the file says where it lies in the patient.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    plane: Plane
    placed: bool


@dataclass(frozen=True)
class Series:
    """Slices taken together, in order.

    Parameters
    ----------
    slices
        At least one slice; sorted along the patient where their place is known.
    description
        Name that the sender gives. It may name a person: never log or store it.
    sequence
        None where the format does not say.
    headers
        Data set behind each slice of DICOM, in the same order, without
        pixel data (a multi-frame file's stands once for each frame); else
        empty. They name the patient: they are for the results that go back
        into the patient's own study, and are never logged, stored beside a
        result or shown.
    frames
        Frame of its file that each slice of DICOM is, from 0; else empty.
    place_guessed
        Whether the file did not say where the slices lie, and their placements
        follow from the order of its voxels alone.
    grid
        Grid of a volume's file, so that maps can go back onto it; else
        None.
    patient
        What the files call the patient, to tell the patients of one upload apart;
        empty where they do not say. It may name a person: never log, store or show
        it, but `patient_numbers`.
    """

    slices: tuple[Slice, ...]
    description: str = ""
    sequence: MRSequence | None = None
    headers: tuple[Dataset, ...] = field(default=(), repr=False)
    frames: tuple[int, ...] = ()
    place_guessed: bool = False
    grid: VoxelGrid | None = field(default=None, repr=False, compare=False)
    patient: str = field(default="", repr=False)


@dataclass(frozen=True)
class Study:
    """All that one file, folder or archive holds.

    Parameters
    ----------
    series
        At least one series.
    notes
        Notes for the user on how it was read, as full sentences (for
        example that only the first frame of an animation was used).
    """

    series: tuple[Series, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def slices(self) -> tuple[Slice, ...]:
        """Every slice of every series, in order."""
        return tuple(item for series in self.series for item in series.slices)

    @property
    def is_pictures(self) -> bool:
        """True where it holds single pictures alone, no series of several slices."""
        return all(len(series.slices) == 1 for series in self.series)


def left_out(failures: Iterable[tuple[str, InputError]]) -> tuple[str, ...]:
    """Say as a study's notes how many files were left out and why, without names.

    Parameters
    ----------
    failures
        Name of each file, and what keeps it out.
    """
    reasons = Counter(
        error.message.removeprefix(name).strip() for name, error in failures
    )
    return tuple(
        f"{count} file was left out: it {reason}"
        if count == 1
        else f"{count} files were left out: each {reason}"
        for reason, count in reasons.most_common(10)
    )


def stacks_of(study: Study) -> Study:
    """Leave single pictures out where there are series beside them.

    Rates of whole series hold for stacks alone; a lone slice beside one is judged
    by itself, or not at all.

    Parameters
    ----------
    study
        Study that was read.

    Returns
    -------
    Study
        The series of several slices, with a note on what was left out; unchanged
        where there is none.
    """
    stacks = tuple(series for series in study.series if len(series.slices) > 1)
    count = len(study.series) - len(stacks)
    if not stacks or not count:
        return study
    what = "1 single picture belongs" if count == 1 else f"{count} pictures belong"
    were = "was" if count == 1 else "were"
    note = f"{what} to no series of several slices, and {were} left out."
    return Study(stacks, (*study.notes, note))


def patient_numbers(patients: Sequence[str]) -> tuple[int | None, ...]:
    """Give the patients of several series numbers, to show them apart.

    Parameters
    ----------
    patients
        Patient of each series, as `Series.patient` has it.

    Returns
    -------
    tuple of int or None
        Number of each one's patient, from 1; None where the files do not say. All None
        where no more than one patient is named.
    """
    named = list(dict.fromkeys(patient for patient in patients if patient))
    if len(named) < 2:
        return (None,) * len(patients)
    return tuple(named.index(item) + 1 if item else None for item in patients)


def square_shape(height: int, width: int, aspect: float) -> tuple[int, int]:
    """Count the rows and columns of a picture once its pixels are square.

    Parameters
    ----------
    height, width
        The picture's, in pixels.
    aspect
        Height over width of a pixel.

    Returns
    -------
    tuple of int
        The finer side stays, unless the picture would pass `limits.MAX_PIXELS`;
        unchanged where pixels are nearly square.
    """
    if 1.0 / MAX_PIXEL_RATIO <= aspect <= MAX_PIXEL_RATIO:
        return height, width
    if height * width * max(aspect, 1.0 / aspect) > MAX_PIXELS:
        if aspect > 1.0:
            return height, max(1, round(width / aspect))
        return max(1, round(height * aspect)), width
    if aspect > 1.0:
        return round(height * aspect), width
    return height, round(width / aspect)


def __getattr__(name: str) -> object:
    if name != "Sequence":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn_of_old_name("Sequence", "MRSequence")
    return MRSequence
