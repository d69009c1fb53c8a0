"""Programs send whole scans, ask how far they are, and fetch what they show."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.imaging.test_archive import encrypted, lying
from tests.samples.gate import Gate, gated
from tests.samples.series_uploads import (
    PATIENCE_SECONDS,
    dicom,
    finish,
    head_slices,
    judged,
    nifti,
    packed,
    send,
    two_series,
)
from tests.samples.uploads import form
from tumorlens import Prediction, SeriesClassifier
from tumorlens.errors import OutputError
from tumorlens.imaging.read import read_study
from tumorlens.jobs.database import Job, JobState
from tumorlens.jobs.queue import RetryPolicy
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.app_state import AppState, app_state
from tumorlens.web.uploads import series_jobs
from tumorlens.web.uploads.store import STAGE, Store
from tumorlens.web.uploads.upload import Kind

URL = "/api/v1/scans"


def state_of(client: FlaskClient) -> AppState:
    with client.application.app_context():
        return app_state()


@pytest.fixture
def held(
    classifier: SeriesClassifier, store: Store, settings: Settings
) -> Iterator[tuple[FlaskClient, Gate]]:
    """A client of an app whose network waits at a gate."""
    waiting, gate = gated(classifier)
    yield create_app(waiting, store, settings).test_client(), gate
    gate.open()


def post(client: FlaskClient, *files: tuple[str, bytes], **fields: str) -> str:
    response = client.post(URL, **form(*files, **fields))
    assert response.status_code == 202, response.text
    return str(response.headers["Location"])


def files_left(store: Store, count: int) -> list[Path]:
    """The store's files, once those of what is over are gone: a moment after it."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        files = list((store.folder / "files").iterdir())
        if len(files) == count:
            return files
        time.sleep(0.02)
    raise AssertionError(f"There are not {count} files, but {len(files)}.")


def test_a_scan_gives_what_judging_it_gives(
    client: FlaskClient, classifier: SeriesClassifier
) -> None:
    data = nifti()
    place = post(client, ("head.nii.gz", data))
    status = finish(client, place)
    assert status["state"] == "done"
    assert status["progress"]["fraction"] == 1.0
    assert status["research_use_only"] == RESEARCH_USE
    (series,) = status["series"]
    assert (series["plane"], series["slices"]) == ("axial", 8)
    found = client.get(series["links"]["finding"]).json
    assert found is not None
    direct = classifier.predict(read_study(data, "head.nii.gz").series[0])
    assert found["decision"] == direct.decision == series["decision"] == "glioma"
    assert found["p_tumor"] == pytest.approx(direct.p_tumor)
    assert found["key_slices"] == list(direct.key_slices)
    assert found["file"] == "head.nii.gz"


def test_the_evidence_lies_over_the_scan_that_was_sent(client: FlaskClient) -> None:
    data = nifti()
    status = finish(client, post(client, ("head.nii.gz", data)))
    response = client.get(status["series"][0]["links"]["evidence"])
    evidence = nibabel.Nifti1Image.from_bytes(gzip.decompress(response.data))
    sent = nibabel.Nifti1Image.from_bytes(gzip.decompress(data))
    voxels = evidence.get_fdata()
    corner = np.linalg.inv(sent.affine) @ evidence.affine
    peak = np.array([*np.unravel_index(voxels.argmax(), voxels.shape), 1])
    x, y, z, _ = corner @ peak
    assert np.hypot(x - 90, y - 110) < 22
    assert round(z) in range(3, 6)


def test_a_finding_says_how_the_files_were_read(client: FlaskClient) -> None:
    archive = packed(("head.nii.gz", nifti()), ("notes.txt", b"hello"))
    status = finish(client, post(client, ("study.zip", archive)))
    found = client.get(status["series"][0]["links"]["finding"]).json
    assert found is not None
    assert found["notes"] == status["notes"]
    assert "left out" in found["notes"][0]


