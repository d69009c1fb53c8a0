"""What lists show of an analysis or a scan."""

from __future__ import annotations

from typing import Any

from flask import url_for

from tumorlens.report import words
from tumorlens.taxonomy import decision_title
from tumorlens.web.uploads.analysis_record import Analysis
from tumorlens.web.uploads.series_record import Scan, State
from tumorlens.web.views.series_words import STATES


def analysis_row(analysis: Analysis) -> dict[str, Any]:
    """Gather what a list shows of an analysis."""
    document = analysis.document
    return {
        "id": analysis.id,
        "name": document["file"],
        "slice": document["slice"],
        "decision": document["decision"],
        "title": decision_title(document["decision"]),
        "p_tumor": words.percent(document["p_tumor"]),
        "url": url_for("pages.result", analysis_id=analysis.id),
        "picture": url_for("pages.picture", analysis_id=analysis.id),
    }


def scan_row(scan: Scan) -> dict[str, Any]:
    """Gather what a list shows of a scan: its first series, or its state."""
    row = {
        "id": scan.id,
        "name": scan.document["label"],
        "series": len(scan.series),
        "url": url_for("scans.show", scan_id=scan.id),
        "picture": None,
        "decision": None,
        "p_tumor": None,
        "title": STATES[scan.state],
    }
    if not scan.series:
        if scan.state is State.DONE:
            row["title"] = f"{len(scan.document['analyses'])} single pictures"
        return row
    first = min(scan.series, key=lambda item: (item["rank"], item["index"]))
    row["picture"] = url_for("scans.thumbnail", scan_id=scan.id, index=first["index"])
    found = first["finding"]
    if found is not None:
        row["decision"] = found["decision"]
        row["title"] = decision_title(found["decision"])
        if found["p_tumor"] is not None:
            row["p_tumor"] = words.percent(found["p_tumor"])
    return row
