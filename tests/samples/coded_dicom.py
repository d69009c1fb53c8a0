"""DICOM files whose pixels are compressed: shipped by pydicom, or coded by gdcm."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import gdcm
import numpy as np
from pydicom import Dataset, dcmread
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


_HIGH_THROUGHPUT = "1.2.840.10008.1.2.4.20{}"


def high_throughput(kind: str, number: int = 1) -> Dataset:
    """Make a drawn slice of high-throughput JPEG 2000, which nothing here writes.

    It is `dicom_files.head` of 32 x 32 pixels: ``grey`` and ``signed`` in 16 bits, the
    latter 500 lower; ``colour`` a 16th of it in three channels of 8 bits.
    """
    pixels = np.zeros((32, 32), {"grey": "u2", "signed": "i2", "colour": "u1"}[kind])
    made = slice_file(pixels)
    made.file_meta.TransferSyntaxUID = UID(_HIGH_THROUGHPUT.format(number))
    if kind == "colour":
        made.SamplesPerPixel, made.PlanarConfiguration = 3, 0
        made.PhotometricInterpretation = "RGB"
    made.PixelData = encapsulate([base64.b64decode(_HIGH_THROUGHPUT_CODE[kind])])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return made


_HIGH_THROUGHPUT_CODE = {
    "grey": (
        "/0//UQApQAAAAAAgAAAAIAAAAAAAAAAAAAAAIAAAACAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAA"
        "wAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+Q"
        "AAoAAAAAAwMAAf+TwAAmYf0FB3QAwAATQAATQAATAOz8Aod0AOr8Aod0AGz9Aod0AMAAFVAABUwAAV"
        "JP4SPPtv4AoZQAH50JTFYAopQAzr/8WuUBBrQAwAAW3AABbkAAFuiW3eYEzxhUAC0Vi3ZfUGQDRcYa"
        "7Q0qRiARlwCYgTMDASQMca4jwAhKS6kbhMXIaAHJJEYwApgAgJPU1MbdDEgDklzTSgCyBEACEmv+AE"
        "pQjEBHOADAABeoQAAXpsAAF6iAI3HqDm2wsLGpdwmUaNr4yAX3qdHxQQMGEhGUFEXWwMZUQAkAFVDe"
        "HJmmARGVwBrTgEUDFrDGRKQERQn8AAFHQIODAL/TmRNFHgghWEEwVAFpcJrub1T7gAwbQ6kZMaCkvr"
        "FtE9MQ/AEErAZjWGzUtlwDBgINGGuccCYiogjKx6S4GcrHIiiUEv4BoiDkhQIFCkjMcWNoIwMAQSBU"
        "AXNC1jE3uzfcYJ1/E1aKuhvwuqHUQRD4u4HlMG6g7gb+CIQb+AuD5QlYScE/lm8I44Yw/GOZlRRS+A"
        "BNd+FAIBQ8QQI0RQK+Se4gGBCgQihYAcAAL3OAAF7xAAC9ZK4LP0UWyq5Q4XgKHOw+FSX4jUsJKpGg"
        "V/A3T4lyJw523YmDBw8ePPhEN25EvXnjhqgT3TwVDMcbMBzcG+CC4Tx9GsqNUN089dZPgJVHKGoGhn"
        "y0w2yHv0Thj/WARTThFHbCK0XBgWUIjyNgLCCgR/CD2wLuxMGDB09040aFiKiXuiHoRtQbUQW7caMK"
        "FTg3KCmR4A1wN1FDuXFDReUGuPeNG/BQo3LDFTzqG6JcN2+IKjiqG3fi4IMPnujGxn7nOe6hj2tBuB"
        "hFHbCKxBgF/QiMgQGY4DGRQxLPhAJcM+SD5hBQIQBNIoi/3wLAwMBFWQkcDIBT1OAAAxcFXHAwwGBw"
        "igocYGDgigouOMAVFRg4uKKAAy44RQUGBv7WT6eDHYYKwwTQNDIxWGUDf9FGBHHAYSP2no4HyjEaey"
        "FMYKDH8YPZAv/Z"
    ),
    "signed": (
        "/0//UQApQAAAAAAgAAAAIAAAAAAAAAAAAAAAIAAAACAAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAA"
        "wAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+Q"
        "AAoAAAAAAwIAAf+TwAAlSQGHdADAABNAABNAABMA7PwCh3QA6vwCh3QAbP0Ch3QAwAAVUAAFTAABUk"
        "/hI8+2/gChlAAfnQlMVgCilADOv/xa5QEGtADAABbcAAFuQAAW6Jbd5gTPGFQALRWLdl9QZANFxhrt"
        "DSpGIBGXAJiBMwMBJAxxriPACEpLqRuExchoAckkRjACmACAk9TUxt0MSAOSXNNKALIEQAISa/4ASl"
        "CMQEc4AMAAF6hAABemwAAXqIAjceoObbCwsal3CZRo2vjIBfep0fFBAwYSEZQURdbAxlRACQAVUN4c"
        "maYBEZXAGtOARQMWsMZEpARFCfwAAUdAg4MAv9OZE0UeCCFYQTBUAWlwmu5vVPuADBtDqRkxoKS+sW"
        "0T0xD8AQSsBmNYbNS2XAMGAg0Ya5xwJiKiCMrHpLgZysciKJQS/gGiIOSFAgUKSMxxY2gjAwBBIFQB"
        "c0LWMTe7N9xgnX8TVoq6G/C6odRBEPi7geUwbqDuBv4IhBv4C4PlCVhJwT+WbwjjhjD8Y5mVFFL4AE"
        "134UAgFDxBAjRFAr5J7iAYEKBCKFgBwAAvc4AAXvEAAL1krgs/RRbKrlDheAoc7D4VJfiNSwkqkaBX"
        "8DdPiXInDnbdiYMHDx48+EQ3bkS9eeOGqBPdPBUMxxswHNwb4ILhPH0ayo1Q3Tz11k+AlUcoagaGfL"
        "TDbIe/ROGP9YBFNOEUdsIrRcGBZQiPI2AsIKBH8IPbAu7EwYMHT3TjRoWIqJe6IehG1BtRBbtxowoV"
        "ODcoKZHgDXA3UUO5cUNF5Qa4940b8FCjcsMVPOobolw3b4gqOKobd+Lggw+e6MbGfuc57qGPa0G4GE"
        "UdsIrEGAX9CIyBAZjgMZFDEs+EAlwz5IPmEFAhAE0iiL/fAsDAwEVZCRwMgFPU4AADFwVccDDAYHCK"
        "ChxgYOCKCi44wBUVGDi4ooADLjhFBQYG/tZPp4MdhgrDBNA0MjFYZQN/0UYEccBhI/aejgfKMRp7IU"
        "xgoMfxg9kC/9k="
    ),
    "colour": (
        "/0//UQAvQAAAAAAgAAAAIAAAAAAAAAAAAAAAIAAAACAAAAAAAAAAAAADBwEBBwEBBwEB/1AACAACAA"
        "AAA/9SAAwAAgABAQUEBEAB/1wAEyBQWFhYWFhYWFhYWFhYUFBQ/2QAFwABT3BlbkpQSCBWZXIgMC4y"
        "Ni4zLv+QAAoAAAAAAgsAAf+TwBKA0QEHdAAAAMAJYASwAlDMAId0AMoAh3QA1ACHdAAAAMAKiAE8AJ"
        "wR46z+ACGUAM+pRAAilAB8rOUABrQAAADAC0oAWnAC1NhGTlHMlHgHJECq7A0qaRGWAJgTAMDQGoyJ"
        "pEFlZACJJHkClwA2RIUNMJHFBnEgEmH+AEpQ0kc3AAAAwAutgBdTAC7I3AHyQO8g/cwIFB7Tuf5LGA"
        "hzvtAjqgihykM4YBkRRZ1sZfILNELYf8wCP9IBUH+2k0dweVNsAKwI0xJQ9TjkZcTkdesDg8HMq0Zl"
        "qU2y1vbBbUAdwgE8hgwCz0NwATaQHgAGchFwAQgEYCEjgScHRVB4MhIEE134wAih4MEaLBXyT33iKZ"
        "TDAQAAwBelwBeowBd+6lTJSo2p6US2SJ3QyS4T8l199957P2NQKQb6zLRGqVnR1syZjNRM1k+CVRyh"
        "qBoZ8tMNsh79E+/1hU09R26tF2Flo8jYC4pf49QCvnvvM04GehpnUDGtcUo1A/lctJnJmCajVUynk6"
        "E9C6QpUDuN777vM/7WPw8Dnuu9rQbgdR26sCIX9owCZjgMZFJLPwJcM+SD5xQSE0gEv9gCqjqRGkAz"
        "3ahO2gYAbqYaVW3aNtpUdZs0bTNV1dZPp5nbCthNA0M5Whg/+gxI44UkftPdD5cjT2Qp4Ux/w9MCAA"
        "D/2Q=="
    ),
}
