"""Whether a bundle refuses what is no brain MRI, and passes what is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.labelled_slices import pick, read_labelled_slice
from tumorlens.data.manifest import Record
from tumorlens.evaluation.robustness.ood_pictures import Foreign, gather
from tumorlens.evaluation.scoring.examined import Examined, judge_slices, shared
from tumorlens.imaging.study import Slice
from tumorlens.inference.classifier import Classifier
from tumorlens.report.figure_words import judged_apart
from tumorlens.report.page_parts import Chart, Line, Section, Table
from tumorlens.statistics.intervals import Figure, in_words
from tumorlens.statistics.resampling import auroc_figure, share_figure
from tumorlens.taxonomy import Verdict

_REAL_SLICES = 400
_OF_EACH_KIND = 20
_CURVE_POINTS = 60


@dataclass(frozen=True)
class _Scored:
    """Domain scores (N,), refusals (N,), and N names of who counts together."""

    scores: NDArray[np.float64]
    refused: NDArray[np.bool_]
    groups: NDArray[np.str_]

    def rows(self, kept: NDArray[np.bool_]) -> _Scored:
        return _Scored(self.scores[kept], self.refused[kept], self.groups[kept])

    @staticmethod
    def joined(parts: Sequence[_Scored]) -> _Scored:
        return _Scored(
            np.concatenate([item.scores for item in parts]),
            np.concatenate([item.refused for item in parts]),
            np.concatenate([item.groups for item in parts]),
        )


def measure_foreign(
    examined: Sequence[Examined],
    say: Callable[[str], None] = print,
    of_each_kind: int = _OF_EACH_KIND,
) -> dict[str, Any]:
    """Show a bundle what is no brain MRI, and brain MRI beside it.

    Parameters
    ----------
    examined
        Bundles, at least one, and records: plain ones are brain MRI; those flagged
        ``ct`` are foreign; other flags are left out.
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
    each = shared(of_each_kind, examined)
    pictures: list[Foreign] = []
    sources: list[str] = []
    notes: list[str] = []
    of_foreign, of_real = [], []
    for number, item in enumerate(examined):
        shown, notes = gather(item.records, each, number * each)
        slices = _real_slices(item.records, shared(_REAL_SLICES, examined))
        say(f"Judging {len(shown)} foreign pictures, {len(slices)} slices beside them.")
        named = [(f"foreign {row.kind} {row.origin}", row.slice_) for row in shown]
        of_foreign.append(_score(item.classifier, named))
        named = [(row.group, found) for row, found in slices]
        of_real.append(_score(item.classifier, named))
        pictures += shown
        sources += [row.source for row, _ in slices]
    foreign, real = _Scored.joined(of_foreign), _Scored.joined(of_real)
    taught = np.array([item.taught for item in pictures])
    return {
        "bundles": len(examined),
        "slices": len(sources),
        "patients": len(set(real.groups.tolist())),
        "passed": share_figure(~real.refused, real.groups.tolist()),
        "passed_by_source": _by_source(sources, real),
        "all": _against(real, foreign),
        "taught": _against(real, foreign.rows(taught)),
        "new": _against(real, foreign.rows(~taught)),
        "kinds": _by_kind(real, foreign, pictures),
        "curve": _curve(real, foreign.rows(~taught)),
        "notes": notes,
    }


def _real_slices(records: Sequence[Record], count: int) -> list[tuple[Record, Slice]]:
    plain = [item for item in records if not item.flag]
    return [
        (item, found)
        for item in pick(plain, count)
        if (found := read_labelled_slice(item)) is not None
    ]


def _score(classifier: Classifier, named: Sequence[tuple[str, Slice]]) -> _Scored:
    """Judge slices, each with the name of who counts together."""
    found = judge_slices(classifier, (item for _, item in named))
    groups = [name for name, _ in named]
    return _Scored(
        np.array([item.domain_score for item in found], np.float64),
        np.array([item.decision is Verdict.NOT_BRAIN_MRI for item in found], bool),
        np.array(groups, np.str_),
    )


def _against(real: _Scored, foreign: _Scored) -> dict[str, Any]:
    scores = np.concatenate([real.scores, foreign.scores])
    known = np.arange(len(scores)) < len(real.scores)
    groups = [*real.groups.tolist(), *foreign.groups.tolist()]

    return {
        "pictures": len(foreign.scores),
        "auroc": auroc_figure(scores, known, groups),
        "refused": share_figure(foreign.refused, foreign.groups.tolist()),
    }


