"""The four classes: their order, names, display text and colours.

Every other part asks here; no other file spells a class.

Tested in `tests/data/test_manifest.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class TumorClass(StrEnum):
    """Class that a slice can show, in the order of every array of classes."""

    GLIOMA = "glioma"
    MENINGIOMA = "meningioma"
    PITUITARY = "pituitary"
    NO_TUMOR = "no_tumor"


class Lesion(StrEnum):
    """Lesion that is none of the four classes.

    ``other`` is a tumour of another kind, or a mass that looks like one; ``vascular``
    a stroke or a bleeding, which is a lesion and no tumour.
    """

    OTHER = "other"
    VASCULAR = "vascular"


Finding = TumorClass | Lesion


class Answer(StrEnum):
    """Answer to the first question about a slice or series: whether there is a tumour.

    ``lesion`` is a lesion that is no tumour, said only by networks that know such
    lesions; ``not_brain_mri`` means that nothing was judged.
    """

    TUMOR = "tumor"
    LESION = "lesion"
    NO_TUMOR = "no_tumor"
    UNCERTAIN = "uncertain"
    NOT_BRAIN_MRI = "not_brain_mri"


class Verdict(StrEnum):
    """Decision that names no class; ``tumor`` is one whose kind is open."""

    TUMOR = "tumor"
    UNCERTAIN = "uncertain"
    NOT_BRAIN_MRI = "not_brain_mri"


@dataclass(frozen=True)
class ClassInfo:
    """Title and description of a class for people.

    Parameters
    ----------
    title
        Name for people.
    sentence
        One sentence for the result page, in plain words.
    color
        sRGB hex colour, told apart by people with colour blindness
        (Okabe and Ito 2008).
    """

    title: str
    sentence: str
    color: str


CLASSES: tuple[TumorClass, ...] = tuple(TumorClass)
TUMOR_CLASSES: tuple[TumorClass, ...] = CLASSES[:3]
NO_TUMOR_INDEX = CLASSES.index(TumorClass.NO_TUMOR)
FINDINGS: tuple[Finding, ...] = (*CLASSES, *Lesion)
"""Findings of a network that knows other lesions, in the order of its outputs.

The four classes come first, so an array of findings begins as one of classes does."""
DECIDED: tuple[Finding, ...] = (*CLASSES, Lesion.OTHER)
"""Findings that a decision can name, in the order of its probabilities."""
TUMOR_FINDINGS: tuple[Finding, ...] = (*TUMOR_CLASSES, Lesion.OTHER)
"""Findings that are tumours; a vascular lesion is none."""

INFO: dict[Finding, ClassInfo] = {
    TumorClass.GLIOMA: ClassInfo(
        "Glioma", "The slice looks like one with a glioma.", "#D55E00"
    ),
    TumorClass.MENINGIOMA: ClassInfo(
        "Meningioma", "The slice looks like one with a meningioma.", "#0072B2"
    ),
    TumorClass.PITUITARY: ClassInfo(
        "Pituitary tumour",
        "The slice looks like one with a pituitary tumour.",
        "#CC79A7",
    ),
    TumorClass.NO_TUMOR: ClassInfo(
        "No tumour", "The model sees no sign of a tumour in this slice.", "#009E73"
    ),
    Lesion.OTHER: ClassInfo(
        "Another kind of tumour",
        "The slice looks like one with a tumour of another kind than glioma, "
        "meningioma and pituitary tumour.",
        "#E69F00",
    ),
    Lesion.VASCULAR: ClassInfo(
        "Vascular lesion",
        "The slice looks like one with a vascular lesion, such as a stroke, and "
        "without a tumour.",
        "#56B4E9",
    ),
}

Decided = Finding | Verdict
"""Answer of a decision: a class or a verdict."""

VERDICT_TITLES: dict[Verdict, str] = {
    Verdict.TUMOR: "Tumour, kind open",
    Verdict.UNCERTAIN: "Unclear",
    Verdict.NOT_BRAIN_MRI: "Not judged",
}

_OLD_VERDICTS = {"inconclusive": Verdict.UNCERTAIN}
"""Words in documents that version 0.1 stored."""

_SPELLINGS: dict[str, TumorClass] = {
    "glioma": TumorClass.GLIOMA,
    "gliomas": TumorClass.GLIOMA,
    "meningioma": TumorClass.MENINGIOMA,
    "meningiomas": TumorClass.MENINGIOMA,
    "pituitary": TumorClass.PITUITARY,
    "pituitaryadenoma": TumorClass.PITUITARY,
    "no": TumorClass.NO_TUMOR,
    "none": TumorClass.NO_TUMOR,
    "normal": TumorClass.NO_TUMOR,
    "healthy": TumorClass.NO_TUMOR,
    "negative": TumorClass.NO_TUMOR,
}


def parse_class(text: str) -> TumorClass | None:
    """Read a class name in any of the spellings that public sets use.

    Parameters
    ----------
    text
        Name such as ``glioma_tumor``, ``NoTumor`` or ``Pituitary tumour``.

    Returns
    -------
    TumorClass or None
        None where the text names no class.
    """
    word = re.sub(r"[^a-z]", "", text.lower())
    word = re.sub(r"(tumou?rs?)$", "", word)
    return _SPELLINGS.get(word)


def decision_title(decision: str) -> str:
    """Name a decision for people.

    Parameters
    ----------
    decision
        A value of `TumorClass`, `Lesion` or `Verdict`.
    """
    decided = parse_decided(decision)
    if isinstance(decided, Verdict):
        return VERDICT_TITLES[decided]
    return INFO[decided].title


def parse_finding(text: str) -> Finding:
    """Read a finding as results spell it; `ValueError` where it is none."""
    return Lesion(text) if text in set(Lesion) else TumorClass(text)


def parse_decided(text: str) -> Decided:
    """Read a decision as results spell it; `ValueError` where it is none."""
    if text in _OLD_VERDICTS:
        return _OLD_VERDICTS[text]
    return Verdict(text) if text in set(Verdict) else parse_finding(text)


def decision_of(answer: Answer, kinds: tuple[Finding, ...]) -> Decided:
    """Put both answers into one word.

    Parameters
    ----------
    answer
        Whether there is a tumour.
    kinds
        Kinds that are not ruled out.

    Returns
    -------
    Decided
        The kind where one is left, `Verdict.TUMOR` where several are. A lesion that
        is no tumour counts as no tumour.
    """
    if answer is Answer.TUMOR:
        return kinds[0] if len(kinds) == 1 else Verdict.TUMOR
    if answer in (Answer.NO_TUMOR, Answer.LESION):
        return TumorClass.NO_TUMOR
    return Verdict(answer.value)


def answer_of(decision: Decided) -> Answer:
    """Tell whether there is a tumour from a decision that was stored without it."""
    if isinstance(decision, Verdict):
        return Answer(decision.value)
    return Answer.NO_TUMOR if decision is TumorClass.NO_TUMOR else Answer.TUMOR
