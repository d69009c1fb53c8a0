"""The API for programs: whole scans in, a job's address out, then its results."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from werkzeug.exceptions import NotFound

from tumorlens.errors import MissingFileError, NotReadyError
from tumorlens.web.app_state import desk
from tumorlens.web.uploads.series_desk import begin, receive
from tumorlens.web.uploads.series_status import status_to_json
from tumorlens.web.uploads.store import ANYONE
from tumorlens.web.uploads.upload import Kind, Upload

blueprint = Blueprint("scans", __name__, url_prefix="/scans")


@blueprint.post("")
def create() -> tuple[Response, int, dict[str, str]]:
    """Take the files of the field ``file`` as one scan, and judge it later.

    Answers 202 with the address to ask at, 400 for an unknown operating point,
    413 for an upload over the limits, 422 where no file was sent, 503 where too
    many scans wait, or the store has no room beside them.
    """
    uploads = receive()
    scan = begin(uploads, ANYONE, request.form.get("operating_point") or None)
    place = url_for("api.scans.show", scan_id=scan.id)
    return jsonify(_to_json(scan)), 202, {"Location": place}


@blueprint.get("/<scan_id>")
def show(scan_id: str) -> Response:
    """Tell how far a scan is; 404 once its time is over."""
    return jsonify(_to_json(_get(scan_id)))


@blueprint.delete("/<scan_id>")
def delete(scan_id: str) -> tuple[str, int]:
    """Stop judging a scan, and remove all of it at once: 204, or 404.

    That are its files, and the predictions of its single pictures.
    """
    desk().store.delete(scan_id, ANYONE, Kind.SCAN)
    return "", 204


@blueprint.get("/<scan_id>/series/<int:index>")
def finding(scan_id: str, index: int) -> Response:
    """Give the finding of a series; 404 for no such one, 409 while it waits."""
    found: dict[str, Any] = facts_of(_get(scan_id), index)["finding"]
    return jsonify(found)


@blueprint.get("/<scan_id>/series/<int:index>/evidence.nii.gz")
def evidence(scan_id: str, index: int) -> Response:
    """Give where tumour was seen, in the space of the series.

    404 also where the series is no regular stack of known place; 409 while it
    waits.
    """
    return evidence_nifti(_get(scan_id), index)


@blueprint.get("/<scan_id>/report.pdf")
def report(scan_id: str) -> Response:
    """Give the PDF report of all series; or 404, 409."""
    return report_pdf(_get(scan_id))


def facts_of(scan: Upload, index: int) -> dict[str, Any]:
    """Find what is known of a series that was judged.

    Raises
    ------
    NotFound
        Where the scan has no such series.
    NotReadyError
        Where it is not judged yet, or the scan came to nothing before.
    """
    if index >= len(scan.series):
        if not scan.state.is_over:
            raise NotReadyError("The scan is still being read.")
        raise NotFound
    facts = scan.series[index]
    if facts["finding"] is None:
        if scan.state.is_over:
            raise NotReadyError(
                "This series was not judged before the scan ended.",
                "Send the scan again.",
            )
        raise NotReadyError("The series is still being judged.")
    return facts


def evidence_nifti(scan: Upload, index: int) -> Response:
    """Answer with a series' evidence as NIfTI.

    Raises
    ------
    MissingFileError
        Where its place in the patient is not known, or nothing could be judged.
    NotFound, NotReadyError
        As `facts_of`.
    """
    facts = facts_of(scan, index)
    if facts["finding"]["not_judged"] is not None:
        raise MissingFileError(
            f"There is no evidence to give. {facts['finding']['not_judged']}",
            "Read the finding instead.",
        )
    if not facts["has_nifti"]:
        raise MissingFileError(
            "The series is no regular stack of slices whose place in the patient "
            "is known, so its evidence cannot be laid over it.",
            "Send the whole series as DICOM or NIfTI.",
        )
    data = desk().store.read(scan, f"nifti-{index}")
    return Response(data, mimetype="application/gzip")


def report_pdf(scan: Upload) -> Response:
    """Answer with the report of a scan's series.

    Raises
    ------
    MissingFileError
        Where the scan ended before all of it was judged.
    NotReadyError
        Where it is still being judged.
    """
    if not scan.document["has_report"]:
        if not scan.state.is_over:
            raise NotReadyError("The scan is still being judged.")
        raise MissingFileError(
            "There is no report: the scan ended before all of it was judged.",
            "Send the scan again.",
        )
    data = desk().store.read(scan, "report")
    return Response(data, mimetype="application/pdf")


def _get(scan_id: str) -> Upload:
    return desk().store.get(scan_id, ANYONE, Kind.SCAN)


def _to_json(scan: Upload) -> dict[str, Any]:
    document = status_to_json(scan)
    for item in document["series"]:
        place = {"scan_id": scan.id, "index": item["index"]}
        facts = scan.series[item["index"]]
        judged = facts["finding"] is not None
        item["links"] = {
            "finding": url_for("api.scans.finding", **place) if judged else None,
            "evidence": (
                url_for("api.scans.evidence", **place) if facts["has_nifti"] else None
            ),
        }
    document["predictions"] = [
        url_for("api.show", analysis_id=item) for item in scan.document["analyses"]
    ]
    document["links"] = {
        "self": url_for("api.scans.show", scan_id=scan.id),
        "report": (
            url_for("api.scans.report", scan_id=scan.id)
            if scan.document["has_report"]
            else None
        ),
    }
    return document
