"""Good files to start from, small ones of each format.

Drawn here by the library that writes the format, or shipped with pydicom and
nibabel. Where ``TUMORLENS_DATA`` names the data sets, some of theirs go along.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
from nibabel.freesurfer.mghformat import MGHImage
from nibabel.testing import data_path
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from tests.samples.coded_dicom import shipped
from tests.samples.pictures import drawn_heic
from tests.samples.zips import tarred

SIDE = 40
_LARGEST = 300_000
_FROM_SETS = 3


def seeds_of(name: str) -> list[bytes]:
    """Return good files of a format, the same ones each time."""
    return [*_SEEDS[name](), *_from_sets(name)]


def _head(depth: int | None = None) -> NDArray[np.uint8]:
    """Draw a disc with texture, shape (SIDE, SIDE) or (depth, SIDE, SIDE)."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = np.hypot(rows - SIDE / 2, columns - SIDE / 2) < 0.4 * SIDE
    shape = (SIDE, SIDE) if depth is None else (depth, SIDE, SIDE)
    return (disc * rng.integers(60, 255, shape)).astype(np.uint8)


def _picture(kind: str, *variants: dict[str, Any]) -> list[bytes]:
    """Save the head by Pillow; a variant may name the mode."""
    found = []
    for variant in variants:
        options = dict(variant)
        image = Image.fromarray(_head()).convert(options.pop("mode", "L"))
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        found.append(buffer.getvalue())
    return found


def _wide(kind: str) -> bytes:
    """Save 16-bit colours, which only OpenCV writes (and reads)."""
    import cv2

    pixels = cv2.merge([_head().astype(np.uint16) * 257] * 3)
    pixels[..., 1] //= 2
    done, data = cv2.imencode(kind, pixels)
    assert done
    return bytes(data)


def _png() -> list[bytes]:
    grey = Image.fromarray(_head().astype(np.uint16) * 257)
    buffer = io.BytesIO()
    grey.save(buffer, "PNG")
    plain = _picture(
        "PNG",
        {},
        *({"mode": mode} for mode in ("1", "P", "LA", "RGB", "RGBA")),
        {"mode": "P", "transparency": 0},
        {"dpi": (200, 100)},
    )
    return [*plain, buffer.getvalue(), _wide(".png")]


def _jpeg() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _picture(
        "JPEG",
        {},
        {"mode": "RGB", "exif": exif},
        {"mode": "CMYK"},
        {"progressive": True},
        {"mode": "RGB", "subsampling": 2, "optimize": True},
        {"dpi": (100, 200)},
    )


