"""Files that mean harm, each under the name of what it does."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import UID

from tests.samples import dicom_files as dicom_samples
from tests.samples import zips as zip_samples
from tests.samples.coded_dicom import (
    encapsulated,
    fatal,
    many_components,
    shipped,
    spinning,
    swelling_rle,
)
from tests.samples.dicom_files import saved, slice_file
from tests.samples.pictures import (
    blank_png,
    many_scans,
    one_strip_for_all_pages,
    swelling_profile,
)
from tests.samples.zips import pack

DIM, DATATYPE, SFORM_CODE, SROW = 40, 70, 254, 280
DIM_2 = 16
PNG_END = b"IEND\xaeB`\x82"


def huge_rle() -> bytes:
    """State 4 gigapixels over four bytes of code."""
    made = slice_file(Rows=65535, Columns=65535)
    made.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.5")
    made.PixelData = b"\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0\x04\0\0\0abcd"
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return saved(made)


def no_decoder() -> bytes:
    """Name a transfer syntax that nobody has heard of."""
    data = saved(slice_file())
    return data.replace(
        b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x14\x001.2.840.10008.9.9.9\0"
    )


def twelve_bit_jpeg() -> bytes:
    """Pass a JPEG of 12 bits, which pydicom ships and no decoder here reads, for MR."""
    made = dcmread(shipped("JPEG-lossy.dcm"))
    made.Modality, made.SOPClassUID = "MR", UID(dicom_samples.MR)
    return saved(made)


def text_rows() -> bytes:
    """Give Rows as text."""
    rows = b"\x28\0\x10\0US\x02\0\x40\0"
    data = saved(slice_file())
    assert rows in data
    return data.replace(rows, b"\x28\0\x10\0LO\x02\0ab")


def nifti(
    shape: tuple[int, ...] = (36, 40, 34), more: int = 0, values: float = 1.0
) -> bytes:
    """One .nii of float32, whose header states a shape over 36 x 40 x 34 voxels."""
    import nibabel

    voxels = np.full((36, 40, 34), values, np.float32)
    data = bytearray(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes())
    struct.pack_into(f"<{len(shape) + 1}h", data, DIM, len(shape), *shape)
    return bytes(data) + bytes(more)


def claiming() -> bytes:
    """50 KB that claim 107 GB."""
    data = gzip.compress(nifti((30_000, 30_000, 30)) + bytes(45_000_000), 9)
    assert len(data) < 60_000
    return data


def flat_nifti() -> bytes:
    """Say that the sform holds, and fill it with zeros."""
    data = bytearray(nifti())
    struct.pack_into("<h", data, SFORM_CODE, 2)
    struct.pack_into("<12f", data, SROW, *[0.0] * 12)
    return bytes(data)


def endless_nifti2() -> bytes:
    """State sides that no memory holds, in the 64 bits which NIfTI-2 gives them."""
    import nibabel

    voxels = np.ones((36, 40, 34), np.float32)
    data = bytearray(nibabel.Nifti2Image(voxels, np.eye(4)).to_bytes())
    struct.pack_into("<4q", data, DIM_2, 3, 2**62, 2**62, 2**62)
    return bytes(data)


def nrrd(line: str) -> bytes:
    """Make a NRRD volume whose header ends in this line."""
    head = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: LPS\nendian: little\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\n"
    )
    sizes = "" if line.startswith("sizes") else "sizes: 40 40 40\n"
    return f"{head}{sizes}{line}\n\n".encode() + bytes(2 * 40**3)


def many_elements() -> bytes:
    """Append 400,000 private numbers."""
    numbers = (
        struct.pack("<HH2sHH", 0x7FE3, i % 65536, b"US", 2, 1) for i in range(400_000)
    )
    return saved(slice_file()) + b"".join(numbers)


def float_pixels() -> bytes:
    """Hold the pixels as floats, as a parametric map does."""
    made = slice_file(BitsAllocated=32)
    del made.PixelData
    made.FloatPixelData = np.ones((64, 64), np.float32).tobytes()
    return saved(made)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "deflated DICOM of 600 MB": dicom_samples.bomb,
    "deflated DICOM of 60 MB": partial(dicom_samples.bomb, 60),
    "300 nested sequences": dicom_samples.nested,
    "300 open sequences": dicom_samples.nested_open,
    "RLE of 65535 x 65535": huge_rle,
    "RLE that swells": swelling_rle,
    "JPEG 2000 of 1000 colours": many_components,
    "JPEG-LS that counts for ever": spinning,
    "Rows as text": text_rows,
    "JPEG of 12 bits": twelve_bit_jpeg,
    "400,000 elements": many_elements,
    "float pixel data": float_pixels,
    "no Rows": lambda: saved(slice_file(Rows=None)),
    "RescaleSlope 0": lambda: saved(slice_file(RescaleSlope=0)),
    "unknown syntax": no_decoder,
    "syntax without decoder": lambda: encapsulated(
        [b"\xff\x4f" + bytes(99)], "1.2.840.10008.1.2.4.201", 64
    ),
    ".nii.gz of 107 GB": claiming,
    ".nii.gz of 125 million voxels": lambda: gzip.compress(
        nifti((500, 500, 500), 60_000_000), 1
    ),
    "NIfTI with NaN": lambda: nifti(values=float("nan")),
    "NIfTI of no rows": lambda: nifti((36, 0, 34)),
    "NIfTI of five dimensions": lambda: nifti((36, 40, 34, 1, 2)),
    "NIfTI with an sform of zeros": flat_nifti,
    "NIfTI-2 of 2^186 voxels": endless_nifti2,
    "zip that climbs": lambda: pack(("../../etc/passwd", b"x")),
    "zip with an absolute path": lambda: pack(("/etc/passwd", b"x")),
    "zip with a link": lambda: pack((zip_samples.link(), b"/etc/passwd")),
    "zip of 10,001 files": lambda: pack(*((str(i), b"") for i in range(10_001))),
    "zip in a zip": lambda: pack(("a.zip", pack(("b", b"x")))),
    "zip that says less": partial(zip_samples.lying, 100),
    "zip that says more": partial(zip_samples.lying, 10_000),
    "encrypted zip": zip_samples.encrypted,
    "zip of 100 MB of nothing": lambda: pack(("a", bytes(100 * 2**20))),
    "zip of many blank files": lambda: pack(
        *((str(i), b"BM" + bytes(2**20 - 2)) for i in range(300))
    ),
    "zip of blank pictures": lambda: pack(
        *((f"{i}.png", blank_png(3400)) for i in range(8))
    ),
    "blank PNG of 20 million pixels": partial(blank_png, 4400, 6, 16),
    "zip whose members share their bytes": zip_samples.overlapping,
    "zip of files that end the decoder": zip_samples.fatal_zip,
    "zip of broken pictures": lambda: pack(
        *((f"{i}.png", blank_png(1000)[:-60] + PNG_END) for i in range(300))
    ),
    "PNG with a profile of 600 MB": swelling_profile,
    "JPEG of 3000 scans": many_scans,
    "TIFF whose pages share a strip": one_strip_for_all_pages,
    "TIFF of 10,000 pages": partial(one_strip_for_all_pages, 10_000, 64),
    "TIFF of previews without end": partial(
        one_strip_for_all_pages, 3, 64, previews=True, endless=True
    ),
    "NRRD with a path": lambda: nrrd("data file: ../../../../etc/passwd"),
    "NRRD of 6e28 voxels": lambda: nrrd("sizes: 4000000000 4000000000 4000000000"),
}
"""What has to end in an error of ours."""


def hostile_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each; made one by one."""
    for name, make in HOSTILE.items():
        yield name, make()
    yield from fatal(folder).items()
