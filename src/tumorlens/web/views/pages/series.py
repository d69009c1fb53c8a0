"""The pages for series: an upload's progress, a series' finding, and its viewer."""

from __future__ import annotations

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
    url_for,
)
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from tumorlens.errors import MissingFileError, SeveralPeopleError
from tumorlens.report import words
from tumorlens.report.feedback import KEY as FEEDBACK
from tumorlens.report.slice.document import classes_of
from tumorlens.report.slice.overlay import color_scale
from tumorlens.taxonomy import Verdict, info_of
from tumorlens.web.app_state import app_state
from tumorlens.web.errors import wants_json
from tumorlens.web.intake import queue_study, receive_study
from tumorlens.web.security import (
    NOBODY,
    ensure_session_id,
    keep_session,
    session_id,
)
from tumorlens.web.uploads.upload import Kind, Upload
from tumorlens.web.views import presentation
from tumorlens.web.views.examples import example_of
from tumorlens.web.views.presentation import (
    curve_of,
    main_series,
    overlay_colors,
    series_glance_rows,
    session_rows,
)
from tumorlens.web.views.responses import (
    download_response,
    evidence_nifti,
    judged_series,
    judged_study,
    mark_result,
    marked_classes,
    pin_result,
    png_response,
    series_report_pdf,
    status_to_json,
)

blueprint = Blueprint("series", __name__, url_prefix="/scans")


@blueprint.post("")
def create() -> AnyResponse:
    """Take a form's files as one study, and judge it in the background.

    Answers at once with a redirect to the upload's page (303), to a script that
    asks for JSON with its address (202). 400, 413, 422 and 503 as the API.
    """
    files = receive_study()
    operating_point = request.form.get("operating_point") or None
    upload = queue_study(files, ensure_session_id(), operating_point)
    page = url_for("series.show", scan_id=upload.id)
    if not wants_json():
        return redirect(page, 303)
    response = jsonify(url=page)
    response.status_code = 202
    return response


@blueprint.get("/<scan_id>")
def show(scan_id: str) -> str:
    """Show how far an upload is, or what a series of it shows: 200, or 404.

    The argument ``series`` chooses one of several, from 1.
    """
    upload = _get(scan_id)
    chosen = _chosen(upload)
    common = {
        "upload": upload,
        "status": status_to_json(upload),
        "series": upload.series,
        "chosen": chosen,
        "settings": app_state().settings,
        "bundle": app_state().bundle,
        "words": words,
        "presentation": presentation,
    }
    if chosen is not None and chosen["finding"] is not None:
        return render_template("series.html", **common, **_finding(upload, chosen))
    pictures = []
    for item in upload.document["analyses"]:
        # Each picture can be deleted, or give way to newer ones, by itself.
        with suppress(MissingFileError):
            pictures.append(app_state().store.get(item, upload.owner))
    rows = list(reversed(session_rows(pictures, (), {})))
    return render_template("series_progress.html", **common, rows=rows)


@blueprint.get("/<scan_id>/compare")
def compare(scan_id: str) -> str:
    """Show two judged series side by side: 200, or 404.

    The argument ``series`` is a series of this upload, from 1, and ``with`` another of
    this session, as ``ID.NUMBER``.
    """
    upload = _get(scan_id)
    other_id, _, number = request.args.get("with", "").rpartition(".")
    other = _get(other_id)
    pairs = [(upload, request.args.get("series", "1")), (other, number)]
    sides = [_compared(item, text) for item, text in pairs]
    one, two = ([view["plane"] for view in side["viewer"]["views"]] for side in sides)
    return render_template(
        "compare.html",
        sides=sides,
        planes=[plane for plane in one if plane and plane in two],
        together=upload.id == other.id
        and _of_one_head(upload, *(side["patient"] for side in sides)),
    )


@blueprint.get("/<scan_id>/status")
def status(scan_id: str) -> Response:
    """Tell a script how far an upload is: 200, or 404."""
    upload = _get(scan_id)
    return jsonify(status_to_json(upload))


@blueprint.get("/<scan_id>/series/<int:index>/voxels")
def voxels(scan_id: str, index: int) -> Response:
    """Give a series' pictures as one block (see `PackedSeries`): 200, or 404."""
    upload = _get(scan_id)
    return _block(upload, f"voxels-{_checked(upload, index)}")


@blueprint.get("/<scan_id>/series/<int:index>/evidence")
def evidence(scan_id: str, index: int) -> Response:
    """Give a series' evidence as one block of uint8, (D, H, W): 200, 404 or 409."""
    upload = _get(scan_id)
    if not judged_series(upload, index)["has_evidence"]:
        raise NotFound
    return _block(upload, f"evidence-{index}")


