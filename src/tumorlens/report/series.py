"""Files of a series' prediction: JSON, evidence as NIfTI, key slices as pictures."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens import taxonomy
from tumorlens.errors import InputError, OutputError
from tumorlens.imaging.formats import display_name
from tumorlens.imaging.geometry import (
    LPS_TO_RAS,
    in_grid,
    with_blank_slices,
)
from tumorlens.imaging.study import Placement, Series, Slice
from tumorlens.inference.series.decision import SeriesPrediction, p_tumor_of
from tumorlens.inference.series.lesion import Lesion, Side
from tumorlens.inference.slice.prediction import Failure
from tumorlens.report.slice.document import (
    RESEARCH_USE,
    failure_to_json,
    tumor_classes_of,
)
from tumorlens.report.slice.overlay import heat_layer, lay_over, window_picture
from tumorlens.report.words import series_headline

_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
"""Where each LPS axis leads, forwards and backwards (DICOM PS3.3 C.7.6.1.1.1)."""


def sides_of(way: Sequence[float]) -> tuple[str, str]:
    """Name the patient's sides at both ends of a direction, by its longest part.

    Parameters
    ----------
    way
        Three parts along LPS, not all 0.

    Returns
    -------
    tuple of str
        Where it leads, and where it comes from: L, R, P, A, H or F.
    """
    axis = int(np.argmax(np.abs(way)))
    there, back = _LETTERS[axis]
    return (there, back) if way[axis] >= 0 else (back, there)


def lesion_in_slice(finding: SeriesPrediction, index: int) -> NDArray[np.uint8] | None:
    """Mark the lesion in one slice.

    Parameters
    ----------
    finding
        Prediction for a series.
    index
        Index of the slice, from 0.

    Returns
    -------
    ndarray or None
        Shape (H, W), uint8, 1 inside; all 0 where the lesion does not reach the
        slice. None where the finding has no lesion, none with a mask, or no
        evidence volume.
    """
    lesion = finding.lesion
    if lesion is None or lesion.mask is None or finding.evidence is None:
        return None
    z0, y0, x0, z1, y1, x1 = lesion.box
    mask = np.zeros(finding.evidence.shape[1:], np.uint8)
    if z0 <= index < z1:
        mask[y0:y1, x0:x1] = lesion.mask[index - z0]
    return mask


def outlines(mask: NDArray[np.uint8]) -> tuple[NDArray[np.int32], ...]:
    """Trace the outer edges of a mask.

    Parameters
    ----------
    mask
        Shape (H, W), uint8, above 0 inside.

    Returns
    -------
    tuple of ndarray
        Closed polygons of shape (K, 2), int32, x then y, through the centres of
        the outermost pixels.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return tuple(np.asarray(contour[:, 0, :], np.int32) for contour in contours)


@dataclass(frozen=True)
class KeyPicture:
    """One slice to be shown.

    Parameters
    ----------
    index
        Index in the series, from 0.
    p_tumor
        Probability of tumour in the slice, 0 to 1; None where only the series as a
        whole has one.
    grey
        Shape (H, W), uint8: the slice.
    overlay
        Shape (H, W, 3), uint8, RGB: the slice with its evidence; None where
        there is no evidence volume.
    outline
        Closed polygons of shape (K, 2), int32, x then y: the lesion.
    aspect
        Height of a pixel over its width.
    edges
        Letters of the patient's sides at the left, right, upper and lower
        edge; None where the place is not known.
    """

    index: int
    p_tumor: float | None
    grey: NDArray[np.uint8] = field(repr=False)
    overlay: NDArray[np.uint8] | None = field(repr=False)
    outline: tuple[NDArray[np.int32], ...] = field(repr=False)
    aspect: float
    edges: tuple[str, str, str, str] | None


def key_pictures(finding: SeriesPrediction, series: Series) -> tuple[KeyPicture, ...]:
    """Draw the key slices, in the order of the series.

    Parameters
    ----------
    finding
        Prediction with its evidence.
    series
        Series that it was made from.
    """
    return tuple(
        _picture(finding, series.slices[index], index)
        for index in sorted(finding.key_slices)
    )


def _picture(finding: SeriesPrediction, item: Slice, index: int) -> KeyPicture:
    grey = window_picture(item.pixels)
    overlay = None
    if finding.evidence is not None:
        overlay = lay_over(grey, heat_layer(finding.evidence[index]))
    mask = lesion_in_slice(finding, index)
    down, across = item.spacing_mm or (1.0, 1.0)
    return KeyPicture(
        index=index,
        p_tumor=finding.slice_p_tumor[index],
        grey=grey,
        overlay=overlay,
        outline=() if mask is None else outlines(mask),
        aspect=down / across,
        edges=None if item.placement is None else edge_letters(item.placement),
    )


def edge_letters(place: Placement) -> tuple[str, str, str, str]:
    """Name the patient's sides at a picture's edges, as viewers do.

    Parameters
    ----------
    place
        Placement of the slice.

    Returns
    -------
    tuple of str
        At the left, right, upper and lower edge: L, R, P, A, H or F.
    """
    right, left = sides_of(place.across)
    lower, upper = sides_of(place.down)
    return left, right, upper, lower


