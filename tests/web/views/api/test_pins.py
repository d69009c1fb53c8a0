"""Who wants to keep a result pins it: it stays until it is unpinned or deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.samples.gate import gated
from tests.samples.postgres import Postgres
from tests.samples.series_uploads import finish, nifti, packed
from tests.samples.uploads import form, text_of
from tests.web.uploads.test_store import Clock, kept_bytes
from tumorlens import Prediction, SeriesClassifier
from tumorlens.errors import MissingFileError, QuotaError
from tumorlens.jobs.database import JobState
from tumorlens.operations.audit import AUDIT_FILE
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.uploads.store import Store, StoreFullError

PREDICTIONS, SCANS = "/api/v1/predictions", "/api/v1/scans"


@pytest.fixture(scope="module")
def prediction(classifier: SeriesClassifier, lesion_png: bytes) -> Prediction:
    found = classifier.slice_classifier().predict(lesion_png, name="head.png")
    assert isinstance(found, Prediction)
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def timed(
    tmp_path: Path,
    clock: Clock,
    prediction: Prediction,
    request: pytest.FixtureRequest,
) -> Iterator[Store]:
    """A store that has room for ten pictures, and keeps results for a minute."""
    url = None
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.database()
    store = Store(tmp_path / "s", 60, 11 * kept_bytes(prediction) - 1, clock, url)
    yield store
    store.close()


def test_what_is_pinned_outlives_its_time_and_goes_once_unpinned(
    timed: Store, clock: Clock, prediction: Prediction
) -> None:
    kept, other = (timed.add(prediction, "me") for _ in range(2))
    timed.pin(kept, 5)
    clock.now += 10_000
    assert timed.sweep() == 1
    assert timed.get(kept.id, "me").is_pinned
    assert [item.id for item in timed.owned("me")] == [kept.id]
    with pytest.raises(MissingFileError):
        timed.get(other.id, "me")
    timed.unpin(timed.get(kept.id, "me"))
    with pytest.raises(MissingFileError):
        timed.get(kept.id, "me")
    assert timed.sweep() == 1


def test_pins_end_where_nobody_would_find_the_result_again(
    timed: Store, clock: Clock, prediction: Prediction
) -> None:
    owners = ("user anna", "a-browser", "@10.0.0.9", "")
    kept = {owner: timed.add(prediction, owner) for owner in owners}
    for item in kept.values():
        timed.pin(item, 5)
    clock.now += 31 * 86_400 - 1
    assert timed.sweep() == 0
    clock.now += 2
    assert timed.sweep() == 3
    assert timed.get(kept["user anna"].id, "user anna").is_pinned


def test_an_owner_pins_so_many_and_no_more(
    timed: Store, prediction: Prediction
) -> None:
    mine = [timed.add(prediction, "me") for _ in range(3)]
    for item in (mine[0], mine[0], mine[1]):
        timed.pin(item, 2)
    with pytest.raises(QuotaError, match="2 results"):
        timed.pin(mine[2], 2)
    timed.pin(timed.add(prediction, "you"), 2)
    timed.unpin(mine[0])
    timed.pin(mine[2], 2)
    with pytest.raises(QuotaError, match="cannot be pinned"):
        timed.pin(mine[0], 0)


def test_what_is_pinned_gives_way_to_nothing_and_takes_half_of_the_store(
    timed: Store, prediction: Prediction
) -> None:
    mine = [timed.add(prediction, "me") for _ in range(6)]
    for item in mine[:5]:
        timed.pin(item, 100)
    with pytest.raises(StoreFullError, match="50%"):
        timed.pin(mine[5], 100)
    assert not timed.get(mine[5].id, "me").is_pinned
    for _ in range(12):
        timed.add(prediction, "me")
        timed.add(prediction, "you")
    assert all(timed.get(item.id, "me").is_pinned for item in mine[:5])
    with pytest.raises(MissingFileError):
        timed.get(mine[5].id, "me")
    # Deleting says so itself.
    timed.delete(mine[0].id, "me")
    with pytest.raises(MissingFileError):
        timed.get(mine[0].id, "me")


def test_pictures_of_an_upload_are_pinned_with_it(
    timed: Store, clock: Clock, prediction: Prediction
) -> None:
    scan = timed.add_scan("a.zip", "me", "balanced", {})
    job = timed.queue.claim("scan", "test")
    assert job is not None
    for _ in range(2):
        job = timed.add_part(prediction, job, 2)
    timed.finish(job, JobState.DONE)
    one, two = timed.owned("me")
    timed.pin(one, 1)
    clock.now += 10_000
    assert timed.sweep() == 0
    assert [item.is_pinned for item in timed.owned("me")] == [True, True]
    assert timed.get(scan.id, "me", scan.kind).is_pinned
    timed.unpin(two)
    assert timed.sweep() == 3


def test_a_program_pins_lists_and_unpins(
    client: FlaskClient, store: Store, lesion_png: bytes, settings: Settings
) -> None:
    _, text = store.tokens.add("anna", {"read", "write"}, 1)
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {text}"
    files = [(f"{number}.png", lesion_png) for number in range(4)]
    sent: Any = client.post(PREDICTIONS, **form(*files)).json
    places = [item["links"]["self"] for item in sent["predictions"]]
    assert not any(item["pinned"] for item in sent["predictions"])
    for place in places[:3]:
        assert client.put(f"{place}/pin").status_code == 204
    one: Any = client.get(places[0]).json
    assert one["pinned"] is True
    page: Any = client.get(f"{PREDICTIONS}?pinned=true&limit=2").json
    listed = [item["id"] for item in page["predictions"]]
    more: Any = client.get(page["next"]).json
    listed += [item["id"] for item in more["predictions"]]
    assert listed == [item["id"] for item in sent["predictions"][2::-1]]
    assert more["next"] is None
    every: Any = client.get(f"{PREDICTIONS}?pinned=false").json
    assert len(every["predictions"]) == 4
    assert client.get(f"{PREDICTIONS}?pinned=perhaps").status_code == 400
    assert client.delete(f"{places[0]}/pin").status_code == 204
    one = client.get(places[0]).json
    assert one["pinned"] is False
    assert client.put(f"{PREDICTIONS}/x/pin").status_code == 404
    assert client.delete(f"{PREDICTIONS}/x/pin").status_code == 404
    trail = (store.folder / AUDIT_FILE).read_text()
    assert trail.count("api.slices.pin") == 4
    assert trail.count("api.slices.unpin") == 2
    # A viewer may look, and another user may not even do that.
    _, viewer = store.tokens.add("anna", {"read"}, 1)
    _, other = store.tokens.add("ben", {"read", "write"}, 1)
    for who, status in ((viewer, 403), (other, 404)):
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {who}"
        assert client.put(f"{places[3]}/pin").status_code == status


def test_one_pin_too_many_is_refused(
    classifier: SeriesClassifier, store: Store, lesion_png: bytes
) -> None:
    client = create_app(classifier, store, Settings(pinned_results=1)).test_client()
    files = form(("a.png", lesion_png), ("b.png", lesion_png))
    sent: Any = client.post(PREDICTIONS, **files).json
    one, two = (f"{item['links']['self']}/pin" for item in sent["predictions"])
    assert client.put(one).status_code == 204
    refused = client.put(two)
    assert refused.status_code == 429
    assert refused.json is not None
    assert refused.json["error"]["code"] == "quota"
    assert client.delete(one).status_code == 204
    assert client.put(two).status_code == 204


def test_a_scan_is_pinned_once_it_is_judged(
    classifier: SeriesClassifier, store: Store, settings: Settings
) -> None:
    slow, gate = gated(classifier)
    client = create_app(slow, store, settings).test_client()
    place = client.post(SCANS, **form(("a.nii.gz", nifti()))).headers["Location"]
    assert client.put(f"{place}/pin").status_code == 409
    gate.open()
    assert finish(client, place)["pinned"] is False
    assert client.put(f"{place}/pin").status_code == 204
    assert finish(client, place)["pinned"] is True
    assert client.delete(f"{place}/pin").status_code == 204


def test_a_page_pins_its_result_and_the_start_page_says_so(
    app: Flask, lesion_png: bytes
) -> None:
    client = app.test_client()
    place = client.post("/analyses", **form(("a.png", lesion_png))).location
    assert "Pin it to keep it." in text_of(client.get(place).text)
    pinned = client.post(f"{place}/pin")
    assert (pinned.status_code, pinned.location) == (303, place)
    # Else the result would stay, and nobody could see it, once the browser is closed.
    assert "Expires=" in pinned.headers["Set-Cookie"]
    text = text_of(client.get(place).text)
    assert "Pinned: kept until you unpin or delete it" in text
    assert "Pin it to keep it." not in text
    assert ">pinned<" in client.get("/").text
    stranger = app.test_client()
    assert stranger.post(f"{place}/pin").status_code == 404
    assert stranger.post(f"{place}/pin/delete").status_code == 404
    assert client.post(f"{place}/pin/delete").status_code == 303
    assert ">pinned<" not in client.get("/").text


@pytest.mark.parametrize("kind", ["volume", "pictures"])
def test_the_page_of_a_scan_pins_it(
    client: FlaskClient, kind: str, lesion_png: bytes
) -> None:
    file = ("a.nii.gz", nifti())
    if kind == "pictures":
        file = ("a.zip", packed(("x.png", lesion_png), ("y.png", lesion_png)))
    place = client.post("/scans", **form(file)).location
    finish(client, f"{place}/status")
    assert f"{place}/pin" in client.get(place).text
    assert client.post(f"{place}/pin").location == place
    assert f"{place}/pin/delete" in client.get(place).text
    assert ">pinned<" in client.get("/").text
    assert client.post(f"{place}/pin/delete").status_code == 303


def test_nothing_offers_a_pin_where_none_may_be(
    classifier: SeriesClassifier, store: Store, lesion_png: bytes
) -> None:
    client = create_app(classifier, store, Settings(pinned_results=0)).test_client()
    place = client.post("/analyses", **form(("a.png", lesion_png))).location
    assert "Pin" not in text_of(client.get(place).text)
    assert "pinned" not in text_of(client.get("/").text)
    assert client.post(f"{place}/pin").status_code == 429