def test_all_series_of_a_study_get_one_finding_too(client: FlaskClient) -> None:
    archive = packed(("t1.nii.gz", nifti()), ("t1c.nii.gz", nifti(lesion_at=range(0))))
    status = finish(client, post(client, ("study.zip", archive)))
    assert status["state"] == "done"
    found = client.get(status["links"]["study"]).json
    assert found is not None
    assert found["schema"] == "tumorlens-study/1"
    assert found["sequences"]["counted"] == ["T1", "T1 with contrast"]
    alone = [item["alone"]["p_tumor"] for item in found["series"]]
    shown = [client.get(item["links"]["finding"]).json for item in status["series"]]
    assert alone == pytest.approx([item["p_tumor"] for item in shown if item])
    assert min(alone) < found["p_tumor"] < max(alone)
    evidence = client.get(f"{status['links']['study']}/evidence.nii.gz")
    assert evidence.mimetype == "application/gzip"
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(evidence.data))
    assert image.shape == (256, 256, 8)


def test_series_that_cannot_be_judged_together_say_why(client: FlaskClient) -> None:
    people = packed(("sub-01_T1w.nii.gz", nifti()), ("sub-02_T1w.nii.gz", nifti()))
    place = post(client, ("study.zip", people))
    status = finish(client, place)
    assert status["state"] == "done"
    answer = client.get(status["links"]["study"])
    assert answer.status_code == 404
    assert "two people" in answer.text
    alone = post(client, ("head.nii.gz", nifti()))
    finish(client, alone)
    assert client.get(f"{alone}/study").status_code == 404


def test_the_report_is_a_pdf(client: FlaskClient) -> None:
    status = finish(client, post(client, ("head.nii.gz", nifti())))
    response = client.get(status["links"]["report"])
    assert response.mimetype == "application/pdf"
    assert response.data.startswith(b"%PDF-")


def test_the_request_is_answered_before_anything_is_judged(
    held: tuple[FlaskClient, Gate],
) -> None:
    client, gate = held
    place = post(client, ("head.nii.gz", nifti()))
    gate.wait_for_it()
    status = client.get(place).json
    assert status is not None
    assert status["state"] == "judging"
    assert status["progress"]["total"] == 8
    assert status["series"][0]["state"] == "waiting"
    assert status["series"][0]["links"] == {"finding": None, "evidence": None}
    waiting = client.get(f"{place}/series/0")
    assert waiting.status_code == 409
    assert waiting.json is not None
    assert waiting.json["error"]["code"] == "not_ready"
    gate.open()
    assert finish(client, place)["state"] == "done"


def test_how_long_each_stage_took_is_among_the_metrics(client: FlaskClient) -> None:
    judged(client, ("head.nii.gz", nifti()))
    metrics = client.get("/metrics").text
    for stage in ("wait", "read", "judge"):
        labels = f'kind="series",stage="{stage}"'
        assert f"duration_seconds_count{{{labels}}} 1.0" in metrics
    assert "tumorlens_queue_oldest_seconds 0.0" in metrics


def test_dicom_files_sent_one_by_one_become_series(client: FlaskClient) -> None:
    status = finish(client, post(client, *dicom()))
    assert [item["slices"] for item in status["series"]] == [6]
    assert status["file"] == "6 files"
    assert status["notes"] == []
    text = client.get(status["links"]["self"]).text
    finding = client.get(status["series"][0]["links"]["finding"]).text
    for name in ("DOE", "JANE", "Secret"):
        assert name not in text + finding


def test_each_series_of_a_study_is_judged(client: FlaskClient) -> None:
    status = finish(client, post(client, ("study.zip", two_series())))
    assert [item["sequence"] for item in status["series"]] == ["T2", "T1"]
    for item in status["series"]:
        found = client.get(item["links"]["finding"]).json
        assert found is not None
        assert found["decision"] == item["decision"] == "glioma"


def test_single_pictures_in_an_archive_are_judged_by_themselves(
    client: FlaskClient, lesion_png: bytes, color_png: bytes
) -> None:
    data = packed(("a.png", lesion_png), ("b.png", color_png))
    status = finish(client, post(client, ("pictures.zip", data)))
    assert status["state"] == "done"
    assert status["series"] == []
    found = [client.get(link).json for link in status["predictions"]]
    assert [item and item["decision"] for item in found] == ["glioma", "not_brain_mri"]


