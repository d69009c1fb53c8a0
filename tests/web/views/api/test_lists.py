"""Lists that come page by page, answers that have not changed, events of a scan."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.samples.gate import gated
from tests.samples.series_uploads import nifti
from tests.samples.uploads import form
from tumorlens import SeriesClassifier
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.app_state import MOST_STREAMS, state_of
from tumorlens.web.uploads.store import Store

PREDICTIONS, SCANS = "/api/v1/predictions", "/api/v1/scans"


@pytest.fixture
def anna(store: Store) -> dict[str, str]:
    _, text = store.tokens.add("anna", {"read", "write"}, 1)
    return {"Authorization": f"Bearer {text}"}


def test_a_list_has_all_of_ones_own_in_pages(
    client: FlaskClient, store: Store, anna: dict[str, str], lesion_png: bytes
) -> None:
    _, text = store.tokens.add("ben", {"read", "write"}, 1)
    ben = {"Authorization": f"Bearer {text}"}
    made = []
    for header in (anna, ben, anna, anna, ben, anna, anna):
        sent = form(("a.png", lesion_png))
        answer: Any = client.post(PREDICTIONS, headers=header, **sent).json
        if header is anna:
            made.append(answer["predictions"][0]["id"])
    listed, address, lengths = [], f"{PREDICTIONS}?limit=2", []
    while address:
        page: Any = client.get(address, headers=anna).json
        listed += [item["id"] for item in page["predictions"]]
        lengths.append(len(page["predictions"]))
        address = page["next"]
    assert listed == made[::-1]
    assert lengths == [2, 2, 1]
    whole: Any = client.get(PREDICTIONS, headers=anna).json
    assert whole["next"] is None
    assert whole["predictions"][0]["links"]["self"].endswith(made[-1])
    # Where another's page ended says nothing to me.
    first_of_ben: Any = client.get(f"{PREDICTIONS}?limit=1", headers=ben).json
    assert client.get(first_of_ben["next"], headers=anna).status_code == 404


def test_scans_are_listed_with_their_states(
    client: FlaskClient, anna: dict[str, str]
) -> None:
    sent = client.post(SCANS, headers=anna, **form(("a.nii.gz", nifti())))
    page: Any = client.get(SCANS, headers=anna).json
    assert page["scans"][0]["links"]["self"] == sent.headers["Location"]


@pytest.mark.parametrize("limit", ["0", "101", "x", "-1", "٣"])
def test_a_limit_that_is_none_is_refused(
    client: FlaskClient, anna: dict[str, str], limit: str
) -> None:
    answer = client.get(PREDICTIONS, query_string={"limit": limit}, headers=anna)
    assert answer.status_code == 400


@pytest.mark.parametrize("path", [PREDICTIONS, SCANS])
def test_without_a_login_nothing_is_listed(client: FlaskClient, path: str) -> None:
    refused = client.get(path)
    assert refused.status_code == 405
    assert refused.headers["Allow"] == "POST"


def test_what_has_not_changed_is_not_sent_again(
    client: FlaskClient, lesion_png: bytes
) -> None:
    judged: Any = client.post(PREDICTIONS, **form(("a.png", lesion_png))).json
    links = judged["predictions"][0]["links"]
    for link in (links["self"], links["evidence"]):
        first = client.get(link)
        tag = first.headers["ETag"]
        again = client.get(link, headers={"If-None-Match": tag})
        assert (again.status_code, again.data) == (304, b"")
        assert len(again.headers["X-Request-ID"]) == 32
        other = client.get(link, headers={"If-None-Match": '"x"'})
        assert other.data == first.data


def test_events_tell_of_each_change_until_the_scan_is_over(
    classifier: SeriesClassifier, store: Store, settings: Settings
) -> None:
    waiting, gate = gated(classifier)
    app = create_app(waiting, store, settings)
    client = app.test_client()
    sent = client.post(SCANS, **form(("a.nii.gz", nifti())))
    gate.wait_for_it()
    stream = client.get(f"{sent.headers['Location']}/events")
    assert stream.mimetype == "text/event-stream"
    events = []
    for chunk in stream.response:
        name, _, data = chunk.decode().strip().partition("\ndata: ")
        events.append((name, json.loads(data)))
        gate.open()
    assert {name for name, _ in events} == {"event: status"}
    assert [item["state"] for _, item in events][-1] == "done"
    assert events[0][1]["state"] == "judging"
    assert events[-1][1] == client.get(sent.headers["Location"]).json
    assert client.get(f"{SCANS}/none/events").status_code == 404


def test_streams_are_few_and_give_their_places_back(
    classifier: SeriesClassifier, store: Store, settings: Settings
) -> None:
    waiting, gate = gated(classifier)
    app = create_app(waiting, store, settings)
    client = app.test_client()
    sent = client.post(SCANS, **form(("a.nii.gz", nifti())))
    address = f"{sent.headers['Location']}/events"
    gate.wait_for_it()
    streams = [app.test_client().get(address) for _ in range(MOST_STREAMS)]
    refused = client.get(address)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    streams.pop().close()
    client.head(address).close()
    again = client.get(address)
    assert again.status_code == 200
    # A server that stops ends them, so that it can end.
    threading.Timer(0.1, state_of(app).stopping.set).start()
    assert b"event: status" in b"".join(again.response)
    gate.open()
    for stream in streams:
        stream.close()
