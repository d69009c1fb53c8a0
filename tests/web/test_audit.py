"""The audit trail tells of results that were made, seen, sent away and removed."""

from __future__ import annotations

import json

from flask import Flask
from flask.testing import FlaskClient

from tests.samples.uploads import form
from tumorlens.operations.audit import AUDIT_FILE, verify
from tumorlens.web.audit import EVENTS
from tumorlens.web.uploads.store import Store

LEFT_OUT = {
    # The server itself.
    "home.weights_licence",
    "api.openapi",
    "health.healthz",
    "health.metrics",
    "health.readyz",
    "login.leave_for_provider",
    "login.passkey_options",
    "login.show",
    "static",
    # Pages of one's own account, which change nothing.
    "account.passkey_options",
    "account.show",
    "account.show_code",
    # Lists, and how far scans are.
    "api.series.events",
    "api.series.list_all",
    "api.series.show",
    "api.slices.list_all",
    "home.show",
    "series.status",
    # What belongs to a page that is recorded.
    "series.evidence",
    "series.thumbnail",
    "series.voxels",
    "slices.judged",
    "slices.layer",
    "slices.picture",
}


def test_every_endpoint_is_recorded_or_left_out_on_purpose(app: Flask) -> None:
    assert set(EVENTS) <= set(app.view_functions)
    assert set(app.view_functions) - set(EVENTS) == LEFT_OUT


def test_what_is_done_with_results_is_recorded(
    client: FlaskClient, store: Store, lesion_png: bytes
) -> None:
    planted = "DOE-JANE"
    _, token = store.tokens.add("anna", {"read", "write"}, 1)
    header = {"Authorization": f"Bearer {token}", "User-Agent": planted}
    sent = form((f"{planted}.png", lesion_png))
    judged = client.post("/api/v1/predictions", headers=header, **sent).json
    assert judged is not None
    prediction = judged["predictions"][0]
    client.get(prediction["links"]["self"], headers=header)
    client.get(prediction["links"]["report"], headers=header)
    client.delete(prediction["links"]["self"], headers=header)
    client.get(f"/api/v1/predictions/{planted}", headers=header)
    client.get(f"/api/v1/predictions/{prediction['id']}")
    client.post("/login", data={"token": planted})
    client.post("/login", data={"token": token})
    client.get("/healthz")
    path = store.folder / AUDIT_FILE
    assert verify(path).problem is None
    events = [json.loads(line) for line in path.read_text().splitlines()]
    found = [
        (item["event"], item["action"], item["outcome"], item["user"], item["objects"])
        for item in events
    ]
    result = [prediction["id"]]
    assert found == [
        ("Import", "C", "0", "anna", result),
        ("DICOM Instances Accessed", "R", "0", "anna", result),
        ("Export", "R", "0", "anna", result),
        ("DICOM Study Deleted", "D", "0", "anna", result),
        ("DICOM Instances Accessed", "R", "4", "anna", []),
        ("DICOM Instances Accessed", "R", "4", "", []),
        ("User Authentication", "E", "4", "", []),
        ("User Authentication", "E", "0", "anna", []),
    ]
    assert all(item["origin"] == "127.0.0.1" for item in events)
    assert planted not in path.read_text()
    assert token not in path.read_text()
