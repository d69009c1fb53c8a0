"""What is known of a series before it is judged."""

from __future__ import annotations

from typing import Any

from tumorlens.imaging.study import MRSequence, Series
from tumorlens.web.uploads.upload import State

_FIRST = (MRSequence.T1_CONTRAST, MRSequence.T1)


def rank_of(series: Series) -> int:
    """Rank a series: what the model was trained on comes first."""
    if series.sequence in _FIRST:
        return _FIRST.index(series.sequence)
    return len(_FIRST)


def first_facts(index: int, series: Series, geometry: dict[str, Any]) -> dict[str, Any]:
    """Gather what is known of a series that waits to be judged."""
    first = series.slices[0]
    return {
        "index": index,
        "state": State.WAITING,
        "plane": None if first.plane is None else first.plane.value,
        "sequence": None if series.sequence is None else series.sequence.value,
        "slices": len(series.slices),
        "rank": rank_of(series),
        "geometry": geometry,
        "finding": None,
        "has_evidence": False,
        "has_nifti": False,
    }
