"""Pseudonyms of the patients of DICOM files, so that a data set keeps them apart."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tumorlens.errors import InputError
from tumorlens.imaging.dicom.header import (
    parse,
    text,
)
from tumorlens.imaging.formats import is_dicom
from tumorlens.imaging.limits import check_file_size

_START_BYTES = 256


def dicom_patient(path: Path) -> str:
    """Name the patient of a file without saying who it is.

    The Patient ID counts together with its issuer (PS3.3, C.7.1.1), so that one
    person has one name in every set; where it is empty the study counts, since a study
    is of one patient.

    Parameters
    ----------
    path
        A file of any format.

    Returns
    -------
    str
        ``dicom:`` and 16 hex digits of a SHA-256; empty for another format, a file
        that cannot be read, and one that names neither. Who knows the IDs of a
        hospital can find them again: it is a pseudonym, and no anonymisation.
    """
    try:
        check_file_size(path.stat().st_size, str(path))
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
            if not is_dicom(start):
                return ""
            header = parse(start + file.read(), str(path))
    except (OSError, InputError):
        # Reading the picture will say why.
        return ""
    patient, study = text(header, "PatientID"), text(header, "StudyInstanceUID")
    if not patient and not study:
        return ""
    kind = ("patient", patient, text(header, "IssuerOfPatientID"))
    named = "\0".join(kind if patient else ("study", study))
    return f"dicom:{hashlib.sha256(named.encode()).hexdigest()[:16]}"