@pytest.mark.parametrize(
    ("name", "data", "code", "said"),
    [
        ("cut.zip", packed(("a", b"x" * 999))[:60], "damaged_file", "cut.zip"),
        ("up.zip", packed(("../up.dcm", b"x")), "bad_input", "leads out"),
        ("in.zip", packed(("in.jar", packed(("a", b"x")))), "bad_input", "archive"),
        ("key.zip", encrypted(), "bad_input", "encrypted"),
        ("lie.zip", lying(10**9), "too_large", "inflates"),
        ("no.zip", packed(("a.txt", b"hello")), "unknown_format", "is text"),
        ("text.nii", b"hello", "unknown_format", "text.nii"),
        ("empty.nii", b"", "empty_file", "empty.nii"),
        ("cut.nii.gz", nifti()[:4000], "damaged_file", "cut.nii.gz"),
    ],
)
def test_what_cannot_be_read_fails_with_the_reason(
    client: FlaskClient, name: str, data: bytes, code: str, said: str
) -> None:
    status = finish(client, post(client, (name, data)))
    assert status["state"] == "failed"
    assert status["error"]["code"] == code
    assert said in status["error"]["message"]
    assert status["error"]["mend"]
    gone = client.get(f"{status['links']['self']}/series/0")
    assert gone.status_code == 404


def test_after_a_failure_the_next_scan_is_judged(client: FlaskClient) -> None:
    finish(client, post(client, ("bad.zip", b"PK\3\4 and no more")))
    assert finish(client, post(client, ("a.nii.gz", nifti())))["state"] == "done"