SERIES_SCHEMA = "tumorlens-scan/1"


def series_to_json(
    finding: SeriesPrediction, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Turn a prediction into a JSON object (schema ``tumorlens-scan/1``).

    Parameters
    ----------
    finding
        Prediction for one series.
    notes
        How the files were read, as `Study.notes` has it.

    Returns
    -------
    dict
        Plain JSON values; no patient data and no description of the series.
        Probabilities are 0 to 1; `run` and `box` end before their last index;
        positions and sizes are mm, LPS. `sequence_caveat` is a sentence where the
        model was not trained on the sequence, else null. `size_measured` says
        whether `reasons` state how far off sizes were in series with an outline.
        Where the series was refused, `predicted`, `kinds`, `probabilities` and
        `p_tumor` are null, and what the network gave stands under `raw`; where nothing
        could be judged, `not_judged` says why, and `raw` is null too. Where the classes
        are a user's own and anything was judged, `tumor_classes` names those that are
        tumours.
    """
    values = finding.raw_probabilities
    shares = ("p_tumor", *(f"p_{name}" for name in taxonomy.Lesion))
    numbers: dict[str, Any] = dict.fromkeys(("predicted", "probabilities", *shares))
    if values is not None:
        numbers = {
            "predicted": max(values, key=lambda name: values[name]).value,
            "probabilities": {name.value: share for name, share in values.items()},
            "p_tumor": p_tumor_of(values),
            **{
                f"p_{name}": finding.other_lesions.get(name) for name in taxonomy.Lesion
            },
        }
    raw = None
    if finding.is_refused and values is not None:
        raw, numbers = numbers, dict.fromkeys(numbers)
    return {
        "schema": SERIES_SCHEMA,
        "file": finding.source,
        "status": "ok",
        "plane": None if finding.plane is None else finding.plane.value,
        "sequence": None if finding.sequence is None else finding.sequence.value,
        "sequence_caveat": finding.sequence_caveat,
        "slices": finding.slices,
        "without_brain": finding.without_brain,
        "refused": finding.refused,
        "not_judged": finding.not_judged,
        "predicted": numbers["predicted"],
        "decision": finding.decision.value,
        "finding": finding.finding.value,
        "kinds": None if finding.is_refused else [item.value for item in finding.kinds],
        "headline": series_headline(finding),
        "probabilities": numbers["probabilities"],
        **{key: numbers[key] for key in shares},
        "p_tumor_by_plane": {
            plane.value: value for plane, value in finding.planes.items()
        },
        "operating_point": finding.operating_point,
        "reasons": list(finding.reasons),
        "notes": list(notes),
        "run": None if finding.run is None else list(finding.run),
        "key_slices": list(finding.key_slices),
        "slice_p_tumor": list(finding.slice_p_tumor),
        "lesion": None if finding.lesion is None else _lesion(finding.lesion),
        "size_measured": finding.size_measured,
        "model_version": finding.model_version,
        "model_precision": finding.model_precision,
        "seconds": round(finding.seconds, 3),
        "raw": raw,
        **tumor_classes_of(values or ()),
        "research_use_only": RESEARCH_USE,
    }


def series_failure_to_json(failure: Failure) -> dict[str, Any]:
    """Turn an input that could not be judged into a JSON object.

    Parameters
    ----------
    failure
        Failure of a file or folder.

    Returns
    -------
    dict
        The document of `failure_to_json`, in the schema ``tumorlens-scan/1``.
    """
    return {**failure_to_json(failure), "schema": SERIES_SCHEMA}


def _lesion(lesion: Lesion) -> dict[str, Any]:
    return {
        "box": list(lesion.box),
        "voxels": lesion.voxels,
        "peak": list(lesion.peak),
        "size_mm": None if lesion.size_mm is None else list(lesion.size_mm),
        "centroid_lps_mm": None if lesion.centroid is None else list(lesion.centroid),
        "side": None if lesion.side is None else lesion.side.value,
        "location": lesion.location,
    }


def lesion_from_json(document: Mapping[str, Any]) -> Lesion:
    """Turn the lesion of a ``tumorlens-scan/1`` document back; its mask is not in it.

    Parameters
    ----------
    document
        What stands under ``lesion``, not null.
    """
    size, centre = document["size_mm"], document["centroid_lps_mm"]
    z0, y0, x0, z1, y1, x1 = document["box"]
    slice_, row, column = document["peak"]
    return Lesion(
        box=(z0, y0, x0, z1, y1, x1),
        voxels=document["voxels"],
        peak=(slice_, row, column),
        size_mm=None if size is None else (size[0], size[1], size[2]),
        centroid=None if centre is None else (centre[0], centre[1], centre[2]),
        side=None if document["side"] is None else Side(document["side"]),
        location=document["location"],
    )


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
        A stack of slices is indexed column, row, slice; mm, RAS; where slices are
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
