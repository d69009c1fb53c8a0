"""The API for series: the files of a study in, a job's address out, then its results.

Its addresses call such an upload a scan.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for

from tumorlens.web.app_state import app_state
from tumorlens.web.intake import queue_study, receive_study
from tumorlens.web.uploads.store import ANYONE
from tumorlens.web.uploads.upload import Kind, Upload
from tumorlens.web.views.responses import (
    evidence_nifti,
    judged_series,
    judged_study,
    series_report_pdf,
    status_to_json,
    study_nifti,
)

blueprint = Blueprint("series", __name__, url_prefix="/scans")


@blueprint.post("")
def create() -> tuple[Response, int, dict[str, str]]:
    """Take the files of the field ``file`` as one study, and judge it later.

    Answers 202 with the address to ask at, 400 for an unknown operating point,
    413 for an upload over the limits, 422 where no file was sent, 503 where too
    many uploads wait, or the store has no room beside them.
    """
    files = receive_study()
    upload = queue_study(files, ANYONE, request.form.get("operating_point") or None)
    location = url_for("api.series.show", scan_id=upload.id)
    return jsonify(_to_json(upload)), 202, {"Location": location}


@blueprint.get("/<scan_id>")
def show(scan_id: str) -> Response:
    """Tell how far an upload is: 200, or 404 once its time is over."""
    return jsonify(_to_json(_get(scan_id)))


@blueprint.delete("/<scan_id>")
def delete(scan_id: str) -> tuple[str, int]:
    """Stop judging an upload, and remove all of it at once: 204, or 404.

    Its files go, and so do the predictions of its single pictures.
    """
    app_state().store.delete(scan_id, ANYONE, Kind.SCAN)
    return "", 204


@blueprint.get("/<scan_id>/series/<int:index>")
def finding(scan_id: str, index: int) -> Response:
    """Give the finding of a series: 200, 404 for no such one, 409 while it waits."""
    return jsonify(judged_series(_get(scan_id), index)["finding"])


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
    return app_state().store.get(scan_id, ANYONE, Kind.SCAN)


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
