"""The pages for people: a scan's progress, its finding, and its viewer."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import PurePath
from typing import Any

from flask import (
    Blueprint,
    Response,
    jsonify,
    redirect,
    render_template,
    request,
    send_file,
    url_for,
)
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.errors import MissingFileError
from tumorlens.report import words
from tumorlens.report.slice.overlay import color_scale
from tumorlens.taxonomy import CLASSES, INFO, Verdict, decision_title
from tumorlens.web.app_state import desk
from tumorlens.web.errors import wants_json
from tumorlens.web.session_id import ensure_visitor, visitor
from tumorlens.web.uploads.series_desk import begin, receive
from tumorlens.web.uploads.series_record import Scan
from tumorlens.web.uploads.series_status import status_to_json
from tumorlens.web.views import series_words as scan_words
from tumorlens.web.views.rows import analysis_row
from tumorlens.web.views.series_api import evidence_nifti, facts_of, report_pdf
from tumorlens.web.views.series_curve import curve_of

blueprint = Blueprint("scans", __name__, url_prefix="/scans")


@blueprint.post("")
def create() -> AnyResponse:
    """Take a form's files as one scan, and judge it in the background.

    Answers at once with a redirect to the scan's page (303), to a script that
    asks for JSON with its address (202). 400, 413, 422 and 503 as the API.
    """
    uploads = receive()
    scan = begin(uploads, ensure_visitor(), request.form.get("operating_point") or None)
    page = url_for("scans.show", scan_id=scan.id)
    if not wants_json():
        return redirect(page, 303)
    response = jsonify(url=page)
    response.status_code = 202
    return response


@blueprint.get("/<scan_id>")
def show(scan_id: str) -> str:
    """Show a scan: how far it is, or what it shows; 404 once its time is over.

    The argument ``series`` chooses one of several.
    """
    scan = _get(scan_id)
    chosen = _chosen(scan)
    common = {
        "scan": scan,
        "status": status_to_json(scan, desk().jobs.progress(scan.id)),
        "series": scan.series,
        "chosen": chosen,
        "settings": desk().settings,
        "bundle": desk().bundle,
        "words": words,
        "scan_words": scan_words,
        "decision_title": decision_title,
    }
    if chosen is not None and chosen["finding"] is not None:
        return render_template("scan.html", **common, **_finding(scan, chosen))
    rows = []
    for item in scan.document["analyses"]:
        # Each picture can be deleted, or give way to newer ones, by itself.
        with suppress(MissingFileError):
            rows.append(analysis_row(desk().store.get(item, scan.owner)))
    return render_template("scan_progress.html", **common, rows=rows)


@blueprint.get("/<scan_id>/status")
def status(scan_id: str) -> Response:
    """Tell a script how far a scan is; or 404."""
    scan = _get(scan_id)
    return jsonify(status_to_json(scan, desk().jobs.progress(scan.id)))


@blueprint.get("/<scan_id>/series/<int:index>/voxels")
def voxels(scan_id: str, index: int) -> Response:
    """Give a series' pictures as one block (see `PackedSeries`); or 404."""
    scan = _get(scan_id)
    return _block(scan, f"voxels-{_known(scan, index)}")


@blueprint.get("/<scan_id>/series/<int:index>/evidence")
def evidence(scan_id: str, index: int) -> Response:
    """Give a series' evidence as one block of uint8, (D, H, W); or 404, 409."""
    scan = _get(scan_id)
    if not facts_of(scan, index)["has_evidence"]:
        raise NotFound
    return _block(scan, f"evidence-{index}")


@blueprint.get("/<scan_id>/series/<int:index>/thumbnail.png")
def thumbnail(scan_id: str, index: int) -> Response:
    """Give a small picture of a series' middle slice; or 404."""
    scan = _get(scan_id)
    data = desk().store.scans.read(scan, f"thumbnail-{_known(scan, index)}")
    return Response(data, mimetype="image/png")


@blueprint.get("/<scan_id>/series/<int:index>/finding.json")
def download_json(scan_id: str, index: int) -> Response:
    """Give a series' finding as a JSON file; or 404, 409."""
    scan = _get(scan_id)
    data = jsonify(facts_of(scan, index)["finding"]).get_data()
    name = f"{_stem(scan)}.series{index + 1}.tumorlens.json"
    return send_file(
        io.BytesIO(data), "application/json", as_attachment=True, download_name=name
    )


