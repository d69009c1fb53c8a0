"""Objects that other libraries hold in memory become a Study, as files do."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tumorlens.errors import DamagedFileError, InputError
from tumorlens.imaging.dicom.grouping import gather_series
from tumorlens.imaging.formats import display_name
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series, Study, to_slice

Picture: TypeAlias = Any
"""A path, the bytes of a file, a file opened for reading bytes, an array (H, W) or
(H, W, 3), a Pillow image, a pydicom dataset, a nibabel image, or a `Study`.

It is Any, since none of these libraries is imported for its types."""

SINGLE = (str, Path, bytes, np.ndarray, Study)
"""Types of one picture, beside the objects of other libraries."""

_ANIMATION = "Of {count} frames the one at which the image stands was read."


def is_single(source: object) -> bool:
    """Tell whether an object is one picture, and no list of them."""
    # Files and datasets can be gone through, and are no lists of pictures.
    return isinstance(source, SINGLE) or _library(source) != "" or _is_file(source)


def read(source: Picture, name: str | None = None, volume: int | None = None) -> Study:
    """Read a picture or a study, in whatever form it is at hand.

    Parameters
    ----------
    source
        A path to a file or folder; the bytes of a file, or a file opened for reading
        bytes; an array of shape (H, W), or (H, W, 3) in RGB, with finite numbers; a
        Pillow image; a nibabel image; a pydicom dataset, or a list of those of one
        study; or a `Study`, which is returned as it is.
    name
        Name for messages; by default the path, or the kind of source.
    volume
        Number of the volume in a NIfTI file that holds several (4-D), from 0.

    Returns
    -------
    Study
        At least one slice.

    Raises
    ------
    InputError
        It cannot be read. The message names the source.
    """
    if isinstance(source, Study):
        return source
    if isinstance(source, str | Path | bytes):
        return read_study(source, name, volume)
    if isinstance(source, np.ndarray):
        slice_ = to_slice(source, name or "array")
        return Study((Series((slice_,)),))
    if _is_file(source):
        return read_study(_contents(source), name or _file_name(source), volume)
    library = _library(source)
    if library == "PIL":
        return _read_pillow(source, name or _file_name(source) or "image")
    if library == "nibabel":
        label = name or display_name(source.get_filename() or "image")
        return read_study(_nifti_bytes(source), label, volume)
    datasets = [source] if library == "pydicom" else source
    if _are_datasets(datasets):
        return _read_datasets(datasets, name or "dataset")
    raise InputError(
        f"A picture cannot be a {type(source).__name__}.",
        "Give a path, the bytes of a file, an open file, a NumPy array, a Pillow or "
        "nibabel image, a pydicom dataset or a Study.",
    )


def source_name(source: object) -> str:
    """Name a source that could not be read, for a message."""
    if isinstance(source, str | Path):
        return display_name(source)
    if isinstance(source, np.ndarray):
        return "array"
    return _file_name(source) or "picture"


def _library(source: object) -> str:
    """Name the library whose image or dataset an object is; empty for none."""
    for kind in type(source).__mro__:
        package = kind.__module__.partition(".")[0]
        if (package, kind.__name__) in (
            ("PIL", "Image"),
            ("pydicom", "Dataset"),
            ("nibabel", "SpatialImage"),
        ):
            return package
    return ""


def _is_file(source: object) -> bool:
    return callable(getattr(source, "read", None)) and not _library(source)


def _file_name(source: object) -> str | None:
    """Return the name of an open file or image as far as it has one."""
    for attribute in ("name", "filename"):
        name = getattr(source, attribute, None)
        if isinstance(name, str) and name:
            return display_name(name)
    return None


def _contents(file: Any) -> bytes:  # noqa: ANN401 - whatever has `read`
    data = file.read()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise InputError(
        f"{_file_name(file) or 'The file'} was opened as text.",
        "Open it for reading bytes: open(path, 'rb').",
    )


def _read_pillow(image: Any, name: str) -> Study:  # noqa: ANN401 - PIL.Image.Image
    from PIL import ImageOps

    frames = getattr(image, "n_frames", 1)
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F"):
            upright = upright.convert("F" if upright.mode[0] == "I" else "RGB")
        file = io.BytesIO()
        if upright.mode == "F":
            upright.save(file, "TIFF")
        else:
            upright.save(file, "PNG", compress_level=1)
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedFileError(f"{name} cannot be decoded.") from error
    study = read_study(file.getvalue(), name)
    if frames < 2:
        return study
    return Study(study.series, (*study.notes, _ANIMATION.format(count=frames)))


def _nifti_bytes(image: Any) -> bytes:  # noqa: ANN401 - nibabel's SpatialImage
    """Write a nibabel image of any format as a NIfTI file in memory."""
    import nibabel

    if not isinstance(image, nibabel.Nifti1Image):
        image = nibabel.Nifti1Image.from_image(image)
    data: bytes = image.to_bytes()
    return data


def _are_datasets(source: object) -> bool:
    return (
        isinstance(source, Sequence)
        and len(source) > 0
        and all(_library(item) == "pydicom" for item in source)
    )


def _read_datasets(datasets: Sequence[Any], name: str) -> Study:
    """Read DICOM datasets as the files that they would be."""
    several = len(datasets) > 1
    files = (
        (f"{name}#{place}" if several else name, _dicom_bytes(dataset, name))
        for place, dataset in enumerate(datasets, 1)
    )
    return gather_series(files)[0]


def _dicom_bytes(dataset: Any, name: str) -> bytes:  # noqa: ANN401 - pydicom's Dataset
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

    file = io.BytesIO()
    meta = getattr(dataset, "file_meta", None)
    try:
        if meta is None or "TransferSyntaxUID" not in meta:
            # Made in memory: its pixels are as they are.
            dataset = pydicom.dataset.Dataset(dataset)
            dataset.file_meta = pydicom.dataset.FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    except (AttributeError, ValueError, TypeError, KeyError, OSError) as error:
        raise DamagedFileError(
            f"{name} is a DICOM dataset that cannot be written as a file.",
            "Give the file that it was read from.",
        ) from error
    return file.getvalue()
