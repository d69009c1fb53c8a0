"""The table of contents of a disc (DICOMDIR) names the files that lie beside it.

Tested in `tests/imaging/test_read.py`.
"""

from __future__ import annotations

from tumorlens.errors import DamagedFileError
from tumorlens.imaging.dicom.header import parse, quiet, text

_MEDIA_STORAGE = b"1.2.840.10008.1.3.10"
_META_BYTES = 1024


def is_dicomdir(data: bytes) -> bool:
    """Tell whether a file starts like a DICOMDIR."""
    return data[128:132] == b"DICM" and _MEDIA_STORAGE in data[132:_META_BYTES]


def listed_files(data: bytes, name: str) -> list[tuple[str, ...]]:
    """List the files of images that a DICOMDIR names.

    Parameters
    ----------
    data
        The whole DICOMDIR.
    name
        The name of the file, for messages.

    Returns
    -------
    list of tuple of str
        Folders of each file below the DICOMDIR's own, then its name.

    Raises
    ------
    DamagedFileError
        Where it is broken.
    """
    header = parse(data, name)
    files = []
    with quiet():
        try:
            for record in header.get("DirectoryRecordSequence") or ():
                parts = tuple(text(record, "ReferencedFileID").split("\\"))
                if parts[0] and text(record, "DirectoryRecordType") == "IMAGE":
                    files.append(parts)
        # pydicom reads an element when it is asked for, and raises what it likes.
        except Exception as error:
            raise DamagedFileError(
                f"{name} lists its files in a broken way."
            ) from error
    return files
