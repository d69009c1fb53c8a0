"""A disk that is really full: what was accepted is judged once there is room."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.samples.gate import gated
from tests.samples.series_uploads import PATIENCE_SECONDS, finish, nifti
from tests.samples.small_disk import fill, mounted
from tests.samples.uploads import form
from tests.web.test_overload import site
from tumorlens import SeriesClassifier
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.uploads.store import Store

URL = "/api/v1/scans"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", 12) as place:
        yield place


def test_a_scan_waits_for_room_and_is_judged_then(
    small_disk: Path,
    classifier: SeriesClassifier,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    lesion_png: bytes,
) -> None:
    waiting, gate = gated(classifier)
    with closing(Store(small_disk / "store", 3600, 2**30)) as store:
        client = create_app(waiting, store, settings).test_client()
        sent = client.post(URL, **form(("a.nii.gz", nifti())))
        assert sent.status_code == 202
        place = sent.headers["Location"]
        gate.wait_for_it()
        filler = fill(small_disk)
        refused = client.post(URL, **form(("b.nii.gz", nifti())))
        assert refused.status_code == 507
        assert refused.json is not None
        assert refused.json["error"]["code"] == "disk_full"
        picture = client.post("/api/v1/predictions", **form(("a.png", lesion_png)))
        assert picture.status_code == 507
        page = client.post("/analyses", **form(("a.png", lesion_png)))
        assert page.status_code == 507
        unready = client.get("/readyz")
        assert unready.status_code == 503
        assert unready.json is not None and "full" in unready.json["status"]
        assert client.get("/healthz").status_code == 200
        gate.open()
        # Not even that it failed can be written: it stays as it is.
        end = time.monotonic() + PATIENCE_SECONDS
        while caplog.text.count("A step failed") < 2:
            assert time.monotonic() < end
            time.sleep(0.1)
        found = client.get(place).json
        assert found is not None and found["state"] in {"reading", "judging"}
        filler.unlink()
        assert client.get("/readyz").status_code == 200
        assert finish(client, place)["state"] == "done"


def test_a_request_that_does_not_fit_onto_the_disk_is_refused(
    tiny_bundle: Path, small_disk: Path
) -> None:
    names = {"TMPDIR": str(small_disk)}
    store = ("--store", str(small_disk.parent / "store"))
    with site(tiny_bundle, *store, **names) as server:
        # It is on this disk that large bodies wait.
        assert server.post("/api/v1/scans", ("a.zip", bytes(3 * 2**20))).status == 202
        fill(small_disk)
        answer = server.post("/api/v1/scans", ("a.zip", bytes(3 * 2**20)))
        assert answer.status == 507
        assert answer.json["error"]["code"] == "disk_full"
        assert server.get("/healthz").status == 200
