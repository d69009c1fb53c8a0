"""The audit trail of requests: which of them it records.

The pictures that belong to a page are left out, and so is asking how far a scan is.
"""

from __future__ import annotations

from flask import Flask, Response, g, request

from tumorlens.operations.audit import (
    AuditAction,
    AuditEvent,
    AuditOutcome,
    AuditTrail,
    note_event,
)
from tumorlens.web.security import logged_in

_MADE = "made_results"
_IMPORT = (AuditEvent.IMPORT, AuditAction.CREATE)
_ACCESS = (AuditEvent.ACCESS, AuditAction.READ)
_EXPORT = (AuditEvent.EXPORT, AuditAction.READ)
_DELETION = (AuditEvent.DELETION, AuditAction.DELETE)
_CHANGE = (AuditEvent.ACTIVITY, AuditAction.UPDATE)
_LOGIN = (AuditEvent.AUTHENTICATION, AuditAction.EXECUTE)

EVENTS = {
    "account.add_code": _CHANGE,
    "account.add_passkey": _CHANGE,
    "account.remove_code": _CHANGE,
    "account.remove_passkey": _CHANGE,
    "api.series.create": _IMPORT,
    "api.series.delete": _DELETION,
    "api.series.evidence": _EXPORT,
    "api.series.finding": _ACCESS,
    "api.series.mark": _CHANGE,
    "api.series.pin": _CHANGE,
    "api.series.report": _EXPORT,
    "api.series.study": _ACCESS,
    "api.series.study_evidence": _EXPORT,
    "api.series.unmark": _CHANGE,
    "api.series.unpin": _CHANGE,
    "api.slices.create": _IMPORT,
    "api.slices.delete": _DELETION,
    "api.slices.evidence": _EXPORT,
    "api.slices.gradcam": _EXPORT,
    "api.slices.mark": _CHANGE,
    "api.slices.overlay": _EXPORT,
    "api.slices.pin": _CHANGE,
    "api.slices.report": _EXPORT,
    "api.slices.show": _ACCESS,
    "api.slices.unmark": _CHANGE,
    "api.slices.unpin": _CHANGE,
    "drift.show": (AuditEvent.ACTIVITY, AuditAction.READ),
    "home.delete_all": _DELETION,
    "home.download_csv": _EXPORT,
    "home.download_pdf": _EXPORT,
    "home.judge_example": _IMPORT,
    "home.undo_deletion": _CHANGE,
    "login.enter": _LOGIN,
    "login.enter_by_passkey": _LOGIN,
    "login.enter_by_provider": _LOGIN,
    "login.leave": _LOGIN,
    "series.compare": _ACCESS,
    "series.create": _IMPORT,
    "series.delete": _DELETION,
    "series.download_evidence": _EXPORT,
    "series.download_json": _EXPORT,
    "series.download_report": _EXPORT,
    "series.download_study": _EXPORT,
    "series.show": _ACCESS,
    "series.mark": _CHANGE,
    "series.pin": _CHANGE,
    "series.stop": _CHANGE,
    "series.unmark": _CHANGE,
    "series.unpin": _CHANGE,
    "slices.create": _IMPORT,
    "slices.delete": _DELETION,
    "slices.judge_frame": _IMPORT,
    "slices.download_json": _EXPORT,
    "slices.download_overlay": _EXPORT,
    "slices.download_pdf": _EXPORT,
    "slices.mark": _CHANGE,
    "slices.pin": _CHANGE,
    "slices.show": _ACCESS,
    "slices.unmark": _CHANGE,
    "slices.unpin": _CHANGE,
}
"""Event and action by endpoint."""


def note_made(result_id: str) -> None:
    """Note a result that the request at hand has made."""
    g.setdefault(_MADE, []).append(result_id)


def keep_audit(app: Flask, trail: AuditTrail) -> None:
    """Let an app record what is done with results.

    Parameters
    ----------
    app
        An app that has had no request so far.
    trail
        Where it is recorded.
    """

    def record(response: Response) -> Response:
        kind = EVENTS.get(request.endpoint or "")
        if kind is None:
            return response
        outcome, objects = AuditOutcome.SUCCESS, list(g.get(_MADE, ()))
        if response.status_code >= 500:
            outcome = AuditOutcome.SERIOUS_FAILURE
        elif response.status_code >= 400:
            outcome = AuditOutcome.MINOR_FAILURE
        else:
            # Of a failure they may be anything that somebody typed.
            named = request.view_args or {}
            objects += [
                named[name] for name in ("analysis_id", "scan_id") if name in named
            ]
        note_event(
            trail,
            kind,
            outcome,
            user=logged_in() or "",
            origin=request.remote_addr or "",
            objects=objects,
            detail=request.endpoint or "",
        )
        return response

    app.after_request(record)