@blueprint.get("/<scan_id>/series/<int:index>/thumbnail.png")
def thumbnail(scan_id: str, index: int) -> Response:
    """Give a small picture of a series' middle slice: 200, or 404."""
    upload = _get(scan_id)
    data = app_state().store.read(upload, f"thumbnail-{_checked(upload, index)}")
    return png_response(data)


@blueprint.get("/<scan_id>/series/<int:index>/finding.json")
def download_json(scan_id: str, index: int) -> Response:
    """Give a series' finding as a JSON file: 200, 404 or 409."""
    upload = _get(scan_id)
    data = jsonify(judged_series(upload, index)["finding"]).get_data()
    name = f"{_stem(upload)}.series{index + 1}.tumorlens.json"
    return download_response(data, "application/json", name)


@blueprint.get("/<scan_id>/study.json")
def download_study(scan_id: str) -> Response:
    """Give what all series show together as a JSON file: 200, 404 or 409."""
    upload = _get(scan_id)
    data = jsonify(judged_study(upload)).get_data()
    name = f"{_stem(upload)}.study.tumorlens.json"
    return download_response(data, "application/json", name)


@blueprint.get("/<scan_id>/series/<int:index>/evidence.nii.gz")
def download_evidence(scan_id: str, index: int) -> Response:
    """Give a series' evidence as a NIfTI file: 200, 404 or 409."""
    upload = _get(scan_id)
    data = evidence_nifti(upload, index).get_data()
    name = f"{_stem(upload)}.series{index + 1}.evidence.nii.gz"
    return download_response(data, "application/gzip", name)


@blueprint.get("/<scan_id>/report.pdf")
def download_report(scan_id: str) -> Response:
    """Give the PDF report of all series: 200, 404 or 409."""
    upload = _get(scan_id)
    data = series_report_pdf(upload).get_data()
    return download_response(data, "application/pdf", f"{_stem(upload)}.tumorlens.pdf")


@blueprint.post("/<scan_id>/stop")
def stop(scan_id: str) -> AnyResponse:
    """Stop judging an upload, and keep the findings: 303 to its page, or 404."""
    app_state().store.stop(_get(scan_id))
    return redirect(url_for("series.show", scan_id=scan_id), 303)


@blueprint.post("/<scan_id>/series/<int:index>/feedback")
def mark(scan_id: str, index: int) -> AnyResponse:
    """Keep whether the finding of a series is right, and what it shows.

    Answers 303 to its page; 404, 409 while the scan is judged, or 422.
    """
    mark_result(_get(scan_id), index)
    return redirect(url_for("series.show", scan_id=scan_id, series=index + 1), 303)


@blueprint.post("/<scan_id>/series/<int:index>/feedback/delete")
def unmark(scan_id: str, index: int) -> AnyResponse:
    """Take back what was said of a series: 303 to its page, 404 or 409."""
    upload = _get(scan_id)
    judged_series(upload, index)
    app_state().store.mark(upload, None, index)
    return redirect(url_for("series.show", scan_id=scan_id, series=index + 1), 303)


@blueprint.post("/<scan_id>/pin")
def pin(scan_id: str) -> AnyResponse:
    """Keep an upload until it is unpinned: 303 to its page, 404, 409, 429 or 507."""
    pin_result(_get(scan_id))
    keep_session()
    return redirect(url_for("series.show", scan_id=scan_id), 303)


@blueprint.post("/<scan_id>/pin/delete")
def unpin(scan_id: str) -> AnyResponse:
    """Let an upload go by its age again: 303 to the start page, or 404."""
    app_state().store.unpin(_get(scan_id))
    return redirect(url_for("home.show"), 303)


@blueprint.post("/<scan_id>/delete")
def delete(scan_id: str) -> AnyResponse:
    """Remove an upload with its pictures, also while it is judged.

    Answers 303 to the start page, or 404.
    """
    app_state().store.delete(scan_id, session_id() or NOBODY, Kind.SCAN)
    return redirect(url_for("home.show"), 303)


def _get(scan_id: str) -> Upload:
    return app_state().store.get(scan_id, session_id() or NOBODY, Kind.SCAN)


def _checked(upload: Upload, index: int) -> int:
    """Return the index of a series, unless the upload has no such one (404)."""
    if index >= len(upload.series):
        raise NotFound
    return index


def _chosen(upload: Upload) -> dict[str, Any] | None:
    """Find the series to show: the one asked for, else what the model knows best."""
    asked = request.args.get("series", type=int)
    if asked is not None and 1 <= asked <= len(upload.series):
        return upload.series[asked - 1]
    return main_series(upload)


