"""Which bundle is measured on which slices, where the network is needed again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from tumorlens.data.manifest import Record
from tumorlens.imaging.study import Series, Slice, Study
from tumorlens.inference.classifier import Classifier
from tumorlens.inference.slice.results import Decision

_SLICES_AT_A_TIME = 16


@dataclass(frozen=True)
class Examined:
    """A bundle and the slices that it is measured on.

    Several stand for a cross-validation: each fold's bundle with the patients
    that it left out. Figures are then of all of them together.

    Parameters
    ----------
    classifier
        With its bundle loaded.
    records
        Of patients that no other of them is measured on.
    """

    classifier: Classifier
    records: Sequence[Record]


def shared(count: int, examined: Sequence[Examined]) -> int:
    """Say how many of `count` slices each bundle is measured on, at least one."""
    return max(1, count // max(1, len(examined)))


def judge_slices(classifier: Classifier, slices: Iterable[Slice]) -> list[Decision]:
    """Judge slices a few at a time, so that their maps are not kept.

    Parameters
    ----------
    classifier
        With its bundle loaded.
    slices
        Each is judged by itself.
    """
    waiting = iter(slices)
    found: list[Decision] = []
    while chunk := tuple(islice(waiting, _SLICES_AT_A_TIME)):
        study = Study((Series(chunk),))
        found += [item.decision for item in classifier.predict_study(study)]
    return found