def _tiff() -> list[bytes]:
    pages = [Image.fromarray(_head()) for _ in range(3)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    kinds = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    packed = _picture("TIFF", *({"compression": kind} for kind in kinds))
    others = _picture(
        "TIFF",
        *({"mode": mode} for mode in ("1", "RGB", "F", "I", "LAB")),
        {"dpi": (200, 100)},
    )
    return [*packed, *others, buffer.getvalue(), _wide(".tif")]


def _gif() -> list[bytes]:
    frames = [Image.fromarray(_head()) for _ in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return [*_picture("GIF", {}, {"mode": "P", "interlace": 1}), buffer.getvalue()]


def _dicom() -> list[bytes]:
    """Take the MR slice of pydicom in each syntax it comes in, and recode it."""
    from fuzz.dicom_seeds import compressed, drawn

    found = []
    for kind in ("", "_RLE", "_jp2klossless", "_jpeg_ls_lossless", "_implicit"):
        found.append(shipped(f"MR_small{kind}.dcm").read_bytes())
    found.append(shipped("MR_small_bigendian.dcm").read_bytes())
    # A colour JPEG that passes for MR.
    other = dcmread(shipped("SC_rgb_jpeg_gdcm.dcm"))
    other.Modality, other.SOPClassUID = "MR", "1.2.840.10008.5.1.4.1.1.4"
    buffer = io.BytesIO()
    other.save_as(buffer)
    return [*found, buffer.getvalue(), *compressed(), *drawn()]


def _nifti() -> list[bytes]:
    affine = np.diag([-1.0, -1.0, 4.0, 1.0])
    affine[:3, 3] = (20.0, 20.0, -10.0)
    found = []
    for dtype in ("u1", "<i2", "<f4", "<f8"):
        voxels = _head(6).T.astype(dtype)
        image = nibabel.Nifti1Image(voxels, affine, dtype=voxels.dtype)
        found.append(bytes(image.to_bytes()))
    header = nibabel.Nifti1Header(endianness=">")
    voxels = _head(6).T.astype(">i2")
    found.append(bytes(nibabel.Nifti1Image(voxels, affine, header).to_bytes()))
    found.append(bytes(nibabel.Nifti2Image(voxels, affine).to_bytes()))
    four = np.stack([_head(6).T] * 2, axis=-1)
    found.append(bytes(nibabel.Nifti1Image(four, affine).to_bytes()))
    grey = np.zeros(_head(6).T.shape, [(name, "u1") for name in "RGB"])
    for name in "RGB":
        grey[name] = _head(6).T
    found.append(bytes(nibabel.Nifti1Image(grey, affine).to_bytes()))
    return [*found, (Path(data_path) / "anatomical.nii").read_bytes()]


def _nifti_gz() -> list[bytes]:
    return [gzip.compress(data, 1, mtime=0) for data in _nifti()[1:4]]


def _gzip() -> list[bytes]:
    """Pack pictures and DICOM files, which are unpacked before they are read."""
    plain = (_png()[0], _jpeg()[0], shipped("MR_small.dcm").read_bytes())
    return [gzip.compress(data, 1, mtime=0) for data in plain]


def _nrrd() -> list[bytes]:
    found = []
    place = {"space": "LPS", "space directions": np.eye(3), "space origin": [0, 0, 0]}
    spacings = {"spacings": [1.0, 1.0, 4.0]}
    for encoding in ("raw", "gzip"):
        for fields in (place, spacings):
            buffer = io.BytesIO()
            voxels = _head(6).T.astype("<i2")
            nrrd.write(buffer, voxels, {**fields, "encoding": encoding})
            found.append(buffer.getvalue())
    return found


def _zip() -> list[bytes]:
    from fuzz.dicom_seeds import series

    volume, picture = _nifti_gz()[0], _png()[0]
    slices = [(f"s/{i}", data) for i, data in enumerate(series())]
    sidecar = b'{"EchoTime": 0.1, "RepetitionTime": 4.5, "ScanningSequence": "SE"}'
    return [
        _packed(slices),
        _packed(
            [
                ("sub-1/anat/sub-1_T1w.nii.gz", volume),
                ("sub-1/anat/sub-1_T1w.json", sidecar),
                ("sub-1/anat/sub-1_desc-brain_mask.nii.gz", volume),
            ]
        ),
        _packed([("a.nii.gz", volume), ("b.png", picture)]),
        _packed([*slices, ("deep/c.png", picture), ("notes.txt", b"x")], stored=True),
        _packed([("one.zip", _packed(slices)), ("b.png", picture)], stored=True),
    ]


def _packed(members: list[tuple[str, bytes]], stored: bool = False) -> bytes:
    buffer = io.BytesIO()
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def _tar() -> list[bytes]:
    """Pack slices, volumes in two files, and archives, each kind of tar once."""
    from fuzz.dicom_seeds import series

    slices = [(f"./{'s' * 99}/{i}.dcm", data) for i, data in enumerate(series())]
    voxels = _head(6).T.astype("<i2")
    header = nibabel.Nifti1Pair(voxels, np.diag([-1.0, -1.0, 4.0, 1.0])).header
    files = {"a.hdr.gz": bytes(header.binaryblock), "a.img.gz": voxels.tobytes("F")}
    both = [(name, gzip.compress(data, 1, mtime=0)) for name, data in files.items()]
    inner = tarred(("a.png", _png()[0]), ("b.txt", b"x"))
    return [
        tarred(*slices, kind=tarfile.GNU_FORMAT),
        tarred(*slices, packed=False),
        tarred(*both, packed=False, kind=tarfile.USTAR_FORMAT),
        tarred(("a.tgz", inner), ("b.zip", _packed(slices[:1])), packed=False),
    ]


def _mgh() -> list[bytes]:
    affine = np.diag([-1.0, -1.0, 4.0, 1.0])
    found = []
    for dtype in (np.uint8, np.int16, np.float32):
        image = MGHImage(_head(6).T.astype(dtype), affine)
        found.append(bytes(image.to_bytes()))
    return [*found, gzip.compress(found[1], 1, mtime=0)]


def _metaimage() -> list[bytes]:
    voxels = _head(6).astype("<i2").tobytes()
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\n"
        "BinaryDataByteOrderMSB = False\n{}TransformMatrix = 1 0 0 0 1 0 0 0 1\n"
        "Offset = 1 2 3\nElementSpacing = 1 1 4\nDimSize = 40 40 6\n"
        "ElementType = MET_SHORT\nElementDataFile = {}\n"
    )
    return [
        head.format("", "LOCAL").encode() + voxels,
        head.format("CompressedData = True\n", "LOCAL").encode()
        + zlib.compress(voxels),
        head.format("", "a.raw").encode(),
    ]


def _heic() -> list[bytes]:
    return [drawn_heic()]


def _avif() -> list[bytes]:
    frames = [Image.fromarray(_head()).convert("RGB") for _ in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "AVIF", save_all=True, append_images=frames[1:])
    return [*_picture("AVIF", {"mode": "RGB"}), buffer.getvalue()]


_SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "png": _png,
    "jpeg": _jpeg,
    "tiff": _tiff,
    "gif": _gif,
    "webp": lambda: _picture("WEBP", {}, {"lossless": True}, {"mode": "RGBA"}),
    "bmp": lambda: _picture("BMP", *({"mode": m} for m in ("1", "L", "P", "RGB"))),
    "dicom": _dicom,
    "nifti": _nifti,
    "nifti-gz": _nifti_gz,
    "gzip": _gzip,
    "nrrd": _nrrd,
    "mgh": _mgh,
    "metaimage": _metaimage,
    "heic": _heic,
    "avif": _avif,
    "zip": _zip,
    "tar": _tar,
}

FORMATS = tuple(_SEEDS)

_IN_SETS = {
    "png": "cheng/images/*.png",
    "jpeg": "notumor/images/*.jp*g",
    "tiff": "lgg/images/*.tif",
    "dicom": "dicom/**/*.dcm",
    "nifti-gz": "volumes/*.nii.gz",
    "nrrd": "volumes/*.nrrd",
}


def _from_sets(name: str) -> Iterator[bytes]:
    folder = os.environ.get("TUMORLENS_DATA")
    if not folder or name not in _IN_SETS:
        return
    count = 0
    for path in sorted(Path(folder).glob(_IN_SETS[name])):
        if path.stat().st_size <= _LARGEST:
            yield path.read_bytes()
            count += 1
            if count == _FROM_SETS:
                return
