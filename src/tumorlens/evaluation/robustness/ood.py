"""Measures whether a bundle refuses what is no brain MRI, and passes what is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.labelled_slices import pick, read_labelled_slice
from tumorlens.data.manifest import Record
from tumorlens.evaluation.robustness.ood_pictures import OodPicture, gather_ood_pictures
from tumorlens.evaluation.scoring.scored_slices import (
    MeasuredBundle,
    judge_slices,
    share_of_each,
)
from tumorlens.imaging.study import Slice
from tumorlens.inference.classifier import Classifier
from tumorlens.statistics.resampling import Figure, auroc_figure, share_figure
from tumorlens.taxonomy import Verdict

_REAL_SLICES = 400
_OF_EACH_KIND = 20
_CURVE_POINTS = 60


@dataclass(frozen=True)
class _OodScores:
    """Domain scores (N,), refusals (N,), and N names of who counts together."""

    scores: NDArray[np.float64]
    refused: NDArray[np.bool_]
    groups: NDArray[np.str_]

    def rows(self, kept: NDArray[np.bool_]) -> _OodScores:
        return _OodScores(self.scores[kept], self.refused[kept], self.groups[kept])

    @staticmethod
    def joined(parts: Sequence[_OodScores]) -> _OodScores:
        return _OodScores(
            np.concatenate([item.scores for item in parts]),
            np.concatenate([item.refused for item in parts]),
            np.concatenate([item.groups for item in parts]),
        )


def measure_ood(
    measured_bundles: Sequence[MeasuredBundle],
    say: Callable[[str], None] = print,
    of_each_kind: int = _OF_EACH_KIND,
) -> dict[str, Any]:
    """Show a bundle what is no brain MRI, and brain MRI beside it.

    Parameters
    ----------
    measured_bundles
        Bundles, at least one, and records: plain ones are brain MRI; those flagged
        ``ct`` are out of distribution; other flags are left out.
    say
        Receives lines of progress.
    of_each_kind
        Pictures of each drawn kind, shared by the bundles. Photographs are shown to
        every bundle.

    Returns
    -------
    dict
        Plain JSON. ``bundles`` counts them. ``kinds`` by name: ``pictures``,
        ``taught``, ``auroc`` of the domain score against brain MRI, ``refused``.
        The same for ``all`` pictures, and for the kinds that ``taught`` the bundle
        and those that are ``new`` to it. ``passed`` and ``passed_by_source`` of the
        brain MRI.
        ``curve`` holds the shares passed and refused over all thresholds.
        Intervals are over patients and over whole photographs.
    """
    each = share_of_each(of_each_kind, measured_bundles)
    pictures: list[OodPicture] = []
    sources: list[str] = []
    notes: list[str] = []
    ood_parts, real_parts = [], []
    for number, item in enumerate(measured_bundles):
        shown, notes = gather_ood_pictures(item.records, each, number * each)
        slices = _real_slices(
            item.records, share_of_each(_REAL_SLICES, measured_bundles)
        )
        say(f"Judging {len(shown)} foreign pictures, {len(slices)} slices beside them.")
        named = [(f"foreign {row.kind} {row.origin}", row.slice_) for row in shown]
        ood_parts.append(_score(item.classifier, named))
        named = [(row.group, slice_) for row, slice_ in slices]
        real_parts.append(_score(item.classifier, named))
        pictures += shown
        sources += [row.source for row, _ in slices]
    ood, real = _OodScores.joined(ood_parts), _OodScores.joined(real_parts)
    taught = np.array([item.taught for item in pictures])
    return {
        "bundles": len(measured_bundles),
        "slices": len(sources),
        "patients": len(set(real.groups.tolist())),
        "passed": share_figure(~real.refused, real.groups.tolist()),
        "passed_by_source": _by_source(sources, real),
        "all": _against(real, ood),
        "taught": _against(real, ood.rows(taught)),
        "new": _against(real, ood.rows(~taught)),
        "kinds": _by_kind(real, ood, pictures),
        "curve": _curve(real, ood.rows(~taught)),
        "notes": notes,
    }


def _real_slices(records: Sequence[Record], count: int) -> list[tuple[Record, Slice]]:
    plain = [item for item in records if not item.flag]
    return [
        (item, slice_)
        for item in pick(plain, count)
        if (slice_ := read_labelled_slice(item)) is not None
    ]


def _score(classifier: Classifier, named: Sequence[tuple[str, Slice]]) -> _OodScores:
    """Judge slices, each with the name of who counts together."""
    decisions = judge_slices(classifier, (item for _, item in named))
    groups = [name for name, _ in named]
    return _OodScores(
        np.array([item.domain_score for item in decisions], np.float64),
        np.array([item.label is Verdict.NOT_BRAIN_MRI for item in decisions], bool),
        np.array(groups, np.str_),
    )


def _against(real: _OodScores, ood: _OodScores) -> dict[str, Any]:
    scores = np.concatenate([real.scores, ood.scores])
    is_real = np.arange(len(scores)) < len(real.scores)
    groups = [*real.groups.tolist(), *ood.groups.tolist()]

    return {
        "pictures": len(ood.scores),
        "auroc": auroc_figure(scores, is_real, groups),
        "refused": share_figure(ood.refused, ood.groups.tolist()),
    }


def _by_kind(
    real: _OodScores, ood: _OodScores, pictures: Sequence[OodPicture]
) -> dict[str, Any]:
    kinds = np.array([item.kind for item in pictures], np.str_)
    return {
        kind: {"taught": taught, **_against(real, ood.rows(kinds == kind))}
        for kind, taught in {item.kind: item.taught for item in pictures}.items()
    }


def _by_source(sources: Sequence[str], real: _OodScores) -> dict[str, Figure | None]:
    names = np.array(sources, np.str_)
    parts = {name: real.rows(names == name) for name in sorted(set(sources))}
    return {
        name or "unnamed": share_figure(~part.refused, part.groups.tolist())
        for name, part in parts.items()
    }


def _curve(real: _OodScores, ood: _OodScores) -> dict[str, list[float]]:
    """Shares over thresholds: of brain MRI that passes, of the rest refused."""
    if not len(real.scores) or not len(ood.scores):
        return {"passed": [], "refused": []}
    # From the brain MRI's own scores: most thresholds where most slices lie.
    cuts = np.quantile(real.scores, np.linspace(0.0, 1.0, _CURVE_POINTS) ** 2)
    return {
        "passed": [float((real.scores >= cut).mean()) for cut in cuts],
        "refused": [float((ood.scores < cut).mean()) for cut in cuts],
    }
