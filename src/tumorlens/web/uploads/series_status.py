"""How far a scan is, as JSON for the page's script and for programs.

Tested in `tests/web/views/api/test_series.py`.
"""

from __future__ import annotations

from typing import Any

from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.web.uploads.upload import Upload

STATUS_SCHEMA = "tumorlens-scan-status/1"


def status_to_json(scan: Upload) -> dict[str, Any]:
    """Describe a scan without its results.

    Parameters
    ----------
    scan
        From the store.

    Returns
    -------
    dict
        Plain JSON values; `fraction` is 0 to 1, or None where it is not known.
    """
    progress, fraction = scan.progress, None
    if progress is not None and progress.total:
        fraction = progress.done / progress.total
    return {
        "schema": STATUS_SCHEMA,
        "id": scan.id,
        "file": scan.document["label"],
        "state": scan.state.value,
        "made": scan.date.isoformat(timespec="seconds"),
        "progress": {
            "done": 0 if progress is None else progress.done,
            "total": 0 if progress is None else progress.total,
            "fraction": 1.0 if scan.state == "done" else fraction,
        },
        "error": scan.document["error"],
        "notes": scan.document["notes"],
        "operating_point": scan.document["operating_point"],
        "series": [_series(item) for item in scan.series],
        "research_use_only": RESEARCH_USE,
    }


def _series(facts: dict[str, Any]) -> dict[str, Any]:
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
    }
