"""DICOM files without who is on them (DICOM PS3.15, Basic Application Level Profile).

What is done with each attribute stands in the profile's table, which dicom-anonymizer
has. That package goes through the outermost data set alone; here its rules are applied
to every item of every sequence.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from tumorlens.errors import DamagedFileError, InputError, MissingExtraError

_PICTURES_OF_TEXT = (SecondaryCaptureImageStorage, EncapsulatedPDFStorage)
_METHOD = "Basic Application Confidentiality Profile"


class Anonymiser:
    """Takes identifiers out of files, the same way in all of them.

    One patient gets one pseudonym, and one UID one new UID, as long as the object
    lives: files of a series stay together, and nobody finds the way back.

    Raises
    ------
    MissingExtraError
        dicom-anonymizer is not installed.
    """

    def __init__(self) -> None:
        try:
            from dicomanonymizer.simpledicomanonymizer import (
                dictionary,
                initialize_actions_2024b,
                keep,
            )
        except ImportError as error:
            raise MissingExtraError("Anonymising DICOM", "pacs") from error
        # The package keeps new UIDs for the whole process.
        dictionary.clear()
        self._rules: dict[tuple[int, ...], Callable[..., None]] = {
            # References stay, with the new UIDs of what they refer to.
            tag: keep if rule.__name__ == "delete_or_empty_or_replace_UID" else rule
            for tag, rule in initialize_actions_2024b().items()
        }
        self._patients: dict[str, str] = {}

    def anonymise(self, data: bytes, name: str) -> tuple[Path, bytes]:
        """Take the identifiers out of a file.

        Parameters
        ----------
        data
            The whole file.
        name
            Name of it, for messages.

        Returns
        -------
        place
            Path for it, relative to a folder: study, series and instance.
        data
            The new file.

        Raises
        ------
        DamagedFileError
            It is no DICOM file, or cannot be read to its end.
        InputError
            Its pixels may show a name: they are not looked at.
        """
        try:
            item = dcmread(BytesIO(data))
            patient = str(item.get("PatientID") or item.get("PatientName") or "")
            _refuse_burnt_in(item, name)
            self._apply(item)
            self._mark(item, self._pseudonym(patient))
            return _place(item), _written(item)
        except InputError:
            raise
        except InvalidDicomError as error:
            raise DamagedFileError(f"{name} is no DICOM file.") from error
        except Exception as error:
            # What cannot be read to its end may hold anything: it is not written.
            raise DamagedFileError(
                f"{name} cannot be anonymised: {type(error).__name__}.",
                "Export it again from where it was stored.",
            ) from error

    def _apply(self, item: Dataset) -> None:
        from dicomanonymizer.simpledicomanonymizer import anonymize_dataset

        # Private sequences first: what they hold needs no rule.
        item.remove_private_tags()
        for element in item:
            if element.VR == "SQ":
                for below in element.value:
                    self._apply(below)
        anonymize_dataset(item, base_rules_gen=lambda: dict(self._rules))

    def _pseudonym(self, patient: str) -> str:
        if patient not in self._patients:
            self._patients[patient] = f"ANON-{secrets.token_hex(4).upper()}"
        return self._patients[patient]

    @staticmethod
    def _mark(item: Dataset, pseudonym: str) -> None:
        item.PatientName = item.PatientID = pseudonym
        item.PatientIdentityRemoved = "YES"
        item.DeidentificationMethod = "TumorLens, PS3.15 Basic Profile"
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
        code.CodeMeaning = _METHOD
        item.DeidentificationMethodCodeSequence = [code]
        item.LongitudinalTemporalInformationModified = "REMOVED"


def dicom_files(places: list[Path]) -> Iterator[Path]:
    """List files, and the files in folders, in order."""
    for place in places:
        if place.is_dir():
            yield from sorted(path for path in place.rglob("*") if path.is_file())
        else:
            yield place


def _refuse_burnt_in(item: Dataset, name: str) -> None:
    """Refuse what may have a name in its pixels, where no rule reaches."""
    burnt_in = str(item.get("BurnedInAnnotation") or "").upper() == "YES"
    if burnt_in or item.get("SOPClassUID") in _PICTURES_OF_TEXT:
        raise InputError(
            f"{name} may have text in its pixels.",
            "Leave it out: only headers are anonymised.",
        )


def _place(item: Dataset) -> Path:
    return Path(
        str(item.StudyInstanceUID),
        str(item.SeriesInstanceUID),
        f"{item.SOPInstanceUID}.dcm",
    )


def _written(item: Dataset) -> bytes:
    # The old header of the file names who sent it, and the preamble may hold anything.
    syntax = item.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = syntax
    item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID
    item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
    item.preamble = bytes(128)
    file = BytesIO()
    dcmwrite(file, item, enforce_file_format=True)
    return file.getvalue()