def _compared(upload: Upload, number: str) -> dict[str, Any]:
    """Gather what the comparison shows of a judged series; `NotFound` without one."""
    if not number.isdecimal() or not 1 <= int(number) <= len(upload.series):
        raise NotFound
    facts = upload.series[int(number) - 1]
    finding = facts["finding"]
    if finding is None:
        raise NotFound
    glance = series_glance_rows(finding)
    return {
        "title": presentation.series_choice(upload, facts),
        "url": url_for("series.show", scan_id=upload.id, series=facts["index"] + 1),
        # Documents of version 0.1 name none.
        "patient": facts.get("patient"),
        "decision": presentation.shade_of(finding),
        "answer": presentation.headline(finding),
        "p_tumor": words.percent(glance[0][1]) if glance else None,
        "viewer": _viewer(upload, facts),
    }


def _of_one_head(upload: Upload, one: int | None, other: int | None) -> bool:
    """Tell whether two series of an upload have the same places in a patient."""
    if one is not None or other is not None:
        return one == other
    # Nobody is named: what judged them together may have seen that they are several.
    study = upload.study
    return study is None or study["status"] != SeveralPeopleError.code


def _others(upload: Upload, facts: dict[str, Any]) -> list[dict[str, str]]:
    """List the series of this session that one can be compared with."""
    scans = app_state().store.owned(upload.owner, Kind.SCAN)
    # Those of the same upload come first.
    scans = tuple(sorted(scans, key=lambda scan: scan.id != upload.id))
    return [
        {
            "value": f"{scan.id}.{item['index'] + 1}",
            "title": presentation.series_choice(scan, item),
        }
        for scan in scans
        for item in scan.series
        if item["finding"] is not None
        and (scan.id, item["index"]) != (upload.id, facts["index"])
    ]


def _viewer(upload: Upload, facts: dict[str, Any]) -> dict[str, Any]:
    """Gather what the viewer's script needs of a judged series."""
    place = {"scan_id": upload.id, "index": facts["index"]}
    geometry = {"affine": None, **facts["geometry"]}
    return {
        **geometry,
        "voxels": url_for("series.voxels", **place),
        "evidence": (
            url_for("series.evidence", **place) if facts["has_evidence"] else None
        ),
        "first": _first_position(facts["finding"], geometry["shape"]),
        "colors": color_scale().ravel().tolist(),
    }


def _finding(upload: Upload, facts: dict[str, Any]) -> dict[str, Any]:
    """Gather what the page shows of a judged series."""
    finding, bundle = facts["finding"], app_state().bundle
    place = {"scan_id": upload.id, "index": facts["index"]}
    example = example_of(upload.document)
    probabilities = finding["probabilities"]
    refused = finding["decision"] == Verdict.NOT_BRAIN_MRI
    # A model of volumes says nothing of single slices.
    whole = bool(probabilities) and set(finding["slice_p_tumor"]) == {None}
    return {
        "finding": finding,
        "refused": refused,
        "whole": whole,
        "warnings": presentation.warnings(
            finding, upload.document["notes"], bundle.version
        ),
        "glance": series_glance_rows(finding),
        "example": example,
        "example_trained": example and example.has_trained(bundle.provenance),
        "point": bundle.operating_points.get(finding["operating_point"]),
        "probabilities": probabilities
        and [(info_of(name), probabilities[name]) for name in classes_of(finding)],
        "curve": curve_of(finding["slice_p_tumor"], finding["run"]),
        "scale": overlay_colors(),
        "viewer": {
            **_viewer(upload, facts),
            "p_tumor": finding["slice_p_tumor"],
            "whole": whole,
        },
        "presets": [
            (name, title)
            for name, title in presentation.WINDOWS.items()
            if facts["geometry"].get(name)
        ],
        "others": _others(upload, facts),
        "place": place,
        # The worker writes on a scan until it is over.
        "feedback": presentation.feedback_card(
            upload, facts.get(FEEDBACK), marked_classes(finding), refused=refused
        )
        if upload.state.is_over
        else None,
    }


def _first_position(finding: dict[str, Any], shape: list[int]) -> list[int]:
    """Say where the viewer opens: at the spot, else in the most suspicious slice."""
    if finding["lesion"] is not None:
        return list(finding["lesion"]["peak"])
    slice_, row, column = (size // 2 for size in shape)
    if finding["key_slices"]:
        slice_ = finding["key_slices"][0]
    return [slice_, row, column]


def _block(upload: Upload, name: str) -> Response:
    """Answer with voxels, packed as they are kept."""
    data = app_state().store.read(upload, name)
    response = Response(data, mimetype="application/octet-stream")
    # It is kept packed, and every browser unpacks it by itself.
    response.headers["Content-Encoding"] = "gzip"
    return response


def _stem(upload: Upload) -> str:
    return PurePath(upload.document["label"]).name.split(".")[0] or "scan"
