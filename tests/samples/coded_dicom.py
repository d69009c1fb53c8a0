"""DICOM files whose pixels are compressed: shipped by pydicom, or coded by gdcm."""

from __future__ import annotations

import io
from pathlib import Path

import gdcm
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from tests.samples.dicom_files import saved, slice_file

JPEG_LOSSLESS = gdcm.TransferSyntax.JPEGLosslessProcess14_1
JPEG_LS = gdcm.TransferSyntax.JPEGLSLossless
JPEG_2000 = gdcm.TransferSyntax.JPEG2000

RLE = "1.2.840.10008.1.2.5"

_FRAME_MARKS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")


def shipped(name: str) -> Path:
    """Return the path of a file that comes with pydicom."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


def recoded(syntax: int, folder: Path) -> bytes:
    """Compress the pixels of pydicom's MR slice by gdcm."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(shipped("MR_small.dcm")))
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    assert reader.Read()
    change.SetInput(reader.GetImage())
    assert change.Change()
    path = folder / f"{syntax}.dcm"
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path.read_bytes()


def with_code_byte(data: bytes, offset: int, value: int) -> bytes:
    """Change one byte of the compressed frame, counted from its start."""
    start = max(data.rfind(mark) for mark in _FRAME_MARKS)
    found = bytearray(data)
    found[start + offset] = value
    return bytes(found)


def fatal(folder: Path) -> dict[str, bytes]:
    """Files that end the process of the decoder: a byte of the code is changed."""
    return {
        "jpeg-ls": with_code_byte(
            shipped("MR_small_jpeg_ls_lossless.dcm").read_bytes(), 6, 128
        ),
        "jpeg-2000": with_code_byte(
            shipped("MR_small_jp2klossless.dcm").read_bytes(), 42, 255
        ),
        "jpeg-lossless": with_code_byte(recoded(JPEG_LOSSLESS, folder), 15, 127),
    }


def spinning(side: int = 64) -> bytes:
    """A JPEG-LS file on which CharLS counts for ever: contexts that are never reset.

    The code is cut short, so that gdcm, which is asked first, gives up.
    """
    found = dcmread(shipped("MR_small_jpeg_ls_lossless.dcm"))
    code = bytearray(next(generate_frames(found.PixelData, number_of_frames=1)))
    sizes, reset = slice(7, 11), slice(28, 30)
    code[sizes] = side.to_bytes(2, "big") * 2
    code[reset] = bytes(2)
    found.Rows = found.Columns = side
    found.PixelData = encapsulate([bytes(code[: len(code) // 2])])
    buffer = io.BytesIO()
    found.save_as(buffer)
    return buffer.getvalue()


def encapsulated(codes: list[bytes], syntax: str, side: int, frames: int = 1) -> bytes:
    """Make a file of 8-bit pixels with these codes as its fragments."""
    made = slice_file(
        Rows=side,
        Columns=side,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        NumberOfFrames=frames,
    )
    made.file_meta.TransferSyntaxUID = UID(syntax)
    items = [
        b"\xfe\xff\0\xe0" + len(item).to_bytes(4, "little") + item
        for item in (b"", *codes)
    ]
    made.PixelData = b"".join(items)
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return saved(made)


def swelling_rle(side: int = 1000) -> bytes:
    """Runs that unpack to 64 times their bytes, 128 times the picture."""
    return encapsulated([rle(side * side)], RLE, side)


def rle(runs: int) -> bytes:
    """Code this many runs of 128 equal bytes."""
    header = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    return header + b"\x81\x07" * runs


def many_components(side: int = 3000, components: int = 1000) -> bytes:
    """A JPEG 2000 code of one kilobyte that states a thousand colours a pixel."""
    size = side.to_bytes(4, "big")
    siz = b"\0\0" + size * 2 + bytes(8) + size * 2 + bytes(8)
    siz += components.to_bytes(2, "big") + b"\x07\x01\x01" * components
    code = b"\xff\x4f\xff\x51" + (len(siz) + 2).to_bytes(2, "big") + siz
    cod = b"\0\0\0\x01\0\x01\x04\x04\0\0"
    code += b"\xff\x52" + (len(cod) + 2).to_bytes(2, "big") + cod
    qcd = b"\x40" + bytes(13)
    code += b"\xff\x5c" + (len(qcd) + 2).to_bytes(2, "big") + qcd
    code += b"\xff\x90\0\x0a\0\0\0\0\0\0\0\x01\xff\x93" + bytes(16) + b"\xff\xd9"
    return encapsulated([code], "1.2.840.10008.1.2.4.90", side)
