"""What a file is: its format, told by content, and its name, fit to be printed.

Nothing here reads more than the start of a file; `read` knows which reader takes which
format.

Tested in `tests/imaging/test_read.py`.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from tumorlens.errors import InputError, UnknownFormatError

START_BYTES = 2**16
"""Bytes from the start of a file that tell its format."""

GZIP_START = b"\x1f\x8b"


def unpacked_start(data: bytes, count: int) -> bytes:
    """Return the first bytes of a file, unpacked where gzip packed it.

    Parameters
    ----------
    data
        The file, or its first `START_BYTES`.
    count
        How many bytes are wanted; fewer come back where the file has no more.
    """
    if not data.startswith(GZIP_START):
        return data[:count]
    try:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return unpacker.decompress(memoryview(data)[:START_BYTES], count)
    except zlib.error:
        return b""


class PictureSignature(NamedTuple):
    """Bytes that a kind of picture starts with.

    Parameters
    ----------
    title
        Name of the kind, for messages.
    start
        The bytes.
    offset
        Where they stand in the file.
    """

    title: str
    start: bytes
    offset: int = 0


PICTURES: tuple[PictureSignature, ...] = (
    PictureSignature("PNG", b"\x89PNG\r\n\x1a\n"),
    PictureSignature("JPEG", b"\xff\xd8\xff"),
    PictureSignature("TIFF", b"II*\0"),
    PictureSignature("TIFF", b"MM\0*"),
    # BigTIFF; Pillow reads it in this order of bytes alone.
    PictureSignature("TIFF", b"II+\0"),
    PictureSignature("GIF", b"GIF87a"),
    PictureSignature("GIF", b"GIF89a"),
    PictureSignature("WebP", b"WEBP", 8),
    PictureSignature("BMP", b"BM"),
    *(PictureSignature("AVIF", b"ftyp" + x, 4) for x in (b"avif", b"avis")),
    # What phones write.
    *(
        PictureSignature("HEIC", b"ftyp" + brand, 4)
        for brand in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
    ),
)


def picture_kind(data: bytes) -> str:
    """Name the kind of picture that a file starts like; empty where it is none.

    The 128 bytes that DICOM starts with are free, and some senders write the head of
    a TIFF there: that is DICOM.
    """
    for kind in PICTURES:
        if data.startswith(kind.start, kind.offset):
            return "" if data[128:132] == b"DICM" else kind.title
    return ""


def is_raster(data: bytes) -> bool:
    """Tell whether a file starts like a picture that is read."""
    return picture_kind(data) != ""


_DICOM_STARTS = tuple(
    group + element
    for group in (b"\x02\x00", b"\x08\x00")
    for element in (b"\0\0", b"\1\0", b"\2\0", b"\5\0", b"\x08\0", b"\x10\0", b"\x16\0")
)
_MEDIA_STORAGE = b"1.2.840.10008.1.3.10"
_META_BYTES = 1024


def is_dicom(data: bytes) -> bool:
    """Tell whether a file starts like DICOM, with or without a preamble."""
    return data[128:132] == b"DICM" or (
        data.startswith(_DICOM_STARTS) and len(data) > 16 and _known_vr(data)
    )


def _known_vr(data: bytes) -> bool:
    """Tell whether the first element is explicit, or implicit and short."""
    return data[4:6] in (b"UL", b"OB", b"UI", b"CS", b"DA") or (
        data[6:8] == b"\0\0" and int.from_bytes(data[4:6], "little") < 256
    )


def is_dicomdir(data: bytes) -> bool:
    """Tell whether a file starts like a DICOMDIR, the table of contents of a disc."""
    return data[128:132] == b"DICM" and _MEDIA_STORAGE in data[132:_META_BYTES]


NIFTI_START_BYTES = 540
_NIFTI_1 = (b"n+1\0", b"ni1\0")
_NIFTI_2 = (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")


def nifti_version(data: bytes) -> int:
    """Tell NIfTI 1 and 2 by a file's start, plain or packed; 0 for everything else."""
    start = unpacked_start(data, NIFTI_START_BYTES)
    if start[4:12] in _NIFTI_2:
        return 2
    return 1 if start[344:348] in _NIFTI_1 else 0


def is_nifti(data: bytes) -> bool:
    """Tell whether a file starts like NIfTI, plain or packed by gzip."""
    return nifti_version(data) > 0


