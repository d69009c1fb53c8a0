"""Files that mean harm, sent to the web app: each a clear error, the next is judged."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.samples.coded_dicom import fatal
from tests.samples.hostile_files import HOSTILE
from tests.samples.series_uploads import finish, nifti
from tests.samples.uploads import form
from tests.samples.zips import fatal_zip
from tumorlens.settings import Settings

SCANS, PICTURES = "/api/v1/scans", "/api/v1/predictions"


@pytest.fixture
def settings() -> Settings:
    """What the limits of the server would keep out is let through to the readers."""
    return Settings(upload_mb=64, scan_mb=64, files_per_upload=5)


def judged(client: FlaskClient, *files: tuple[str, bytes]) -> dict[str, object]:
    """Send a scan and wait until it is judged or refused."""
    response = client.post(SCANS, **form(*files))
    assert response.status_code == 202
    return finish(client, response.headers["Location"])


def failure(status: dict[str, object], name: str) -> str:
    """Check that a scan failed as it should, and return the error's code."""
    assert status["state"] == "failed", name
    error = status["error"]
    assert isinstance(error, dict)
    assert error["code"] != "internal_error", (name, error)
    assert "hostile" in error["message"], (name, error)
    assert error["mend"], name
    return str(error["code"])


def test_each_as_a_scan(client: FlaskClient, tmp_path: Path) -> None:
    makers = {name: make() for name, make in HOSTILE.items()}
    for name, data in {**makers, **fatal(tmp_path)}.items():
        failure(judged(client, ("hostile", data)), name)
    assert judged(client, ("good.nii.gz", nifti()))["state"] == "done"


def test_many_that_end_their_decoder_sent_as_a_folder(
    client: FlaskClient, tmp_path: Path
) -> None:
    code = fatal(tmp_path)["jpeg-ls"]
    status = judged(client, *((f"hostile-{i}.dcm", code) for i in range(20)))
    error = status["error"]
    assert isinstance(error, dict)
    assert error["code"] == "too_many_broken"
    assert error["message"].startswith("20 files holds 5 files whose pixel data end")
    status = judged(client, ("hostile.zip", fatal_zip(20)))
    assert failure(status, "zip") == "too_many_broken"
    assert judged(client, ("good.nii.gz", nifti()))["state"] == "done"


def test_each_as_a_picture(
    client: FlaskClient, tmp_path: Path, lesion_png: bytes
) -> None:
    makers = {name: make() for name, make in HOSTILE.items()}
    for name, data in {**makers, **fatal(tmp_path)}.items():
        both = (("hostile", data), ("good.png", lesion_png))
        response = client.post(PICTURES, **form(*both))
        assert response.status_code == 200, (name, response.text)
        assert response.json is not None
        (failed,) = response.json["failures"]
        assert "hostile" in failed["message"] and failed["mend"], (name, failed)
        (found,) = response.json["predictions"]
        assert found["decision"] == "glioma", name
