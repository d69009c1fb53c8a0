"""The API for series: the files of a study in, a job's address out, then its results.

Its addresses call such an upload a scan.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from flask import (
    Blueprint,
    Response,
    current_app,
    jsonify,
    request,
    url_for,
)

from tumorlens.errors import BusyError, MissingFileError
from tumorlens.web.app_state import MOST_STREAMS, app_state
from tumorlens.web.idempotency import answer_key
from tumorlens.web.intake import queue_study, receive_study
from tumorlens.web.security import api_owner
from tumorlens.web.uploads.upload import Kind, State, Upload
from tumorlens.web.views.responses import (
    evidence_nifti,
    judged_series,
    judged_study,
    listed_page,
    mark_result,
    pin_result,
    series_report_pdf,
    status_to_json,
    study_nifti,
)

blueprint = Blueprint("series", __name__, url_prefix="/scans")

_LOOK_SECONDS, _QUIET_SECONDS = 0.5, 10.0


@blueprint.post("")
def create() -> tuple[Response, int, dict[str, str]]:
    """Take the files of the field ``file`` as one study, and judge it later.

    Answers 202 with the address to ask at, 400 for an unknown operating point or a
    ``callback`` that may not be told, 413 for an upload over the limits, 422 where no
    file was sent or the Idempotency-Key came with other files, 429 where too many of
    the sender's uploads wait, 503 where too many do, or the store has no room beside
    them, 507 where the disk is full.
    """
    owner, state = api_owner(), app_state()
    files = receive_study()
    key = answer_key(owner, files)
    with state.key_locks.hold(key):
        kept = None if key is None else state.store.answer(key)
        if kept is not None:
            upload = state.store.get(kept["scan"], owner, Kind.SCAN)
        else:
            point = request.form.get("operating_point") or None
            callback = request.form.get("callback")
            origin = callback and {"callback": state.jobs.webhooks.check(callback)}
            upload = queue_study(files, owner, point, origin or None, key)
    location = url_for("api.series.show", scan_id=upload.id)
    return jsonify(_to_json(upload)), 202, {"Location": location}


@blueprint.get("")
def list_all() -> Response:
    """List the scans of who is logged in, the newest first, page by page.

    Answers 200; 400 for a ``limit`` or ``pinned`` that is none, 404 for an ``after``
    that is not there any more, 405 without a log-in.
    """
    uploads, following = listed_page(Kind.SCAN)
    return jsonify(scans=[_to_json(item) for item in uploads], next=following)


@blueprint.get("/<scan_id>/events")
def events(scan_id: str) -> Response:
    """Tell of each change of a scan's status as it comes (server-sent events).

    Answers 200 with a stream that ends when the scan is over, 404, or 503 where as
    many streams are open as may be.
    """
    owner, state = api_owner(), app_state()
    _get(scan_id)
    context = partial(current_app.request_context, request.environ)

    def status() -> dict[str, Any] | None:
        try:
            upload = state.store.get(scan_id, owner, Kind.SCAN)
        except MissingFileError:
            return None
        # The request's own ends before the stream does.
        with context():
            return _to_json(upload)

    def lines() -> Iterator[str]:
        told: dict[str, Any] | None = None
        quiet_since = time.monotonic()
        while not state.stopping.is_set():
            document = status()
            if document is None:
                yield "event: gone\ndata: {}\n\n"
                return
            if document != told:
                yield f"event: status\ndata: {json.dumps(document)}\n\n"
                told, quiet_since = document, time.monotonic()
            elif time.monotonic() - quiet_since > _QUIET_SECONDS:
                # Who has gone is found out by writing.
                yield ": still there\n\n"
                quiet_since = time.monotonic()
            if State(document["state"]).is_over:
                return
            state.stopping.wait(_LOOK_SECONDS)

    if not state.streams.acquire(blocking=False):
        raise BusyError(
            f"{MOST_STREAMS} streams are open already.",
            "Ask for the status from time to time instead.",
        )
    response = Response(lines(), mimetype="text/event-stream")
    response.call_on_close(state.streams.release)
    # Proxies would gather what is to come at once.
    response.headers["X-Accel-Buffering"] = "no"
    return response


@blueprint.get("/<scan_id>")
def show(scan_id: str) -> Response:
    """Tell how far an upload is: 200, or 404 once its time is over."""
    return jsonify(_to_json(_get(scan_id)))


@blueprint.delete("/<scan_id>")
def delete(scan_id: str) -> tuple[str, int]:
    """Stop judging an upload, and remove all of it at once: 204, or 404.

    Its files go, and so do the predictions of its single pictures.
    """
    app_state().store.delete(scan_id, api_owner(), Kind.SCAN)
    return "", 204


@blueprint.put("/<scan_id>/pin")
def pin(scan_id: str) -> tuple[str, int]:
    """Keep a scan until it is unpinned, and the predictions of its single pictures.

    Answers 204, 404, 409 while it is judged, 429 for too many, or 507.
    """
    pin_result(_get(scan_id))
    return "", 204


@blueprint.delete("/<scan_id>/pin")
def unpin(scan_id: str) -> tuple[str, int]:
    """Let a scan go by its age again: 204, or 404."""
    app_state().store.unpin(_get(scan_id))
    return "", 204


@blueprint.get("/<scan_id>/series/<int:index>")
def finding(scan_id: str, index: int) -> Response:
    """Give the finding of a series: 200, 404 for no such one, 409 while it waits."""
    return jsonify(judged_series(_get(scan_id), index)["finding"])


@blueprint.put("/<scan_id>/series/<int:index>/feedback")
def mark(scan_id: str, index: int) -> Response:
    """Keep whether the finding of a series is right, and what it shows.

    Answers 200 with the mark, 404, 409 while the scan is judged, or 422.
    """
    return jsonify(mark_result(_get(scan_id), index))


@blueprint.delete("/<scan_id>/series/<int:index>/feedback")
def unmark(scan_id: str, index: int) -> tuple[str, int]:
    """Take back what was said of a series: 204, 404 or 409."""
    upload = _get(scan_id)
    judged_series(upload, index)
    app_state().store.mark(upload, None, index)
    return "", 204


@blueprint.get("/<scan_id>/series/<int:index>/evidence.nii.gz")
def evidence(scan_id: str, index: int) -> Response:
    """Give where tumour was seen, in the space of the series: 200, 404 or 409.

    404 also where the series is no regular stack of known place; 409 while it
    waits.
    """
    return evidence_nifti(_get(scan_id), index)


@blueprint.get("/<scan_id>/study")
def study(scan_id: str) -> Response:
    """Give the finding of all series together: 200, 404 or 409.

    404 also where they were not judged together; the message says why.
    """
    return jsonify(judged_study(_get(scan_id)))


@blueprint.get("/<scan_id>/study/evidence.nii.gz")
def study_evidence(scan_id: str) -> Response:
    """Give where all series together show tumour: 200, 404 or 409."""
    return study_nifti(_get(scan_id))


@blueprint.get("/<scan_id>/report.pdf")
def report(scan_id: str) -> Response:
    """Give the PDF report of all series: 200, 404 or 409."""
    return series_report_pdf(_get(scan_id))


def _get(scan_id: str) -> Upload:
    return app_state().store.get(scan_id, api_owner(), Kind.SCAN)


def _to_json(upload: Upload) -> dict[str, Any]:
    document = status_to_json(upload)
    for item in document["series"]:
        place = {"scan_id": upload.id, "index": item["index"]}
        facts = upload.series[item["index"]]
        is_judged = facts["finding"] is not None
        item["links"] = {
            "finding": url_for("api.series.finding", **place) if is_judged else None,
            "evidence": (
                url_for("api.series.evidence", **place) if facts["has_nifti"] else None
            ),
        }
    document["predictions"] = [
        url_for("api.slices.show", analysis_id=item)
        for item in upload.document["analyses"]
    ]
    document["links"] = {
        "self": url_for("api.series.show", scan_id=upload.id),
        "report": (
            url_for("api.series.report", scan_id=upload.id)
            if upload.document["has_report"]
            else None
        ),
        # Where series were not judged together the answer there says why.
        "study": url_for("api.series.study", scan_id=upload.id),
    }
    return document
