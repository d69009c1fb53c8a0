"""A series' headers, checked and made whole before anything refers to them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tumorlens.errors import InputError, MissingExtraError, TumorLensError
from tumorlens.report.dicom.finding import DicomFinding

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SR_SERIES, SEG_SERIES, SC_SERIES, KO_SERIES = 9901, 9902, 9903, 9904
"""Series numbers, beyond those that scanners give."""

MANUFACTURER = "TumorLens"

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_MAY_BE_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
"""Type 2 of the modules Patient and General Study (PS3.3 C.7.1.1, C.7.2.1)."""

_FORMS = {
    "PatientSex": re.compile(r"[MFO]"),
    "PatientBirthDate": re.compile(r"\d{8}"),
    "StudyDate": re.compile(r"\d{8}"),
    "StudyTime": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"),
}
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


def whole_headers(headers: Sequence[Dataset]) -> list[Dataset]:
    """Check a series' headers and fill what may be empty.

    Parameters
    ----------
    headers
        One for each slice, without pixel data. They are not changed.

    Returns
    -------
    list of Dataset
        Shallow copies. Type 2 attributes that are missing, or that are in no
        form DICOM knows, are there and empty.

    Raises
    ------
    InputError
        Where there is none, one lacks the UIDs to refer to it, or they are of
        several studies or series.
    """
    if not headers:
        raise InputError(
            "The series has no DICOM headers.",
            "Only what was read from DICOM can go back out as DICOM.",
        )
    with guarded("DICOM result"):
        return _checked(headers)


def _checked(headers: Sequence[Dataset]) -> list[Dataset]:
    for number, header in enumerate(headers):
        for keyword in _NEEDED:
            value = str(header.get(keyword) or "")
            if len(value) > 64 or not _UID.fullmatch(value):
                raise InputError(
                    f"Slice {number} has no valid {keyword}.",
                    "Export the series again, with its identifiers.",
                )
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if len({str(header[keyword].value) for header in headers}) > 1:
            raise InputError(
                f"The slices differ in {keyword}.", "Give the slices of one series."
            )
    return [_whole(header) for header in headers]


def _whole(header: Dataset) -> Dataset:
    """Fill in a copy; the elements themselves are shared, and replaced, not changed."""
    whole = copy(header)
    for keyword in _MAY_BE_EMPTY:
        value = str(whole.get(keyword) or "").strip()
        form = _FORMS.get(keyword)
        if (
            not value
            or (form and not form.fullmatch(value))
            or not _dated(keyword, value)
        ):
            setattr(whole, keyword, "")
    return whole


def _dated(keyword: str, value: str) -> bool:
    """Tell whether a date is in the calendar, and a time on the clock."""
    kind = {"Date": "%Y%m%d", "Time": "%H%M%S"}.get(keyword[-4:])
    if kind is None:
        return True
    try:
        datetime.strptime(value[:8] if kind == "%Y%m%d" else f"{value[:6]:0<6}", kind)
    except ValueError:
        return False
    return True


def key_header(headers: Sequence[Dataset], index: int) -> Dataset:
    """Take the header of a slice, by its position from 0.

    Raises
    ------
    InputError
        Where the series has no such slice.
    """
    if not 0 <= index < len(headers):
        raise InputError(
            f"There is no slice {index}; the series has {len(headers)}.",
            "Count slices from 0.",
        )
    return headers[index]


def frame_count(header: Dataset) -> int:
    """Count the frames of a slice's file; 1 for one of a single slice."""
    with guarded("DICOM result"):
        return int(header.get("NumberOfFrames") or 1)


def frame_numbers(
    headers: Sequence[Dataset], frames: Sequence[int], index: int
) -> list[int]:
    """Name the frame that a slice is, as DICOM refers to it.

    Parameters
    ----------
    headers
        Headers of the series.
    frames
        Frame of its file that each slice is, from 0; may be empty.
    index
        Position in the series of the slice, from 0.

    Returns
    -------
    list of int
        One number, from 1; none where its file has one frame, or it is not known.
    """
    if index >= len(frames) or frame_count(headers[index]) < 2:
        return []
    return [frames[index] + 1]


def new_series(finding: DicomFinding, number: int, what: str) -> dict[str, Any]:
    """Give what highdicom asks of every object: its identifiers, and who made it.

    Parameters
    ----------
    finding
        What is said, and by which model.
    number
        Number of the series.
    what
        The object holds, for the series' description.
    """
    from pydicom.uid import generate_uid

    return {
        "series_instance_uid": generate_uid(),
        "series_number": number,
        "series_description": f"TumorLens {what}, research use only",
        "sop_instance_uid": generate_uid(),
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": finding.algorithm[:64],
        "software_versions": finding.version[:64],
    }


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn what highdicom raises on odd headers into an error of ours.

    Its own messages and warnings may quote the header and so the patient:
    they are dropped.

    Raises
    ------
    MissingExtraError
        Where highdicom is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except TumorLensError:
        raise
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"A {what}", "pacs") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise InputError(
            f"A {what} cannot be made of these headers: they break the DICOM rules.",
            "Export the series again from where it was stored.",
        ) from None


def finish(dataset: Dataset, whole: Dataset) -> None:
    """Put back empty type 2 values that highdicom left out, and write UTF-8."""
    for keyword in _MAY_BE_EMPTY:
        if keyword not in dataset:
            setattr(dataset, keyword, whole.get(keyword) or "")
    # What we write may hold any letter; the patient's name is encoded anew.
    dataset.decode()
    dataset.SpecificCharacterSet = "ISO_IR 192"
