"""DICOM: one file becomes a Study."""

from __future__ import annotations

from tumorlens.imaging.dicom.frames import frames_of
from tumorlens.imaging.dicom.header import is_dicom
from tumorlens.imaging.dicom.series import arrange
from tumorlens.imaging.study import Study

__all__ = ["is_dicom", "read_dicom"]


def read_dicom(data: bytes, name: str) -> Study:
    """Read one DICOM file: a slice, or the frames of a multi-frame file.

    Size and content are checked from the header before any pixel is decoded.
    Values are rescaled (modality), not windowed; MONOCHROME1 is inverted.

    Parameters
    ----------
    data
        The whole file, with or without preamble.
    name
        Of the file, for messages and for `Slice.source`.

    Returns
    -------
    Study
        One series; several where a multi-frame file mixes them.

    Raises
    ------
    DamagedFileError
        Where it is cut off, broken, or no decoder for it is installed.
    TooLargeError, TooSmallError
        Where a limit is passed.
    InputError
        Where it is no MR slice of a head, with the reason.
    """
    series, notes = arrange(frames_of(data, name))
    return Study(series, notes)
