"""Slices of a patient piled up to a series, for sets that come as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError, OutputError
from tumorlens.imaging.study import Plane
from tumorlens.taxonomy import TumorClass

MANIFEST = "volumes.csv"
WHOLE = "whole"
"""Value of the column `part` for a series that was not cut."""

TUMOR_SLAB = 0.05
"""A slab with at least this share of a series' outline shows the tumour; with none
of it, none; between it is left out."""


@dataclass(frozen=True)
class _Pile:
    """The slices of a patient.

    Parameters
    ----------
    rows
        Rows from the feet upwards.
    pixels, inside
        Shape (D, H, W), uint8; `inside` is 1 in the outline, and None where a
        slice with a tumour has none.
    """

    rows: list[Record]
    pixels: NDArray[np.uint8]
    inside: NDArray[np.uint8] | None

    @property
    def label(self) -> TumorClass:
        """The tumour that any slice shows."""
        shown = {row.label for row in self.rows} - {TumorClass.NO_TUMOR, None}
        if len(shown) > 1:
            names = ", ".join(sorted(str(name) for name in shown))
            raise DatasetError(
                f"The slices of {self.rows[0].patient} show {names}.",
                "Give each series a patient of its own, with one kind of tumour.",
            )
        return next((TumorClass(x) for x in shown if x), TumorClass.NO_TUMOR)


def stack_slices(
    records: Sequence[Record],
    out: Path,
    *,
    height_mm: float,
    pixel_mm: float,
    slabs: int | None = None,
) -> list[Record]:
    """Write a NIfTI volume for each patient, and one with the outline.

    Parameters
    ----------
    records
        Axial slices, the front on top, with patient and a column ``slice`` that
        counts from the feet upwards.
    out
        Folder for the volumes; created where missing.
    height_mm
        Height that the slices of a patient span together, in mm.
    pixel_mm
        Edge of a pixel, in mm.
    slabs
        Also write so many slabs of each patient whose tumour is outlined, cut
        across the body. See `TUMOR_SLAB` for what they are said to show.

    Returns
    -------
    list of Record
        Records with the column ``part``: ``whole``, or for example ``2/3``.

    Raises
    ------
    DatasetError
        A slice has no patient, no number, no class or another size.
    OutputError
        The folder cannot be written.
    """
    by_patient: dict[str, list[Record]] = {}
    for record in records:
        if not record.patient or not record.extra.get("slice", "").isdecimal():
            raise DatasetError(
                f"{record.path} has no patient, or no number in the column 'slice'.",
                "Fill both: slices are piled up by number, from the feet upwards.",
            )
        by_patient.setdefault(record.patient, []).append(record)
    stacks = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for rows in by_patient.values():
            pile = _pile(sorted(rows, key=lambda row: int(row.extra["slice"])))
            gap = height_mm / len(pile.rows)
            for part, kept, label in _parts(pile, slabs):
                stacks.append(_write(pile, part, kept, label, (gap, pixel_mm), out))
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}.") from error
    return stacks


def _pile(rows: list[Record]) -> _Pile:
    pictures: list[NDArray[Any]] = []
    outlines: list[NDArray[Any] | None] = []
    for row in rows:
        picture = cv2.imread(str(row.path), cv2.IMREAD_GRAYSCALE)
        drawn = None
        if row.mask is not None:
            drawn = cv2.imread(str(row.mask), cv2.IMREAD_GRAYSCALE)
        elif row.label is TumorClass.NO_TUMOR and picture is not None:
            drawn = np.zeros_like(picture)
        if row.label is None or picture is None:
            raise DatasetError(f"{row.path} has no class or is no picture.", "Mend it.")
        shape = pictures[0].shape if pictures else picture.shape
        if picture.shape != shape or (drawn is not None and drawn.shape != shape):
            raise DatasetError(
                f"{row.path} or its outline has another size than {shape}.",
                "Export all slices of a patient at one size.",
            )
        pictures.append(picture)
        outlines.append(drawn)
    masks = [(drawn > 127).astype(np.uint8) for drawn in outlines if drawn is not None]
    inside = np.stack(masks) if len(masks) == len(rows) else None
    return _Pile(rows, np.stack(pictures).astype(np.uint8), inside)


def _parts(
    pile: _Pile, slabs: int | None
) -> Iterator[tuple[str, NDArray[np.int64], TumorClass]]:
    count = len(pile.rows)
    if count > 1:
        yield WHOLE, np.arange(count), pile.label
    if slabs is None or pile.inside is None or not pile.inside.any():
        return
    voxels = pile.inside.sum(axis=(1, 2), dtype=np.int64)
    for number, kept in enumerate(np.array_split(np.arange(count), slabs), start=1):
        share = voxels[kept].sum() / voxels.sum()
        if len(kept) < 2 or 0.0 < share < TUMOR_SLAB:
            continue
        label = pile.label if share else TumorClass.NO_TUMOR
        yield f"{number}/{slabs}", kept, label


def _write(
    pile: _Pile,
    part: str,
    kept: NDArray[np.int64],
    label: TumorClass,
    size_mm: tuple[float, float],
    out: Path,
) -> Record:
    gap, pixel = size_mm
    name = pile.rows[0].patient.replace(":", "_").replace("/", "_")
    if part != WHOLE:
        name += "_" + part.replace("/", "of")
    # Columns run to the patient's left, rows to the back: away from RAS.
    affine = np.diag([-pixel, -pixel, gap, 1.0])
    affine[2, 3] = gap * kept[0]
    path = out / f"{name}.nii.gz"
    _save(pile.pixels[kept], affine, path)
    mask = None
    if pile.inside is not None and label is not TumorClass.NO_TUMOR:
        mask = out / f"{name}_outline.nii.gz"
        _save(pile.inside[kept], affine, mask)
    first = pile.rows[0]
    return Record(
        path.absolute(),
        label,
        patient=first.patient,
        mask=None if mask is None else mask.absolute(),
        split=first.split,
        source=first.source,
        site=first.site,
        plane=Plane.AXIAL,
        flag=first.flag,
        fold=first.fold,
        extra={"part": part},
    )


def _save(voxels: NDArray[np.uint8], affine: NDArray[np.float64], path: Path) -> None:
    image = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
        np.transpose(voxels, (2, 1, 0)), affine
    )
    header: Any = image.header
    header.set_xyzt_units("mm")
    nibabel.save(image, path)
