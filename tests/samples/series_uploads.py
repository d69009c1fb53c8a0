"""Drawn scans as files and archives, and how a test waits for one."""

from __future__ import annotations

import gzip
import io
import time
import zipfile
from typing import Any

import nibabel
import numpy as np
from flask.testing import FlaskClient

from tests.conftest import draw_phantom
from tests.samples.dicom_files import saved, slice_file
from tests.samples.uploads import form

PATIENCE_SECONDS = 120.0
"""Far above what a scan takes, for machines that do other work meanwhile."""

LESION = (90, 110, 30)


def head_slices(count: int = 8, lesion_at: range = range(3, 6)) -> np.ndarray:
    """Draw axial slices, shape (count, 256, 256), uint16."""
    return np.stack(
        [
            draw_phantom(lesion=LESION if z in lesion_at else None, seed=z)
            for z in range(count)
        ]
    ).astype(np.uint16)


def nifti(count: int = 8, lesion_at: range = range(3, 6), gap_mm: float = 8.0) -> bytes:
    """Pack a drawn head as .nii.gz: 1 mm pixels, axial slices from the feet up."""
    slices = head_slices(count, lesion_at)
    # Columns run to the left and rows to the back: against both of NIfTI's axes.
    voxels = np.transpose(slices, (2, 1, 0))
    affine = np.diag([-1.0, -1.0, gap_mm, 1.0])
    affine[:2, 3] = 128.0
    return gzip.compress(nibabel.Nifti1Image(voxels, affine).to_bytes(), 1)


def dark_nifti() -> bytes:
    """Pack a scan that shows nothing at all."""
    voxels = np.zeros((256, 256, 8), np.uint16)
    return gzip.compress(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes(), 1)


def dicom(
    count: int = 6, lesion_at: range = range(2, 4), series: str = "1.2.3.4", **tags: Any
) -> list[tuple[str, bytes]]:
    """Write a drawn head as DICOM files whose names name a person."""
    all_tags = {"SeriesInstanceUID": series, "PixelSpacing": [1, 1], **tags}
    return [
        (
            f"DOE^JANE-{z}.dcm",
            saved(slice_file(pixels, 8.0 * z, **all_tags)),
        )
        for z, pixels in enumerate(head_slices(count, lesion_at))
    ]


def packed(*members: tuple[str, bytes]) -> bytes:
    """Make a zip, the same at any time: where it names a test, it must not change."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            dated = zipfile.ZipInfo(name)
            archive.writestr(dated, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def two_series() -> bytes:
    """Make a zip of a T2 series and a T1 series of a drawn head."""
    t2 = {"EchoTime": 100, "RepetitionTime": 4000, "ScanningSequence": "SE"}
    t1 = {"EchoTime": 10, "RepetitionTime": 500, "ScanningSequence": "SE"}
    return packed(
        *((f"a/{name}", data) for name, data in dicom(series="1.2.3.5", **t2)),
        *((f"b/{name}", data) for name, data in dicom(series="1.2.3.6", **t1)),
    )


def send(client: FlaskClient, *files: tuple[str, bytes], **fields: str) -> str:
    """Send a scan from the page; return the address of its page."""
    response = client.post("/scans", **form(*files, **fields))
    assert response.status_code == 303, response.text
    return str(response.location)


def finish(client: FlaskClient, status: str, until: str = "") -> dict[str, Any]:
    """Wait until a scan is over, or in the state `until`; return its status."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        found: dict[str, Any] | None = client.get(status).json
        assert found is not None
        over = found["state"] in {"done", "failed", "stopped"}
        if over or found["state"] == until:
            return found
        time.sleep(0.02)
    raise AssertionError(f"The scan is still {found['state']}.")


def judged(client: FlaskClient, *files: tuple[str, bytes]) -> str:
    """Send a scan, wait until it is judged, and return its page."""
    page = send(client, *files)
    assert finish(client, f"{page}/status")["state"] == "done"
    return page