def _by_kind(
    real: _Scored, foreign: _Scored, pictures: Sequence[Foreign]
) -> dict[str, Any]:
    kinds = np.array([item.kind for item in pictures], np.str_)
    return {
        kind: {"taught": taught, **_against(real, foreign.rows(kinds == kind))}
        for kind, taught in {item.kind: item.taught for item in pictures}.items()
    }


def _by_source(sources: Sequence[str], real: _Scored) -> dict[str, Figure | None]:
    names = np.array(sources, np.str_)
    parts = {name: real.rows(names == name) for name in sorted(set(sources))}
    return {
        name or "unnamed": share_figure(~part.refused, part.groups.tolist())
        for name, part in parts.items()
    }


def _curve(real: _Scored, foreign: _Scored) -> dict[str, list[float]]:
    """Shares over thresholds: of brain MRI that passes, of the rest refused."""
    if not len(real.scores) or not len(foreign.scores):
        return {"passed": [], "refused": []}
    # From the brain MRI's own scores: most thresholds where most slices lie.
    cuts = np.quantile(real.scores, np.linspace(0.0, 1.0, _CURVE_POINTS) ** 2)
    return {
        "passed": [float((real.scores >= cut).mean()) for cut in cuts],
        "refused": [float((foreign.scores < cut).mean()) for cut in cuts],
    }


def section(figures: Mapping[str, Any]) -> Section:
    """Show what `measure_foreign` found."""
    words = [
        f"{figures['all']['pictures']} pictures that are no brain MRI were shown, "
        f"and {figures['slices']} brain MRI slices of {figures['patients']} patients. "
        f"{_by_whom(figures)}"
        "A bundle learns what to refuse from some kinds of pictures (taught); what "
        "counts are the kinds that it never learned from (new).",
        "Against brain MRI the domain score has an AUROC of "
        f"{in_words(figures['new']['auroc'], digits=4)} on new kinds and of "
        f"{in_words(figures['taught']['auroc'], digits=4)} on taught ones. At the "
        f"bundle's threshold {in_words(figures['new']['refused'], percent=True)} of "
        "the new kinds' pictures are refused, and "
        f"{in_words(figures['passed'], percent=True)} of the brain MRI pass.",
        *_weakest(figures),
        *figures["notes"],
    ]
    return Section(
        "foreign",
        "What is no brain MRI",
        words,
        (_kinds_table(figures), _sources_table(figures)),
        (_chart(figures),) if figures["curve"]["passed"] else (),
    )


def _by_whom(figures: Mapping[str, Any]) -> str:
    apart = judged_apart(figures).lstrip()
    return f"{apart} Photographs are shown to all, and count each time. " * bool(apart)


def _weakest(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the kind that passes most often, which pooled figures would hide."""
    name, found = min(
        figures["kinds"].items(), key=lambda item: float(item[1]["refused"]["value"])
    )
    if found["refused"]["value"] == 1.0:
        return ()
    return (
        f"Weakest is the kind '{name}': of {found['pictures']} pictures "
        f"{in_words(found['refused'], percent=True)} are refused.",
    )


def _kinds_table(figures: Mapping[str, Any]) -> Table:
    rows = [
        (
            kind,
            "taught" if found["taught"] else "new",
            str(found["pictures"]),
            in_words(found["auroc"], digits=3),
            in_words(found["refused"], percent=True),
        )
        for kind, found in sorted(
            figures["kinds"].items(), key=lambda item: (item[1]["taught"], item[0])
        )
    ]
    return Table(
        "By kind",
        ("Kind", "For the bundle", "Pictures", "AUROC", "Refused"),
        rows,
    )


def _sources_table(figures: Mapping[str, Any]) -> Table:
    return Table(
        "Brain MRI that passes, by source",
        ("Source", "Passed"),
        [
            (name, in_words(found, percent=True))
            for name, found in figures["passed_by_source"].items()
        ],
    )


def _chart(figures: Mapping[str, Any]) -> Chart:
    curve = figures["curve"]
    return Chart(
        "What refusal costs: new kinds refused, against brain MRI passed",
        "Brain MRI passed, share",
        "New kinds refused, share",
        (Line("domain score", curve["passed"], curve["refused"]),),
        x_range=(0.8, 1.0),
        y_range=(0.0, 1.0),
    )
