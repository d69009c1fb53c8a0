"""Requests and answers that the pages and the API share.

Tested in `tests/web/views/api/` and `tests/web/views/pages/`.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from flask import Response, request, send_file, url_for
from werkzeug.exceptions import NotFound

from tumorlens.errors import (
    DiskFullError,
    InputError,
    MissingFileError,
    NotReadyError,
    OutputError,
    SettingError,
    TooSlowError,
)
from tumorlens.inference.slice.prediction import Failure
from tumorlens.report.feedback import KEY as FEEDBACK
from tumorlens.report.feedback import Feedback
from tumorlens.report.slice.document import RESEARCH_USE, classes_of
from tumorlens.report.slice.overlay import OverlayKind
from tumorlens.taxonomy import ClassName
from tumorlens.web.app_state import app_state
from tumorlens.web.security import listed_owner
from tumorlens.web.uploads.upload import Kind, Upload
from tumorlens.web.views.presentation import session_rows

USUALLY_LISTED, MOST_LISTED = 20, 100
"""Results on a page of a list."""

_SERVER_FAULTS = {
    DiskFullError.code: DiskFullError.http_status,
    TooSlowError.code: TooSlowError.http_status,
    OutputError.code: OutputError.http_status,
    "internal_error": 500,
}

STATUS_SCHEMA = "tumorlens-scan-status/1"

_YES_OR_NO = {"yes": True, "no": False}
_TRUE_OR_FALSE = {"true": True, "false": False}


def upload_status(results: Sequence[Upload | Failure]) -> int:
    """Choose the HTTP status that sums up an upload of pictures.

    Parameters
    ----------
    results
        Results of the upload's files.

    Returns
    -------
    int
        200 where anything could be judged; where nothing could, 507 for a full disk,
        503 where there was no time, 500 for another fault of the server, else 422.
    """
    codes = {item.code for item in results if isinstance(item, Failure)}
    if len(codes) == 0 or any(isinstance(item, Upload) for item in results):
        return 200
    for code, status in _SERVER_FAULTS.items():
        if code in codes:
            return status
    return 422


def overlay_kind() -> OverlayKind:
    """Read which overlay the address asks for; evidence by default.

    Raises
    ------
    InputError
        Where there is no such overlay (422).
    """
    text = request.args.get("kind", OverlayKind.EVIDENCE.value)
    try:
        return OverlayKind(text)
    except ValueError:
        kinds = ", ".join(OverlayKind)
        raise InputError(
            f"There is no overlay {text[:40]!r}.", f"Give one of: {kinds}."
        ) from None


def listed_page(kind: Kind) -> tuple[list[Upload], str | None]:
    """Find the results on the page of a list that the address asks for.

    Parameters
    ----------
    kind
        Pictures or scans.

    Returns
    -------
    list of Upload
        Those of who is logged in, the newest first: ``limit`` of them, and only what
        comes ``after`` an id, or is ``pinned``.
    str or None
        Address of the next page; None where there is none.

    Raises
    ------
    SettingError
        Where the limit is no number from 1 to `MOST_LISTED`, or ``pinned`` neither true
        nor false (400).
    MissingFileError
        Where what the page begins after is not there any more (404).
    MethodNotAllowed
        Where there is no log-in (405).
    """
    length, after = _page_length(), request.args.get("after")
    told = request.args.get("pinned", "false")
    if told not in _TRUE_OR_FALSE:
        raise SettingError(f"'pinned' is {told[:40]!r}.", "Give true or false.")
    pinned = _TRUE_OR_FALSE[told]
    uploads, last = app_state().store.page(listed_owner(), kind, after, length, pinned)
    if last is None:
        return uploads, None
    more: dict[str, Any] = {"pinned": told} if pinned else {}
    return uploads, url_for(str(request.endpoint), limit=length, after=last, **more)


def _page_length() -> int:
    text = request.args.get("limit", str(USUALLY_LISTED))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_LISTED):
        raise SettingError(
            f"The limit is {text[:40]!r}.", f"Give a number from 1 to {MOST_LISTED}."
        )
    return int(text)


def marked_classes(document: Mapping[str, Any]) -> Sequence[ClassName]:
    """Give the classes in which a result of a slice or series can be marked.

    A series in which nothing was judged names none: the model in use does.
    """
    bundle = app_state().bundle
    is_named = document["probabilities"] or document.get("raw")
    if not is_named and document["model_version"] == bundle.version:
        return bundle.classes
    return classes_of(document)


def mark_result(upload: Upload, index: int | None = None) -> dict[str, Any]:
    """Keep what the request says of a result: whether it is right, and what it shows.

    Parameters
    ----------
    upload
        A picture, or the scan that has the series.
    index
        Number of the series in the scan, from 0; None for a picture.

    Returns
    -------
    dict
        The mark, as plain JSON values.

    Raises
    ------
    InputError
        The request is neither a form nor JSON with ``correct``, or its ``finding`` is
        none or contradicts it (422).
    MissingFileError, NotFound
        There is no such result (404).
    NotReadyError
        The series or its scan is still being judged (409).
    """
    document = upload.document
    if index is not None:
        document = judged_series(upload, index)["finding"]
    sent: object = request.form.to_dict() or request.get_json(silent=True)
    values: dict[Any, Any] = sent if isinstance(sent, dict) else {}
    correct, finding = values.get("correct"), values.get("finding")
    if isinstance(correct, str):
        correct = _YES_OR_NO.get(correct)
    if not isinstance(correct, bool) or not isinstance(finding, str | None):
        raise InputError(
            "The request does not say whether the result is right.",
            "Send 'correct' as true or false, and 'finding' as text where it is known.",
        )
    feedback = Feedback.on(
        document["decision"], correct, finding, time.time(), marked_classes(document)
    )
    app_state().store.mark(upload, feedback, index)
    app_state().metrics.feedback.labels("yes" if correct else "no").inc()
    return feedback.to_json()


def pin_result(upload: Upload) -> None:
    """Keep a result until it is unpinned, as the request asks.

    Raises
    ------
    MissingFileError
        It was removed meanwhile (404).
    NotReadyError
        It is still being judged (409).
    QuotaError
        Its owner has pinned as many results as he may (429).
    StoreFullError
        Pinned results take all the room that they may (507).
    """
    app_state().store.pin(upload, app_state().settings.pinned_results)


def png_response(data: bytes) -> Response:
    """Answer with a picture."""
    return Response(data, mimetype="image/png")


def download_response(data: bytes, mimetype: str, name: str) -> Response:
    """Answer with a file that the browser keeps under this name."""
    return send_file(io.BytesIO(data), mimetype, as_attachment=True, download_name=name)


def slice_report_pdf(analysis: Upload) -> Response:
    """Answer with the report of one slice.

    Raises
    ------
    MissingFileError
        Where the pictures were removed meanwhile (404).
    """
    # Imported late: it would take a third of the server's start.
    from tumorlens.report.slice.pdf import render_pdf

    prediction = app_state().store.prediction(analysis)
    data = render_pdf(prediction, app_state().bundle, analysis.date)
    return Response(data, mimetype="application/pdf")


def reports_pdf(pictures: Sequence[Upload], scans: Sequence[Upload]) -> bytes:
    """Put the reports of a session's results into one file.

    Parameters
    ----------
    pictures
        Single pictures; one that was removed meanwhile is left out.
    scans
        Uploads of series that have a report.
    """
    # Imported late: it would take a third of the server's start.
    from tumorlens.report.slice.pdf import Report, render_collection, render_pdf

    bundle, store = app_state().bundle, app_state().store
    uploads = {item.id: item for item in (*pictures, *scans)}
    reports = []
    for row in reversed(session_rows(pictures, scans, {})):
        upload = uploads[row["id"]]
        with suppress(MissingFileError):
            if upload.kind is Kind.SCAN:
                data = store.read(upload, "report")
            else:
                data = render_pdf(store.prediction(upload), bundle, upload.date)
            reports.append(
                Report(row["name"], row["title"], row["p_tumor"] or "", data)
            )
    return render_collection(reports, bundle, datetime.now(UTC))


def judged_series(upload: Upload, index: int) -> dict[str, Any]:
    """Return what is known of a series that was judged.

    Parameters
    ----------
    upload
        The upload that has the series.
    index
        Number of the series in the upload, from 0.

    Raises
    ------
    NotFound
        Where the upload has no such series (404).
    NotReadyError
        Where it is not judged yet, or the upload came to nothing before (409).
    """
    if index >= len(upload.series):
        if not upload.state.is_over:
            raise NotReadyError("The upload is still being read.")
        raise NotFound
    facts = upload.series[index]
    if facts["finding"] is None:
        if upload.state.is_over:
            raise NotReadyError(
                "This series was not judged before the upload ended.",
                "Send its files again.",
            )
        raise NotReadyError("The series is still being judged.")
    return facts


def evidence_nifti(upload: Upload, index: int) -> Response:
    """Answer with a series' evidence as NIfTI.

    Raises
    ------
    MissingFileError
        Where its place in the patient is not known, or nothing could be judged
        (404).
    NotFound, NotReadyError
        The same as for `judged_series`.
    """
    facts = judged_series(upload, index)
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
    data = app_state().store.read(upload, f"nifti-{index}")
    return Response(data, mimetype="application/gzip")


def judged_study(upload: Upload) -> dict[str, Any]:
    """Return what the series of an upload show together.

    Raises
    ------
    MissingFileError
        Where they were not judged together: there is one series alone, they are of
        several people, or of sequences that the model does not know (404).
    NotReadyError
        Where they are still being judged (409).
    """
    study = upload.study
    if study is None:
        if not upload.state.is_over:
            raise NotReadyError("The upload is still being judged.")
        raise MissingFileError(
            "There are no several series that were judged together.",
            "Send all series of one study at once.",
        )
    if study["status"] != "ok":
        raise MissingFileError(study["message"], study["mend"])
    return study


def study_nifti(upload: Upload) -> Response:
    """Answer with the evidence of all series together as NIfTI.

    Raises
    ------
    MissingFileError
        Where there is none (404).
    NotReadyError
        The same as for `judged_study`.
    """
    study = judged_study(upload)
    if study["not_judged"] is not None or study["grid"]["affine_ras"] is None:
        raise MissingFileError(
            "There is no evidence to give for all series together.",
            "Read the finding instead.",
        )
    data = app_state().store.read(upload, "nifti-study")
    return Response(data, mimetype="application/gzip")


def series_report_pdf(upload: Upload) -> Response:
    """Answer with the report of all series of an upload.

    Raises
    ------
    MissingFileError
        Where the upload ended before all of it was judged (404).
    NotReadyError
        Where it is still being judged (409).
    """
    if not upload.document["has_report"]:
        if not upload.state.is_over:
            raise NotReadyError("The upload is still being judged.")
        raise MissingFileError(
            "There is no report: the upload ended before all of it was judged.",
            "Send its files again.",
        )
    data = app_state().store.read(upload, "report")
    return Response(data, mimetype="application/pdf")


def status_to_json(upload: Upload) -> dict[str, Any]:
    """Describe how far an upload is, without its results.

    Parameters
    ----------
    upload
        An upload of the files of a study.

    Returns
    -------
    dict
        Plain JSON values; `fraction` is 0 to 1, or None where it is not known.
    """
    progress, fraction = upload.progress, None
    if progress is not None and progress.total:
        fraction = progress.done / progress.total
    return {
        "schema": STATUS_SCHEMA,
        "id": upload.id,
        "file": upload.document["label"],
        "state": upload.state.value,
        "made": upload.date.isoformat(timespec="seconds"),
        "pinned": upload.is_pinned,
        "progress": {
            "done": 0 if progress is None else progress.done,
            "total": 0 if progress is None else progress.total,
            "fraction": 1.0 if upload.state == "done" else fraction,
        },
        "error": upload.document["error"],
        "notes": upload.document["notes"],
        "operating_point": upload.document["operating_point"],
        "series": [_series_to_json(item) for item in upload.series],
        "research_use_only": RESEARCH_USE,
    }


def _series_to_json(facts: dict[str, Any]) -> dict[str, Any]:
    finding = facts["finding"]
    _, height, width = facts["geometry"]["shape"]
    spacing = facts["geometry"]["views"][0]["spacing_mm"]
    return {
        "index": facts["index"],
        "state": facts["state"],
        "plane": facts["plane"],
        "sequence": facts["sequence"],
        "slices": facts["slices"],
        "height": height,
        "width": width,
        "spacing_mm": spacing,
        "decision": None if finding is None else finding["decision"],
        "p_tumor": None if finding is None else finding["p_tumor"],
        "not_judged": None if finding is None else finding["not_judged"],
        "feedback": facts.get(FEEDBACK),
    }
