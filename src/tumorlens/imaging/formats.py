"""The formats of single files, told by content.

Tested in `tests/imaging/test_read.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tumorlens.imaging.dicom.grouping import read_dicom
from tumorlens.imaging.dicom.header import is_dicom
from tumorlens.imaging.readers.nifti import is_nifti, read_nifti
from tumorlens.imaging.readers.nrrd import is_nrrd, read_nrrd
from tumorlens.imaging.readers.raster import is_raster, read_raster
from tumorlens.imaging.study import Study


class Format(NamedTuple):
    """One format that is read.

    Parameters
    ----------
    matches
        Tells from the bytes whether they are in this format.
    read
        Turns the bytes, and the file's name for messages, into a study.
    suffixes
        Endings of file names by which a folder is searched, in lower case.
    """

    matches: Callable[[bytes], bool]
    read: Callable[[bytes, str], Study]
    suffixes: tuple[str, ...]


# DICOM goes first: the 128 bytes that it starts with are free, and some senders
# write the head of a TIFF there.
FILE_FORMATS: tuple[Format, ...] = (
    Format(is_dicom, read_dicom, (".dcm", ".dicom")),
    Format(
        is_raster,
        read_raster,
        (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"),
    ),
    Format(is_nifti, read_nifti, (".nii", ".nii.gz")),
    Format(is_nrrd, read_nrrd, (".nrrd",)),
)
