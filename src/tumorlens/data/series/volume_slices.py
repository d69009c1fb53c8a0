"""Volumes cut into slices to learn from, in three planes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.class_folders import class_mend
from tumorlens.data.manifest import Record
from tumorlens.data.skull_stripping import strip_picture
from tumorlens.errors import DatasetError, OutputError
from tumorlens.imaging.geometry import volume_of
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import MRSequence, Plane
from tumorlens.taxonomy import parse_class

MIN_HEAD = 0.35
"""Slices that show less head than this share of the plane's fullest are left out."""

_PLANE_OF_AXIS = (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)


def cut_volumes(
    volumes: Sequence[Path],
    out: Path,
    *,
    label: str,
    source: str,
    every_mm: float,
    stripped: bool = False,
    sequence: MRSequence | None = None,
) -> list[Record]:
    """Cut volumes into pictures and label them.

    Parameters
    ----------
    volumes
        Whole heads, one patient each: NIfTI or NRRD files, or folders of one DICOM
        series.
    out
        Folder for the pictures; created where missing.
    label
        Class of every slice of every volume, as a manifest spells it.
    source
        Name of the set.
    every_mm
        Distance between slices, in mm.
    stripped
        Take the skull off each slice (see `strip_picture`), and leave out those
        whose brain is not found.
    sequence
        MR sequence of all of them; None where unknown.

    Returns
    -------
    list of Record
        One for each picture: 8-bit PNG with square pixels, as a radiologist
        sees it (face up or to the left, head up).

    Raises
    ------
    DatasetError
        One is no regular stack of slices, or the label is none.
    InputError
        One cannot be read.
    MissingExtraError
        If skulls are to be taken off and the extra ``train`` is not installed.
    """
    tumor_class = parse_class(label)
    if tumor_class is None:
        raise DatasetError(
            f"The class {label!r} is none that is known.", class_mend("Give")
        )
    show = strip_picture if stripped else lambda picture: picture
    records = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for volume in volumes:
            patient = volume.name.split(".")[0]
            for plane, number, picture in slices_of(_read(volume), every_mm):
                path = out / f"{patient}_{plane.value}_{number:03d}.png"
                shown = show(picture)
                if shown is None:
                    continue
                _, packed = cv2.imencode(".png", shown)
                path.write_bytes(packed.tobytes())
                records.append(
                    Record(
                        path.absolute(),
                        tumor_class,
                        patient=f"{source}:{patient}",
                        source=source,
                        plane=plane.value,
                        sequence=sequence,
                        extra={"slice": str(number)},
                    )
                )
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}.") from error
    return records


def slices_of(
    volume: tuple[NDArray[np.float32], tuple[float, float, float]], every_mm: float
) -> Iterator[tuple[Plane, int, NDArray[np.uint8]]]:
    """Cut one volume into pictures of three planes.

    Parameters
    ----------
    volume
        Voxels of shape (X, Y, Z), axes to the right, front and top, and their
        size in mm.
    every_mm
        Distance between slices, in mm.

    Yields
    ------
    plane, number, picture
        The slice's place along its axis, and uint8 pixels.
    """
    voxels, spacing = volume
    top = float(np.percentile(voxels, 99.8))
    scaled = np.clip(voxels / max(top, 1e-6), 0.0, 1.0)
    for axis, plane in enumerate(_PLANE_OF_AXIS):
        others = [other for other in range(3) if other != axis]
        head = (scaled > 0.08).mean(axis=tuple(others))
        step = max(1, round(every_mm / spacing[axis]))
        for number in range(step // 2, voxels.shape[axis], step):
            if head[number] < MIN_HEAD * head.max():
                continue
            # Up in the picture is the second axis of the two that are left.
            flat = np.take(scaled, number, axis=axis).T[::-1]
            if plane is Plane.SAGITTAL:
                flat = flat[:, ::-1]  # face to the left
            across, up = spacing[others[0]], spacing[others[1]]
            fine = min(across, up)
            size = (
                round(flat.shape[1] * across / fine),
                round(flat.shape[0] * up / fine),
            )
            grey = cv2.resize(np.rint(flat * 255.0).astype(np.uint8), size)
            yield plane, number, grey.astype(np.uint8)


def _read(path: Path) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    series = read_study(path).series
    volume = volume_of(series[0]) if len(series) == 1 else None
    if volume is None:
        raise DatasetError(
            f"{path} is no whole series: one regular stack of slices is needed.",
            "Cut one series out of it first.",
        )
    # Axes to columns, rows and slices; then to the right, front and top.
    grid: Any = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
        volume.voxels.transpose(2, 1, 0), volume.affine_ras
    )
    canonical = nibabel.as_closest_canonical(grid)  # type: ignore[no-untyped-call]
    voxels = np.asarray(canonical.dataobj, np.float32)
    zooms = [float(size) for size in canonical.header.get_zooms()]
    return voxels, (zooms[0], zooms[1], zooms[2])
