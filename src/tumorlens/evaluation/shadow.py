"""Answers of a node in shadow mode, against labels that came later.

Studies are counted, with intervals over patients. A refusal is neither right nor wrong:
it is counted by itself, and once more as a miss, so that neither figure hides it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from tumorlens.statistics import Figure, share_figure
from tumorlens.taxonomy import (
    Answer,
    Decided,
    Finding,
    Lesion,
    OwnClass,
    TumorClass,
    Verdict,
    is_tumor,
)

SCHEMA = "tumorlens-shadow/1"

LABEL_ORDER = (*TumorClass, *Lesion, Verdict.TUMOR)
"""Labels in the order of their rows."""

_FREE = (Answer.NO_TUMOR, Answer.LESION)


class LabelledCase(Protocol):
    """A series or a study, what was said of it, and its label where one came."""

    @property
    def patient(self) -> str:
        """Whose it is; any name."""

    @property
    def week(self) -> str:
        """ISO week in which it came."""

    @property
    def answer(self) -> Answer:
        """What was said; `Answer.NOT_BRAIN_MRI` where nothing was judged."""

    @property
    def kinds(self) -> tuple[Finding, ...]:
        """Kinds that were not ruled out."""

    @property
    def label(self) -> Decided | None:
        """What turned out; None where no label has come."""

    @property
    def sequence(self) -> str:
        """MR sequence, as it is stated."""

    @property
    def scanner(self) -> str:
        """Scanner, as it is stated."""

    @property
    def is_part(self) -> bool:
        """Whether it was judged as a part."""

    @property
    def reason(self) -> str:
        """Why it was not judged; empty where it was."""

    @property
    def model_version(self) -> str:
        """Version of the model; empty where none judged it."""


Case = TypeVar("Case", bound=LabelledCase)


def measure_shadow(
    series: Sequence[LabelledCase],
    studies: Sequence[LabelledCase],
    week: str | None = None,
) -> dict[str, Any]:
    """Measure what was said in shadow mode.

    Parameters
    ----------
    series, studies
        Cases of each.
    week
        ISO week to be looked at by itself; None for the newest in which any came.

    Returns
    -------
    dict
        Plain JSON values (schema ``tumorlens-shadow/1``), without any name of a study
        or a patient. ``week`` and ``all`` have the counts and rates of the week's
        studies and of all, ``weeks`` those of each week; ``answers`` counts answers by
        label; ``by_sequence`` has the rates of series, ``by_scanner`` those of studies;
        ``refusals`` counts series that were not judged by reason, ``models`` series by
        version. A rate is a figure with its 95 % interval over patients, null where no
        label allows it.
    """
    weeks = sorted({case.week for case in (*series, *studies)})
    chosen = week or (weeks[-1] if weeks else "")
    return {
        "schema": SCHEMA,
        "chosen_week": chosen,
        "week": _summary(
            [case for case in series if case.week == chosen],
            [case for case in studies if case.week == chosen],
        ),
        "all": _summary(series, studies),
        "weeks": {
            name: _summary(
                [case for case in series if case.week == name],
                [case for case in studies if case.week == name],
            )
            for name in weeks
        },
        "answers": _answers(studies),
        "by_sequence": _by(series, lambda case: case.sequence),
        "by_scanner": _by(studies, lambda case: case.scanner),
        "refusals": dict(
            Counter(case.reason for case in series if case.reason).most_common()
        ),
        "models": dict(
            Counter(case.model_version for case in series if case.model_version)
        ),
    }


def _summary(
    series: Sequence[LabelledCase], studies: Sequence[LabelledCase]
) -> dict[str, Any]:
    return {
        "series": len(series),
        "series_refused": sum(_is_refused(case) for case in series),
        "series_partial": sum(case.is_part for case in series),
        **_rates(studies),
    }


def _by(
    cases: Sequence[LabelledCase], group: Callable[[LabelledCase], str]
) -> dict[str, Any]:
    names = Counter(map(group, cases))
    return {
        name: _rates([case for case in cases if group(case) == name])
        for name, _ in names.most_common()
    }


def _rates(cases: Sequence[LabelledCase]) -> dict[str, Any]:
    """Count cases, and measure those that have a label."""
    labelled = [case for case in cases if case.label is not None]
    tumor = [case for case in labelled if _is_tumor(case)]
    free = [case for case in labelled if not _is_tumor(case)]
    named = [
        case
        for case in tumor
        if case.answer is Answer.TUMOR and _are_comparable(case.label, case.kinds)
    ]
    return {
        "cases": len(cases),
        "patients": _patients(cases),
        "answers": {
            answer.value: sum(case.answer is answer for case in cases)
            for answer in Answer
        },
        "labelled": len(labelled),
        "labelled_patients": _patients(labelled),
        "tumor": len(tumor),
        "tumor_patients": _patients(tumor),
        "free": len(free),
        "free_patients": _patients(free),
        "sensitivity": _share(_judged(tumor), _says_tumor),
        "specificity": _share(_judged(free), _says_free),
        "sensitivity_of_all": _share(tumor, _says_tumor),
        "specificity_of_all": _share(free, _says_free),
        "kind_named": _share(named, _names_the_kind),
        "kind_among_named": _share(named, _keeps_the_kind),
    }


def _are_comparable(label: Decided | None, kinds: Sequence[Finding]) -> bool:
    """Tell whether a label names a kind, of the set that the model's kinds are of."""
    if label is None or isinstance(label, Verdict):
        return False
    own = any(isinstance(kind, OwnClass) for kind in kinds)
    return isinstance(label, OwnClass) is own


def _answers(studies: Sequence[LabelledCase]) -> dict[str, dict[str, int]]:
    own = {case.label for case in studies if isinstance(case.label, OwnClass)}
    order: list[Decided] = [*sorted(own), *LABEL_ORDER]
    counts = {
        label.value: Counter(
            case.answer.value for case in studies if case.label == label
        )
        for label in order
    }
    return {
        label: {answer.value: row[answer.value] for answer in Answer}
        for label, row in counts.items()
        if row
    }


def disagreements(studies: Iterable[Case]) -> list[Case]:
    """List the labelled studies of which something else was said than turned out.

    These are tumours that were not said to be there, and studies free of one that were
    not called so; refusals too.

    Parameters
    ----------
    studies
        Cases, of which those without a label are left out.
    """
    return [
        case
        for case in studies
        if case.label is not None
        and not (_says_tumor(case) if _is_tumor(case) else _says_free(case))
    ]


def _share(
    cases: Sequence[LabelledCase], is_so: Callable[[LabelledCase], bool]
) -> Figure | None:
    return share_figure(
        np.array([is_so(case) for case in cases], np.float64),
        [case.patient for case in cases],
    )


def _patients(cases: Iterable[LabelledCase]) -> int:
    return len({case.patient for case in cases})


def _judged(cases: Iterable[LabelledCase]) -> list[LabelledCase]:
    return [case for case in cases if not _is_refused(case)]


def _is_refused(case: LabelledCase) -> bool:
    return case.answer is Answer.NOT_BRAIN_MRI


def _is_tumor(case: LabelledCase) -> bool:
    label = case.label
    if label is None or isinstance(label, Verdict):
        return label is Verdict.TUMOR
    return is_tumor(label)


def _says_tumor(case: LabelledCase) -> bool:
    return case.answer is Answer.TUMOR


def _says_free(case: LabelledCase) -> bool:
    return case.answer in _FREE


def _names_the_kind(case: LabelledCase) -> bool:
    return case.kinds == (case.label,)


def _keeps_the_kind(case: LabelledCase) -> bool:
    return case.label in case.kinds
