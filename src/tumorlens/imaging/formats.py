"""The formats of single files, told by content; and what others are called.

Tested in `tests/imaging/test_read.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tumorlens.errors import InputError, UnknownFormatError
from tumorlens.imaging.dicom.directory import is_dicomdir
from tumorlens.imaging.dicom.grouping import read_dicom
from tumorlens.imaging.dicom.header import is_dicom
from tumorlens.imaging.readers.metaimage import is_metaimage, read_metaimage
from tumorlens.imaging.readers.mgh import is_mgh, read_mgh
from tumorlens.imaging.readers.nifti import is_nifti, read_nifti
from tumorlens.imaging.readers.nrrd import is_nrrd, read_nrrd
from tumorlens.imaging.readers.raster import is_raster, read_raster
from tumorlens.imaging.study import Study


class Format(NamedTuple):
    """One format that is read.

    Parameters
    ----------
    matches
        Tells from the bytes whether they are in this format; the first
        `START_BYTES` are enough.
    read
        Turns the bytes, and the file's name for messages, into a study.
    suffixes
        Endings of file names by which a folder is searched, in lower case.
    """

    matches: Callable[[bytes], bool]
    read: Callable[[bytes, str], Study]
    suffixes: tuple[str, ...]


START_BYTES = 2**16
"""Bytes from the start of a file that tell its format."""

FILE_FORMATS: tuple[Format, ...] = (
    Format(
        is_raster,
        read_raster,
        (
            *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"),
            *(".avif", ".heic"),
        ),
    ),
    Format(is_dicom, read_dicom, (".dcm", ".dicom", ".ima")),
    Format(is_nifti, read_nifti, (".nii", ".nii.gz")),
    Format(is_nrrd, read_nrrd, (".nrrd",)),
    Format(is_metaimage, read_metaimage, (".mha", ".mhd")),
    Format(is_mgh, read_mgh, (".mgh", ".mgz")),
)


class _Foreign(NamedTuple):
    """A format that is not read, and what to do with it."""

    start: bytes
    title: str
    hint: str
    offset: int = 0


_UNPACK = "Unpack it, and give the folder."
_TO_NIFTI = "Convert it to NIfTI (dcm2niix, mri_convert or 3D Slicer do)."
_TO_PNG = "Save it as PNG or JPEG."
_FOREIGN = (
    _Foreign(b"%PDF", "a PDF document", "Export the picture itself, as PNG or DICOM."),
    _Foreign(b"Rar!", "a RAR archive", _UNPACK),
    _Foreign(b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    _Foreign(b"BZh", "packed by bzip2", _UNPACK),
    _Foreign(b"\xfd7zXZ", "packed by xz", _UNPACK),
    _Foreign(b"\x28\xb5\x2f\xfd", "packed by zstd", _UNPACK),
    _Foreign(b"ustar", "a tar archive", _UNPACK, 257),
    _Foreign(b"PK\3\4", "an archive", "Give the archive by itself."),
    _Foreign(b"\x1f\x8b", "packed by gzip, and holds no volume", _UNPACK),
    _Foreign(b"CD001", "the image of a disc (ISO)", _UNPACK, 32769),
    _Foreign(b"\x89HDF", "an HDF5 file (MINC, MATLAB)", _TO_NIFTI),
    _Foreign(b"CDF", "a NetCDF file (MINC 1)", _TO_NIFTI),
    _Foreign(b"MATLAB", "a MATLAB file", _TO_NIFTI),
    _Foreign(b"\x93NUMPY", "a NumPy array", "Read it in Python, and give the array."),
    _Foreign(b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _TO_PNG),
    _Foreign(b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _TO_PNG),
    _Foreign(b"\0\0\0\x0cJXL ", "a JPEG XL picture", _TO_PNG),
    _Foreign(b"\xff\x0a", "a JPEG XL picture", _TO_PNG),
    _Foreign(b"8BPS", "a Photoshop document", _TO_PNG),
    _Foreign(b"II\x2a\0\x10\0\0\0CR", "a camera's raw picture", _TO_PNG),
    _Foreign(b"AVI ", "a film", "Export single pictures of it, as PNG.", 8),
    _Foreign(b"\x1a\x45\xdf\xa3", "a film", "Export single pictures of it, as PNG."),
    _Foreign(b"MZ", "a program", ""),
    _Foreign(b"\x7fELF", "a program", ""),
    _Foreign(b"\xca\xfe\xba\xbe", "a program", ""),
)
_FTYP = b"ftyp"
_HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
)


def reader_of(data: bytes) -> Format | None:
    """Find the format of a file by its bytes; None where it is none that is read."""
    found = next((item for item in FILE_FORMATS if item.matches(data)), None)
    if found is not None and found.matches is is_dicom and is_dicomdir(data):
        return None
    return found


def unknown_format(data: bytes, name: str) -> InputError:
    """Say what a file is that is not read, as far as its bytes tell.

    Parameters
    ----------
    data
        Its first bytes; `START_BYTES` are enough.
    name
        The name of the file, for the message.
    """
    if is_dicomdir(data):
        return InputError(
            f"{name} is a DICOMDIR, the table of contents of a disc, and holds no "
            "picture.",
            "Give the folder that it lies in.",
        )
    if data[4:8] == _FTYP:
        if data[8:12] in _HEIF_BRANDS:
            return UnknownFormatError(f"{name} is a HEIC photograph.", _TO_PNG)
        return UnknownFormatError(
            f"{name} is a film.", "Export single pictures of it, as PNG."
        )
    for item in _FOREIGN:
        if data.startswith(item.start, item.offset):
            return UnknownFormatError(f"{name} is {item.title}.", item.hint)
    start = data[:512]
    if start and b"\0" not in start:
        try:
            start.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            return UnknownFormatError(f"{name} is text, no picture.")
    return UnknownFormatError(f"{name} is in no picture format that is known.")
