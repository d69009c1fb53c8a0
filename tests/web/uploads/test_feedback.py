"""A reader marks results right or wrong; a marked result is kept, with its picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.samples.series_uploads import (
    dark_nifti,
    dicom,
    finish,
    judged,
    nifti,
    packed,
)
from tests.samples.uploads import form, text_of
from tests.web.uploads.test_store import Clock
from tumorlens import Prediction, SeriesClassifier
from tumorlens.errors import MissingFileError, OutputError
from tumorlens.operations.audit import AUDIT_FILE
from tumorlens.report.feedback import Feedback
from tumorlens.taxonomy import TumorClass
from tumorlens.web.uploads.feedback import marked_results
from tumorlens.web.uploads.store import Store

PREDICTIONS, SCANS = "/api/v1/predictions", "/api/v1/scans"


def predict(client: FlaskClient, data: bytes, name: str = "head.png") -> dict[str, Any]:
    answer = client.post(PREDICTIONS, **form((name, data))).json
    assert answer is not None
    found: dict[str, Any] = answer["predictions"][0]
    return found


def feedback_of(found: dict[str, Any]) -> str:
    return f"{found['links']['self']}/feedback"


def test_a_program_marks_a_prediction_and_takes_it_back(
    client: FlaskClient, lesion_png: bytes, store: Store
) -> None:
    found = predict(client, lesion_png)
    place = feedback_of(found)
    assert found["feedback"] is None
    answer = client.put(place, json={"correct": False, "finding": "meningioma"})
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["finding"] == "meningioma"
    again = client.get(found["links"]["self"]).json
    assert again is not None
    assert again["feedback"] == answer.json
    assert client.delete(place).status_code == 204
    assert client.get(found["links"]["self"]).json == found
    text = (store.folder / AUDIT_FILE).read_text()
    assert text.count("api.slices.mark") == text.count("api.slices.unmark") == 1
    metrics = client.get("/metrics").text
    assert 'tumorlens_feedback_total{correct="no"} 1.0' in metrics


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"correct": "perhaps"},
        {"correct": 1},
        {"correct": True, "finding": 3},
        {"correct": True, "finding": "a cold"},
        [True],
    ],
)
def test_what_is_no_mark_is_refused(
    client: FlaskClient, lesion_png: bytes, sent: object
) -> None:
    place = feedback_of(predict(client, lesion_png))
    answer = client.put(place, json=sent)
    assert answer.status_code == 422
    assert client.put(place, data=b"\xff").status_code == 422
    assert client.put(f"{PREDICTIONS}/x/feedback", json=sent).status_code == 404


def test_a_viewer_may_not_mark(
    client: FlaskClient, store: Store, lesion_png: bytes
) -> None:
    def header(*scopes: str) -> dict[str, str]:
        _, text = store.tokens.add("anna", scopes, 1)
        return {"Authorization": f"Bearer {text}"}

    reader, viewer = header("read", "write"), header("read")
    sent = client.post(PREDICTIONS, headers=reader, **form(("a.png", lesion_png))).json
    assert sent is not None
    place = feedback_of(sent["predictions"][0])
    mark = {"correct": True}
    assert client.put(place, json=mark, headers=viewer).status_code == 403
    assert client.put(place, json=mark, headers=reader).status_code == 200
    _, other = store.tokens.add("bert", {"read", "write"}, 1)
    stranger = {"Authorization": f"Bearer {other}"}
    assert client.put(place, json=mark, headers=stranger).status_code == 404


def test_a_page_takes_a_mark_and_shows_it(
    client: FlaskClient, lesion_png: bytes
) -> None:
    page = client.post("/analyses", **form(("a.png", lesion_png))).location
    assert "Is this right?" in text_of(client.get(page).text)
    marked = client.post(
        f"{page}/feedback", data={"correct": "no", "finding": "pituitary"}
    )
    assert (marked.status_code, marked.location) == (303, page)
    text = text_of(client.get(page).text)
    assert "Marked as wrong: Pituitary tumour." in text
    assert "Marked, and so kept until" in text
    assert client.post(f"{page}/feedback", data={}).status_code == 422
    assert client.post(f"{page}/feedback/delete").status_code == 303
    assert "Marked" not in text_of(client.get(page).text)


def test_a_series_is_marked_by_page_and_by_program(client: FlaskClient) -> None:
    page = judged(client, ("head.nii.gz", nifti()))
    assert "Is this right?" in text_of(client.get(page).text)
    sent = client.post(f"{page}/series/0/feedback", data={"correct": "yes"})
    assert sent.status_code == 303
    text = text_of(client.get(sent.location).text)
    assert "Marked as right: Glioma." in text
    assert "Marked, and so kept until" in text
    assert client.post(f"{page}/series/0/feedback/delete").status_code == 303
    assert client.post(f"{page}/series/9/feedback/delete").status_code == 404
    place = client.post(SCANS, **form(("head.nii.gz", nifti()))).headers["Location"]
    finish(client, place)
    marked = client.put(f"{place}/series/0/feedback", json={"correct": True})
    assert marked.status_code == 200
    (again,) = finish(client, place)["series"]
    assert again["feedback"] == marked.json
    assert client.put(f"{place}/series/9/feedback", json={}).status_code == 404
    assert client.delete(f"{place}/series/0/feedback").status_code == 204


def test_a_series_that_was_refused_is_marked_without_naming_a_class(
    client: FlaskClient,
) -> None:
    page = judged(client, ("dark.nii.gz", dark_nifti()))
    text = text_of(client.get(page).text)
    assert "Is this right?" in text
    assert "It shows, where you know it" not in text
    assert "Glioma" not in text


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = Store(tmp_path / "s", 60, 2**23, clock, feedback_seconds=1000)
    yield store
    store.close()


@pytest.fixture(scope="module")
def prediction(classifier: SeriesClassifier, lesion_png: bytes) -> Prediction:
    found = classifier.slice_classifier().predict(lesion_png, name="head.png")
    assert isinstance(found, Prediction)
    return found


RIGHT = Feedback(True, TumorClass.GLIOMA, datetime(2026, 1, 1, tzinfo=UTC))


def test_what_is_marked_is_kept_for_longer_and_then_goes(
    timed: Store, clock: Clock, prediction: Prediction
) -> None:
    kept, other, undone = (timed.add(prediction, "me") for _ in range(3))
    for item in (kept, undone):
        timed.mark(timed.get(item.id, "me"), RIGHT)
    timed.mark(timed.get(undone.id, "me"), None)
    clock.now += 900
    assert timed.sweep() == 2
    assert timed.get(kept.id, "me").kept_until == 2000.0
    with pytest.raises(MissingFileError):
        timed.get(other.id, "me")
    assert len(list(marked_results(timed.folder, now=clock.now))) == 1
    clock.now += 101
    assert list(marked_results(timed.folder, now=clock.now)) == []
    with pytest.raises(MissingFileError):
        timed.get(kept.id, "me")
    assert timed.sweep() == 1


def test_a_marked_result_can_be_deleted_at_once(
    timed: Store, clock: Clock, prediction: Prediction
) -> None:
    kept = timed.add(prediction, "me")
    timed.mark(kept, RIGHT)
    timed.delete(kept.id, "me")
    assert list(marked_results(timed.folder, now=clock.now)) == []
    with pytest.raises(MissingFileError):
        timed.mark(kept, RIGHT)


def test_who_exports_gets_the_pixels_and_no_id(
    client: FlaskClient, store: Store, lesion_png: bytes, phantom: Callable[..., Any]
) -> None:
    other = cv2.imencode(".png", phantom(seed=4))[1].tobytes()
    marks = [predict(client, data) for data in (lesion_png, other, lesion_png)]
    for found in marks:
        mark = {"correct": False, "finding": "pituitary"}
        assert client.put(feedback_of(found), json=mark).status_code == 200
    first, second, again = marked_results(store.folder)
    assert first.feedback.finding is TumorClass.PITUITARY
    assert first.decision == "glioma"
    assert first.name not in marks[0]["id"]
    # The same picture is one patient's.
    assert first.group == again.group != second.group
    picture = cv2.imdecode(np.frombuffer(lesion_png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.corrcoef(first.voxels.ravel(), picture.ravel())[0, 1] > 0.99


def test_pages_of_one_file_are_one_group(client: FlaskClient, store: Store) -> None:
    answer = client.post(PREDICTIONS, **form(("head.nii.gz", nifti(3)))).json
    assert answer is not None
    for found in answer["predictions"]:
        mark = {"correct": found["decision"] == "uncertain", "finding": "meningioma"}
        assert client.put(feedback_of(found), json=mark).status_code == 200
    results = list(marked_results(store.folder))
    assert len(results) == len({item.name for item in results}) == 3
    assert len({item.group for item in results}) == 1


def test_patients_of_one_upload_stay_apart(client: FlaskClient, store: Store) -> None:
    people = packed(
        *(
            (f"{number}/{name}", data)
            for number in (1, 2)
            for name, data in dicom(
                series=f"1.2.3.{4 + number}",
                PatientID=str(number),
                EchoTime=90 * number,
            )
        )
    )
    page = judged(client, ("both.zip", people))
    for index in (0, 1):
        sent = client.post(
            f"{page}/series/{index}/feedback",
            data={"correct": "no", "finding": "no_tumor"},
        )
        assert sent.status_code == 303
    one, two = marked_results(store.folder)
    assert one.group != two.group
    assert "DOE" not in repr((one.name, one.group, two.group))
    assert one.voxels.shape == (6, 256, 256)
    assert one.affine_ras is not None
    assert np.allclose(np.diag(one.affine_ras), (-1, -1, 8, 1))


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no store"):
        list(marked_results(tmp_path))
    assert list(tmp_path.iterdir()) == []