NRRD_START = b"NRRD000"


def is_nrrd(data: bytes) -> bool:
    """Tell whether a file starts like NRRD."""
    return data.startswith(NRRD_START)


_METAIMAGE_KEYS = (b"ObjectType", b"NDims", b"Comment", b"ObjectSubType")
METAIMAGE_LAST_KEY = b"ElementDataFile"


def is_metaimage(data: bytes) -> bool:
    """Tell whether a file starts like MetaImage."""
    return (
        data.lstrip()[:16].startswith(_METAIMAGE_KEYS)
        and METAIMAGE_LAST_KEY in data[:START_BYTES]
    )


MGH_START_BYTES = 90
_MGH_SIZES = struct.Struct(">6i")
_MGH_TYPES = (0, 1, 3, 4, 10)


def is_mgh(data: bytes) -> bool:
    """Tell whether a file starts like MGH, plain or packed by gzip."""
    start = unpacked_start(data, MGH_START_BYTES)
    if len(start) < MGH_START_BYTES:
        return False
    version, *sides, kind = _MGH_SIZES.unpack_from(start)
    return (
        version == 1 and kind in _MGH_TYPES and all(0 < side < 2**16 for side in sides)
    )


def is_zip(data: bytes) -> bool:
    """Tell whether a file starts like a zip archive."""
    return data.startswith((b"PK\3\4", b"PK\5\6"))


def is_tar(data: bytes) -> bool:
    """Tell whether a file starts like a tar archive, plain or packed by gzip."""
    return unpacked_start(data, _TAR_START_BYTES)[_TAR_MARK] in (b"ustar\0", b"ustar ")


_TAR_START_BYTES = 512
_TAR_MARK = slice(257, 263)


def is_archive(data: bytes) -> bool:
    """Tell whether a file starts like an archive that is read: zip or tar."""
    return is_zip(data) or is_tar(data)


def is_named_archive(data: bytes, name: str) -> bool:
    """Tell whether a file among others is an archive of pictures.

    Programs and documents are zip archives too, under other endings.

    Parameters
    ----------
    data
        Its first bytes; `START_BYTES` are enough.
    name
        Its name.
    """
    return is_tar(data) or (is_zip(data) and name.lower().endswith(".zip"))


def is_packed_file(data: bytes) -> bool:
    """Tell whether a file has to be unpacked first; volumes are read packed.

    gzip packed a DICOM file or a picture, or what gzip had packed before, as browsers
    leave it that unpack nothing of what a server packs on its way.
    """
    if not data.startswith(GZIP_START):
        return False
    start = unpacked_start(data, _PACKED_START_BYTES)
    return is_dicom(start) or is_raster(start) or start.startswith(GZIP_START)


_PACKED_START_BYTES = 256


class Format(StrEnum):
    """A format of single files that is read."""

    RASTER = "picture"
    DICOM = "DICOM"
    NIFTI = "NIfTI"
    NRRD = "NRRD"
    METAIMAGE = "MetaImage"
    MGH = "MGH"


class FormatFacts(NamedTuple):
    """Facts by which a format is told.

    Parameters
    ----------
    matches
        Tells from the bytes whether they are in this format; the first
        `START_BYTES` are enough.
    suffixes
        Endings of file names by which a folder is searched, in lower case.
    """

    matches: Callable[[bytes], bool]
    suffixes: tuple[str, ...]


FORMATS: dict[Format, FormatFacts] = {
    Format.RASTER: FormatFacts(
        is_raster,
        (
            *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"),
            *(".avif", ".heic"),
        ),
    ),
    Format.DICOM: FormatFacts(is_dicom, (".dcm", ".dicom", ".ima")),
    Format.NIFTI: FormatFacts(is_nifti, (".nii", ".nii.gz")),
    Format.NRRD: FormatFacts(is_nrrd, (".nrrd",)),
    Format.METAIMAGE: FormatFacts(is_metaimage, (".mha", ".mhd")),
    Format.MGH: FormatFacts(is_mgh, (".mgh", ".mgz")),
}
"""The formats that are read; the first that matches a file is its own."""

SUFFIXES: frozenset[str] = frozenset(
    end for facts in FORMATS.values() for end in facts.suffixes
)
"""Endings of the names of files that can be read."""