def test_a_fault_inside_is_that_scan_s_failure(
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    with monkeypatch.context() as patch:
        patch.setattr(series_jobs, "pack_series", fail)
        status = finish(client, post(client, ("a.nii.gz", nifti())))
    assert status["error"]["code"] == "internal_error"
    assert "secret" not in str(status)
    assert "secret detail" in caplog.text
    assert finish(client, post(client, ("a.nii.gz", nifti())))["state"] == "done"


def test_a_scan_whose_state_cannot_be_kept_is_judged_once_it_can(
    client: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[object] = []

    def full(*arguments: object, **_: object) -> Job:
        refused.append(arguments)
        raise OutputError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(store, "save", full)
        # Not even that it has failed can be kept at first.
        patch.setattr(store.queue, "retry", full)
        place = post(client, ("a.nii.gz", nifti()))
        end = time.monotonic() + PATIENCE_SECONDS
        while len(refused) < 3 and time.monotonic() < end:
            time.sleep(0.02)
        found = client.get(place).json
        assert found is not None and found["state"] == "reading"
    assert finish(client, place)["state"] == "done"


def test_a_scan_that_fails_again_and_again_says_why(
    client: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(store.queue._policies, STAGE, RetryPolicy(3, 0.1))  # type: ignore[index]

    def full(*_: object, **__: object) -> Job:
        raise OutputError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(store, "save", full)
        failed = finish(client, post(client, ("a.nii.gz", nifti())))
    assert failed["state"] == "failed"
    assert failed["error"]["message"] == "The disk is full."


def test_a_scan_of_very_many_slices_is_refused_before_it_is_judged(
    classifier: SeriesClassifier, store: Store
) -> None:
    client = create_app(classifier, store, Settings(slices_per_scan=5)).test_client()
    many, few = nifti(count=6), nifti(count=5)
    sent = client.post(URL, **form(("a.nii.gz", many)))
    refused = finish(client, sent.headers["Location"])
    assert refused["state"] == "failed"
    assert refused["error"]["code"] == "too_large"
    assert "6 slices; at most 5" in refused["error"]["message"]
    assert "--slices-per-scan" in refused["error"]["mend"]
    sent = client.post(URL, **form(("b.nii.gz", few)))
    assert finish(client, sent.headers["Location"])["state"] == "done"


def test_an_upload_over_the_limit_is_refused_with_the_limit(
    classifier: SeriesClassifier, store: Store
) -> None:
    client = create_app(classifier, store, Settings(scan_mb=1)).test_client()
    response = client.post(URL, **form(("a.nii", b"x" * (2 * 2**20))))
    assert response.status_code == 413
    assert response.json is not None
    assert "1 MB" in response.json["error"]["message"]
    assert "--scan-mb" in response.json["error"]["mend"]
    assert store.owned("", Kind.SCAN) == ()


def test_a_scan_may_be_larger_than_pictures_may(client: FlaskClient) -> None:
    # The app of these tests takes pictures of 2 MB.
    voxels = np.random.default_rng(0).integers(0, 900, (48, 256, 256), np.int16)
    data = nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()
    assert len(data) > 3 * 2**20
    response = client.post(URL, **form(("a.nii", data)))
    assert finish(client, response.headers["Location"])["state"] == "done"


def test_no_file_says_how_to_send_one(client: FlaskClient) -> None:
    for arguments in ({}, {"json": {"file": "x"}}, form()):
        response = client.post(URL, **arguments)
        assert response.status_code == 422
        assert response.json is not None
        assert "'file'" in response.json["error"]["mend"]


def test_an_operating_point_is_used_or_refused(
    client: FlaskClient, store: Store
) -> None:
    place = post(client, ("a.nii.gz", nifti()), operating_point="balanced")
    assert finish(client, place)["operating_point"] == "balanced"
    wrong = form(("a.nii.gz", nifti()), operating_point="best")
    assert client.post(URL, **wrong).status_code == 400
    assert len(store.owned("", Kind.SCAN)) == 1


def test_too_many_that_wait_are_refused(
    held: tuple[FlaskClient, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, gate = held
    monkeypatch.setattr(series_jobs, "MAX_WAITING", 1)
    post(client, ("a.nii.gz", nifti()))
    gate.wait_for_it()
    waiting = post(client, ("b.nii.gz", nifti()))
    response = client.post(URL, **form(("c.nii.gz", nifti())))
    assert response.status_code == 503
    assert response.json is not None
    assert response.json["error"]["code"] == "busy"
    gate.open()
    assert finish(client, waiting)["state"] == "done"


def test_a_scan_that_is_judged_when_the_server_stops_waits_again(
    classifier: SeriesClassifier, tmp_path: Path, settings: Settings
) -> None:
    waiting, gate = gated(classifier)
    store = Store(tmp_path / "named", 3600, 100 * 2**20)
    client = create_app(waiting, store, settings).test_client()
    place = post(client, ("a.nii.gz", nifti()))
    gate.wait_for_it()
    stopping = threading.Thread(target=store.close)
    stopping.start()
    end = time.monotonic() + PATIENCE_SECONDS
    while not state_of(client).jobs._worker.is_stopping:
        assert time.monotonic() < end
    gate.open()
    stopping.join()
    with closing(Store(tmp_path / "named", 3600, 100 * 2**20)) as again:
        job = again.queue.get(place.rsplit("/", 1)[1])
        assert job is not None
        assert (job.state, job.attempts) == (JobState.WAITING, 0), "it is no failure"
        client = create_app(classifier, again, settings).test_client()
        assert finish(client, place)["state"] == "done"


def test_small_scans_do_not_wait_for_a_giant(
    held: tuple[FlaskClient, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, gate = held
    monkeypatch.setattr(series_jobs, "GIANT_SLICES", 12)
    giant = post(client, ("giant.nii.gz", nifti(12)))
    gate.wait_for_it()
    second = post(client, ("second.nii.gz", nifti(13)))
    small = post(client, ("small.nii.gz", nifti(6)))
    # Both are at the gate, but of giants only one at a time.
    assert finish(client, small, "judging")["state"] == "judging"
    assert client.get(giant).json["state"] == "judging"  # type: ignore[index]
    assert finish(client, second, "waiting")["state"] == "waiting"
    third = post(client, ("third.nii.gz", nifti(5)))
    gate.open()
    for place in (giant, second, small, third):
        assert finish(client, place)["state"] == "done"


def test_what_was_accepted_is_judged_however_full_the_store(
    classifier: SeriesClassifier, tmp_path: Path, settings: Settings
) -> None:
    data = nifti()
    waiting, gate = gated(classifier)
    with closing(Store(tmp_path / "small", 3600, 3 * len(data))) as small:
        client = create_app(waiting, small, settings).test_client()
        sent = [client.post(URL, **form(("a.nii.gz", data))) for _ in range(5)]
        codes = [item.status_code for item in sent]
        assert codes[:2] == [202, 202] and codes[-1] == 503
        taken = [item.headers["Location"] for item in sent if item.status_code == 202]
        assert len(small.owned("", Kind.SCAN)) == len(taken), "the refused left nothing"
        for place in taken:
            assert client.get(place).status_code == 200
        gate.open()
        assert finish(client, taken[-1])["state"] == "done"


def test_what_is_deleted_while_it_is_judged_leaves_nothing(
    held: tuple[FlaskClient, Gate], store: Store
) -> None:
    client, gate = held
    place = post(client, ("a.nii.gz", nifti()))
    gate.wait_for_it()
    assert client.delete(place).status_code == 204
    assert not list((store.folder / "files").iterdir())
    after = post(client, ("b.nii.gz", nifti()))
    gate.open()
    assert finish(client, after)["state"] == "done"
    assert client.get(place).status_code == 404
    assert client.delete(after).status_code == 204
    assert not list((store.folder / "files").iterdir())


def test_delete_removes_everything_at_once(client: FlaskClient, store: Store) -> None:
    status = finish(client, post(client, ("a.nii.gz", nifti())))
    place = status["links"]["self"]
    assert client.delete(place).status_code == 204
    assert not list((store.folder / "files").iterdir())
    for link in (place, *status["series"][0]["links"].values()):
        assert client.get(link).status_code == 404
    assert client.delete(place).status_code == 404


def test_delete_removes_the_predictions_of_its_pictures(
    client: FlaskClient, store: Store, lesion_png: bytes
) -> None:
    data = packed(("a.png", lesion_png), ("b.png", lesion_png))
    status = finish(client, post(client, ("pictures.zip", data)))
    assert list((store.folder / "files").iterdir())
    other = finish(client, post(client, ("others.zip", data)))
    assert len(status["predictions"]) == 2
    assert client.delete(status["links"]["self"]).status_code == 204
    for link in status["predictions"]:
        assert client.get(link).status_code == 404
    for link in other["predictions"]:
        assert client.get(link).status_code == 200
    assert client.delete(other["links"]["self"]).status_code == 204
    assert not list((store.folder / "files").iterdir())


def test_pictures_judged_before_the_disk_was_full_are_not_judged_again(
    client: FlaskClient,
    store: Store,
    lesion_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(store.queue._policies, STAGE, RetryPolicy(9, 0.1))  # type: ignore[index]
    data = packed(*((f"{name}.png", lesion_png) for name in "abc"))
    add, asked = store.add_part, []

    def add_and_then(prediction: Prediction, scan: Job, total: int) -> Job:
        asked.append(prediction.source)
        if len(asked) == 2:
            raise OutputError("The disk is full.")
        return add(prediction, scan, total)

    monkeypatch.setattr(store, "add_part", add_and_then)
    status = finish(client, post(client, ("full.zip", data)))
    assert status["state"] == "done"
    assert len(asked) == 4 and len(set(asked)) == 3
    assert len(status["predictions"]) == len(set(status["predictions"])) == 3
    for link in status["predictions"]:
        assert client.get(link).status_code == 200


def test_pictures_of_a_scan_that_is_deleted_meanwhile_are_gone_with_it(
    client: FlaskClient,
    store: Store,
    lesion_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = packed(("a.png", lesion_png), ("b.png", lesion_png))
    add, added = store.add_part, []

    def add_and_then(prediction: Prediction, scan: Job, total: int) -> Job:
        job = add(prediction, scan, total)
        if not added:
            store.delete(scan.id, scan.owner, Kind.SCAN)
        added.extend(job.document["analyses"])
        return job

    monkeypatch.setattr(store, "add_part", add_and_then)
    post(client, ("deleted.zip", data))
    finish(client, post(client, ("next.zip", data)))
    assert client.get(f"/api/v1/predictions/{added[0]}").status_code == 404


def test_pictures_that_do_not_fit_are_named_and_the_others_stay(
    client: FlaskClient,
    store: Store,
    lesion_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = [(f"{name}.png", lesion_png) for name in "abc"]
    status = finish(client, post(client, ("one.zip", packed(pictures[0]))))
    (one,) = files_left(store, 1)
    limit = int(2.5 * one.stat().st_size) + len(packed(*pictures))
    small = replace(store._retention, limit_bytes=limit)
    monkeypatch.setattr(store, "_retention", small)
    status = finish(client, post(client, ("three.zip", packed(*pictures))))
    assert "no room for more than 2 of these 3" in status["error"]["message"]
    assert "--store-mb" in status["error"]["mend"]
    assert len(status["predictions"]) == 2
    for link in status["predictions"]:
        assert client.get(link).status_code == 200


def test_a_page_s_scan_is_not_the_api_s(client: FlaskClient) -> None:
    scan_id = send(client, ("a.nii.gz", nifti())).rsplit("/", 1)[1]
    finish(client, f"/scans/{scan_id}/status")
    for end in ("", "/series/0", "/series/0/evidence.nii.gz"):
        assert client.get(f"{URL}/{scan_id}{end}").status_code == 404
    assert client.delete(f"{URL}/{scan_id}").status_code == 404
    assert client.get(f"/scans/{scan_id}").status_code == 200


@pytest.mark.parametrize("path", ["x", "../index.sqlite", "..%2fkey", "%00", "a" * 999])
def test_an_id_that_is_none_leads_nowhere(client: FlaskClient, path: str) -> None:
    for end in ("", "/series/0", "/series/0/evidence.nii.gz", "/series/x"):
        assert client.get(f"{URL}/{path}{end}").status_code == 404


def test_a_series_without_a_known_place_has_no_nifti(
    client: FlaskClient,
) -> None:
    files = dicom(ImagePositionPatient=None, ImageOrientationPatient=None)
    status = finish(client, post(client, *files))
    (series,) = status["series"]
    assert series["decision"] == "glioma"
    assert series["links"]["evidence"] is None
    response = client.get(f"{series['links']['finding']}/evidence.nii.gz")
    assert response.status_code == 404
    assert response.json is not None
    assert "no regular stack" in response.json["error"]["message"]


def test_clients_at_a_time_get_their_own_answers(app: Flask) -> None:
    client = app.test_client()
    scans = {
        name: post(client, (f"{name}.nii.gz", nifti(count, lesion)))
        for name, count, lesion in (
            ("lesion", 8, range(3, 6)),
            ("plain", 7, range(0)),
            ("again", 6, range(2, 5)),
        )
    }
    for name, place in scans.items():
        status = finish(client, place)
        assert status["file"] == f"{name}.nii.gz"
        is_plain = status["series"][0]["decision"] == "no_tumor"
        assert is_plain == (name == "plain")


def test_the_drawn_scan_has_the_lesion_where_the_tests_say() -> None:
    assert head_slices()[4, 110, 90] > 200


def test_names_of_files_tell_masks_and_sequences_and_no_person(
    client: FlaskClient,
) -> None:
    # Two volumes of one place, so that only names and the sidecar tell them apart.
    files = (
        ("DOE^JANE_seg.nii.gz", nifti()),
        ("DOE^JANE_FLAIR.nii.gz", nifti()),
        ("DOE^JANE_a.nii.gz", nifti()),
        ("DOE^JANE_a.json", b'{"SeriesDescription": "T1 axial"}'),
    )
    sent = client.post(URL, **form(*files))
    assert sent.status_code == 202
    found = finish(client, sent.headers["Location"])
    assert found["state"] == "done"
    assert found["notes"] == [
        "1 file was left out: it is a mask or segmentation of another volume."
    ]
    assert [item["sequence"] for item in found["series"]] == [None, "T1"]
    study = client.get(found["links"]["study"])
    assert study.json is not None
    flair, t1 = study.json["series"]
    assert flair["sequence_by"]["file_name"] == "FLAIR"
    assert flair["file"].endswith("#2/FLAIR.nii.gz")
    assert t1["file"].endswith("#3")
    assert "DOE" not in study.text + client.get(sent.headers["Location"]).text