@blueprint.get("/<scan_id>/series/<int:index>/evidence.nii.gz")
def download_evidence(scan_id: str, index: int) -> Response:
    """Give a series' evidence as a NIfTI file; or 404, 409."""
    scan = _get(scan_id)
    response = evidence_nifti(scan, index)
    name = f"{_stem(scan)}.series{index + 1}.evidence.nii.gz"
    return send_file(
        io.BytesIO(response.get_data()),
        "application/gzip",
        as_attachment=True,
        download_name=name,
    )


@blueprint.get("/<scan_id>/report.pdf")
def download_report(scan_id: str) -> Response:
    """Give the PDF report of all series; or 404, 409."""
    scan = _get(scan_id)
    return send_file(
        io.BytesIO(report_pdf(scan).get_data()),
        "application/pdf",
        as_attachment=True,
        download_name=f"{_stem(scan)}.tumorlens.pdf",
    )


@blueprint.post("/<scan_id>/stop")
def stop(scan_id: str) -> AnyResponse:
    """Stop judging a scan, and keep what was found (303 to its page); or 404."""
    desk().jobs.stop(_get(scan_id))
    return redirect(url_for("scans.show", scan_id=scan_id), 303)


@blueprint.post("/<scan_id>/delete")
def delete(scan_id: str) -> AnyResponse:
    """Remove a scan with its pictures, also while it is computed.

    Answers with a redirect to the start page (303); or 404.
    """
    desk().store.delete_scan(scan_id, visitor() or "nobody")
    return redirect(url_for("pages.home"), 303)


def _get(scan_id: str) -> Scan:
    return desk().store.scans.get(scan_id, visitor() or "nobody")


def _known(scan: Scan, index: int) -> int:
    if index >= len(scan.series):
        raise NotFound
    return index


def _chosen(scan: Scan) -> dict[str, Any] | None:
    """Find the series to show: the one asked for, else what the model knows best."""
    if not scan.series:
        return None
    asked = request.args.get("series", type=int)
    if asked is not None and 1 <= asked <= len(scan.series):
        return scan.series[asked - 1]
    return min(scan.series, key=lambda item: (item["rank"], item["index"]))


def _finding(scan: Scan, facts: dict[str, Any]) -> dict[str, Any]:
    """Gather what the page shows of a judged series."""
    found, bundle = facts["finding"], desk().bundle
    place = {"scan_id": scan.id, "index": facts["index"]}
    refused = found["decision"] == Verdict.NOT_BRAIN_MRI
    # A model of volumes says nothing of single slices.
    whole = bool(found["probabilities"]) and set(found["slice_p_tumor"]) == {None}
    colors = color_scale()
    return {
        "found": found,
        "refused": refused,
        "whole": whole,
        "uncertain": found["decision"] in set(Verdict),
        "warnings": scan_words.warnings(found, scan.document["notes"], bundle.version),
        "point": bundle.operating_points.get(found["operating_point"]),
        "probabilities": found["probabilities"]
        and [(INFO[name], found["probabilities"][name.value]) for name in CLASSES],
        "curve": curve_of(found["slice_p_tumor"], found["run"]),
        "scale": [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colors[::32].tolist()],
        "viewer": {
            **facts["geometry"],
            "voxels": url_for("scans.voxels", **place),
            "evidence": (
                url_for("scans.evidence", **place) if facts["has_evidence"] else None
            ),
            "p_tumor": found["slice_p_tumor"],
            "whole": whole,
            "first": _first_place(found, facts["geometry"]["shape"]),
            "colors": colors.ravel().tolist(),
        },
        "place": place,
    }


def _first_place(found: dict[str, Any], shape: list[int]) -> list[int]:
    """Where the viewer opens: at the spot, else in the most suspicious slice."""
    if found["lesion"] is not None:
        return list(found["lesion"]["peak"])
    middle = [size // 2 for size in shape]
    return [*found["key_slices"][:1], *middle[len(found["key_slices"][:1]) :]]


def _block(scan: Scan, name: str) -> Response:
    data = desk().store.scans.read(scan, name)
    response = Response(data, mimetype="application/octet-stream")
    # It is kept packed, and every browser unpacks it by itself.
    response.headers["Content-Encoding"] = "gzip"
    return response


def _stem(scan: Scan) -> str:
    return PurePath(scan.document["label"]).name.split(".")[0] or "scan"