def format_of(data: bytes) -> Format | None:
    """Find the format of a file by its bytes; None where it is none that is read."""
    if is_packed_file(data):
        data = unpacked_start(data, START_BYTES)
    file_format = next(
        (item for item, facts in FORMATS.items() if facts.matches(data)), None
    )
    return None if file_format is Format.DICOM and is_dicomdir(data) else file_format


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


WHAT_IS_READ = (
    f"Give {_listed(item for item in Format if item is not Format.RASTER)}, a zip or "
    "tar archive of them, or a "
    f"{_listed(dict.fromkeys(kind.title for kind in PICTURES))} picture of one MRI "
    "slice."
)
"""The hint of a file in a format that is not read."""


class _Foreign(NamedTuple):
    """A format that is not read, and what to do with it."""

    start: bytes
    title: str
    hint: str
    offset: int = 0


_UNPACK = "Unpack it, and give the folder."
_TO_NIFTI = "Convert it to NIfTI (dcm2niix, mri_convert or 3D Slicer do)."
_TO_PNG = "Save it as PNG or JPEG."
_THE_PICTURE = "Save the picture itself, as PNG."
_FOREIGN = (
    _Foreign(b"%PDF", "a PDF document", "Export the picture itself, as PNG or DICOM."),
    _Foreign(b"Rar!", "a RAR archive", _UNPACK),
    _Foreign(b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    _Foreign(b"BZh", "packed by bzip2", _UNPACK),
    _Foreign(b"\xfd7zXZ", "packed by xz", _UNPACK),
    _Foreign(b"\x28\xb5\x2f\xfd", "packed by zstd", _UNPACK),
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
    *(_Foreign(b"P%d\n" % kind, "a Netpbm picture", _TO_PNG) for kind in range(1, 7)),
    _Foreign(b"\0\0\1\0", "an icon", _TO_PNG),
    _Foreign(b"\x0a\x05\1", "a PCX picture", _TO_PNG),
    _Foreign(b"DDS ", "a DDS picture", _TO_PNG),
    _Foreign(b"\x01\xda", "an SGI picture", _TO_PNG),
    _Foreign(b"\x76\x2f\x31\x01", "an OpenEXR picture", _TO_PNG),
    _Foreign(b"SIMPLE  =", "a FITS picture", _TO_PNG),
    _Foreign(b"%!PS", "a PostScript document", _THE_PICTURE),
    _Foreign(b"<svg", "a drawing (SVG)", _THE_PICTURE),
    *(
        _Foreign(start, "a web page", _THE_PICTURE)
        for start in (b"<!DOCTYPE html", b"<!doctype html", b"<html", b"<HTML")
    ),
    _Foreign(
        b"version https://git-lfs",
        "a pointer of Git LFS, and its content is elsewhere",
        "Fetch the content first (`git lfs pull`).",
    ),
    _Foreign(
        b"/annex/objects/",
        "a pointer of git-annex, and its content is elsewhere",
        "Fetch the content first (`datalad get` or `git annex get`).",
    ),
    _Foreign(
        b'[{"00',
        "DICOM written as JSON, which holds no pixels",
        "Fetch the files themselves (WADO-RS, application/dicom).",
    ),
    _Foreign(b"data:image/", "a picture written as text (base64)", _THE_PICTURE),
    _Foreign(b"# === DATA DESCRIPTION", "the header of a Philips PAR/REC", _TO_NIFTI),
    _Foreign(b"##TITLE=", "a parameter file of Bruker or JCAMP-DX", _TO_NIFTI),
    _Foreign(b"!INTERFILE", "an Interfile header", _TO_NIFTI),
    _Foreign(b"# vtk DataFile", "a VTK file", _TO_NIFTI),
    _Foreign(b"MATRIX7", "an ECAT volume", _TO_NIFTI),
    _Foreign(b"\ntype", "the header of an AFNI volume", _TO_NIFTI),
    _Foreign(b"8BPS", "a Photoshop document", _TO_PNG),
    _Foreign(b"II\x2a\0\x10\0\0\0CR", "a camera's raw picture", _TO_PNG),
    _Foreign(b"AVI ", "a film", "Export single pictures of it, as PNG.", 8),
    _Foreign(b"\x1a\x45\xdf\xa3", "a film", "Export single pictures of it, as PNG."),
    _Foreign(b"\x30\x26\xb2\x75", "a film", "Export single pictures of it, as PNG."),
    _Foreign(b"\0\0\1\xba", "a film", "Export single pictures of it, as PNG."),
    _Foreign(b"\0\0\1\xb3", "a film", "Export single pictures of it, as PNG."),
    _Foreign(
        b"L\0\0\0\1\x14\2\0",
        "a shortcut of Windows, which holds no picture",
        "Give the file that it leads to.",
    ),
    _Foreign(
        b"[InternetShortcut]", "a link to a page", "Save what it leads to as a file."
    ),
    _Foreign(
        b"\0\5\x16\7",
        "what macOS keeps beside a file (AppleDouble), and holds no picture",
        "Give the file of the same name without the leading ._",
    ),
    _Foreign(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old document of Office, a message of Outlook or Thumbs.db",
        "Save the picture in it as a file.",
    ),
    _Foreign(
        b"bplist00",
        "a list of properties of macOS, as stands for a file left in iCloud",
        "Download the file itself.",
    ),
    _Foreign(b"{\\rtf", "a document (RTF)", _THE_PICTURE),
    _Foreign(
        b"<?xml", "text (XML), no picture", "Give the files that it tells of, if any."
    ),
    _Foreign(b"\xd7\xcd\xc6\x9a", "a drawing of Windows (WMF)", _TO_PNG),
    _Foreign(b" EMF", "a drawing of Windows (EMF)", _TO_PNG, 40),
    _Foreign(b"gimp xcf", "a GIMP document", _TO_PNG),
    _Foreign(b"\x04\x22\x4d\x18", "packed by LZ4", _UNPACK),
    _Foreign(
        b"MZ", "a program", "If it holds an archive, unpack it, and give the folder."
    ),
    _Foreign(b"\x7fELF", "a program", ""),
    _Foreign(b"\xca\xfe\xba\xbe", "a program", ""),
)
_FTYP = b"ftyp"
_MULTIPART = re.compile(
    rb"(\r?\n)?--[^\r\n]{1,70}\r?\n([A-Za-z-]+:[^\r\n]*\r?\n)*content-type:", re.I
)
_MESSAGE = re.compile(
    rb"(?=[\s\S]{0,8000}^(From|To|Subject|Message-ID):)([A-Za-z-]+:[^\r\n]*\r?\n"
    rb"([ \t][^\r\n]*\r?\n)*){3}",
    re.M,
)
_HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
)


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
    if _MULTIPART.match(data):
        return UnknownFormatError(
            f"{name} is a web server's answer in several parts (multipart).",
            "Save each part, without its headers, as a file of its own.",
        )
    # Texts may start with a mark of their encoding, or with empty lines.
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n\t ")
    for item in _FOREIGN:
        if data.startswith(item.start, item.offset) or (
            not item.offset and text.startswith(item.start)
        ):
            return UnknownFormatError(
                f"{name} is {item.title}.", item.hint or WHAT_IS_READ
            )
    if data and not data.strip(b"\0"):
        return UnknownFormatError(
            f"{name} starts with zeros alone, as a copy that broke off does.",
            "Copy or download it again.",
        )
    if _MESSAGE.match(data):
        return UnknownFormatError(
            f"{name} is an e-mail.", "Save its attachments as files."
        )
    start = data[:512]
    if start and b"\0" not in start:
        try:
            start.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            return UnknownFormatError(f"{name} is text, no picture.", WHAT_IS_READ)
    return UnknownFormatError(f"{name} has an unsupported format.", WHAT_IS_READ)


def display_name(path: str | os.PathLike[str]) -> str:
    r"""Write a path so that it can be printed anywhere.

    Parameters
    ----------
    path
        May hold bytes that are no UTF-8, line breaks or control characters.

    Returns
    -------
    str
        The path, with such characters written as ``\xff``; never empty.
    """
    raw = os.fsencode(os.fspath(path))
    text = raw.decode("utf-8", "backslashreplace")
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )
    return shown or "''"


def natural_order(name: str) -> list[tuple[int, str]]:
    """Give the key by which names sort as people count: 2 comes before 10."""
    return [
        (int(part), "")
        if part.isdecimal() and part.isascii()
        else (-1, part.casefold())
        for part in re.split(r"([0-9]{1,18})", name)
        if part
    ]
