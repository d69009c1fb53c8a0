"""The evidence of a series as a NIfTI volume that lies over it in any viewer."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError, OutputError
from tumorlens.imaging.formats import display_name
from tumorlens.imaging.geometry import (
    LPS_TO_RAS,
    in_grid,
    with_blank_slices,
)
from tumorlens.inference.series.results import SeriesPrediction

_DATA_START = 352


def write_evidence(finding: SeriesPrediction, path: Path) -> None:
    """Write the evidence volume as gzipped NIfTI-1.

    Parameters
    ----------
    finding
        Prediction for a series whose slices are a regular stack of known place.
    path
        Ends in ``.nii.gz``; replaced where it exists. Voxels are uint8, scaled
        by the header to 0 to 1. Of a volume they lie on the grid of its file: the
        same counts and order of voxels, the same affine (in mm), so that the arrays
        match voxel by voxel; the header states no place where the file states none.
        Of slices they are indexed column, row, slice; mm, RAS; where slices are
        missing, slices without evidence stand in their places.

    Raises
    ------
    InputError
        The series' place in the patient is not known, or nothing could be judged:
        a volume of zeros would look like a clear series.
    OutputError
        The file cannot be written.
    """
    if finding.not_judged is not None:
        raise InputError(
            f"{finding.source} has no evidence to write. {finding.not_judged}",
            "Leave the evidence out for this series.",
        )
    if finding.evidence is None or finding.affine_ras is None:
        raise InputError(
            f"{finding.source} is no regular stack of slices whose place in the "
            "patient is known, so its evidence cannot be laid over it.",
            "Give the whole series as DICOM or NIfTI.",
        )
    if not path.name.endswith(".nii.gz"):
        raise OutputError(
            f"{display_name(path)} does not end in .nii.gz.", "Name it so."
        )
    stack, affine, placed = finding.evidence, finding.affine_ras, True
    if finding.places:
        stack = with_blank_slices(stack, finding.places)
    if finding.grid is not None:
        grid = finding.grid
        stack = in_grid(stack, grid.shape, grid.affine, grid.plane)
        affine, placed = LPS_TO_RAS @ grid.affine, grid.placed
    voxels: NDArray[np.uint8] = np.transpose(stack, (2, 1, 0))
    part = path.with_name(f".part-{path.name}")
    try:
        with gzip.open(part, "wb", compresslevel=2) as file:
            file.write(_header(voxels.shape, affine, placed))
            file.write(voxels.tobytes(order="F"))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = (error.strerror or "unknown reason").lower()
        raise OutputError(
            f"{display_name(path)} cannot be written: {reason}."
        ) from error


def _header(
    shape: tuple[int, ...], affine_ras: NDArray[np.float64], placed: bool
) -> bytes:
    """Give the header and the four empty bytes after it; nibabel fills the place."""
    # Takes long to import, and only this output needs it.
    from nibabel.nifti1 import Nifti1Header

    header: Any = Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_dtype(np.uint8)
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    code = "scanner" if placed else "unknown"
    header.set_sform(affine_ras, code=code)
    header.set_qform(affine_ras, code=code)
    header["magic"] = b"n+1"
    header["vox_offset"] = _DATA_START
    # nibabel would set the scale by itself, and change the bytes to fit.
    header["scl_slope"], header["scl_inter"] = 1.0 / 255.0, 0.0
    return bytes(header.binaryblock) + bytes(4)
