"""The four classes: their order, names, display text and colours; and a user's own.

Every other part asks here; no other file spells a class.

Tested in `tests/data/test_manifest.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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


class OwnClass(str):
    """Class of a user's own, by its name; made by `own_classes`, and equal to its name.

    Attributes
    ----------
    is_tumor
        Whether it is a kind of tumour.
    siblings
        All classes of its set, tumours first: the order of every array of them.
    """

    is_tumor: bool
    siblings: tuple[OwnClass, ...]

    @property
    def value(self) -> str:
        """Its name, as `TumorClass` gives it."""
        return str(self)

    def __copy__(self) -> OwnClass:
        """Return itself: it does not change."""
        return self

    def __deepcopy__(self, memo: object) -> OwnClass:
        """Return itself: it does not change."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Name what makes it again in another process."""
        names = {str(item): item.is_tumor for item in self.siblings}
        return _own_class, (str(self), names)


def _own_class(name: str, is_tumor: Mapping[str, bool]) -> OwnClass:
    classes = own_classes(is_tumor)
    return classes[classes.index(OwnClass(name))]


def own_classes(is_tumor: Mapping[str, bool]) -> tuple[OwnClass, ...]:
    """Make the classes of a user's own set.

    Parameters
    ----------
    is_tumor
        Two names or more, and whether each is a tumour; see `own_class_error`.

    Returns
    -------
    tuple of OwnClass
        Tumours first, then the others, each by name: the order of every array of
        them. The first that is no tumour stands for all such cells of a slice.
    """
    classes = tuple(
        OwnClass(name) for name in sorted(is_tumor, key=lambda x: (not is_tumor[x], x))
    )
    for item in classes:
        item.is_tumor, item.siblings = is_tumor[item], classes
    return classes


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,39}")
_TAKEN = ("tumor", "other", "vascular", "uncertain", "not_brain_mri")
"""Names that JSON and CSV use for something else."""


def own_class_error(is_tumor: Mapping[str, bool]) -> str | None:
    """Say in a sentence why names cannot be a set of classes; None where they can."""
    for name in is_tumor:
        if not _NAME.fullmatch(name):
            return (
                f"The class {name!r} is not 1 to 40 letters, digits, spaces, _ and -, "
                "a letter first."
            )
        if name in _TAKEN:
            return f"The class {name!r} has a name that results use for something else."
    if set(is_tumor.values()) != {True, False}:
        missing = "a tumour" if True not in is_tumor.values() else "no tumour"
        return f"None of the classes {', '.join(sorted(is_tumor))} is {missing}."
    if is_tumor.get("no_tumor"):
        return "The class 'no_tumor' is said to be a tumour."
    return None


ClassName = TumorClass | OwnClass
"""Class of a bundle or manifest: one of the four, or of a user's own."""
Finding = TumorClass | Lesion | OwnClass


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

_OWN_COLORS = ("#D55E00", "#0072B2", "#CC79A7", "#009E73", "#E69F00", "#56B4E9")


def info_of(finding: Finding) -> ClassInfo:
    """Give title, sentence and colour of any class, a user's own too."""
    if not isinstance(finding, OwnClass):
        return INFO[finding]
    title = class_title(finding)
    return ClassInfo(
        title,
        f"The slice looks like one of the class {title.lower()}.",
        _OWN_COLORS[finding.siblings.index(finding) % len(_OWN_COLORS)],
    )


def class_title(name: str) -> str:
    """Name a class for people, one of the four or a user's own, by its text."""
    if name in set(TumorClass):
        return INFO[TumorClass(name)].title
    title = name.replace("_", " ")
    return title[:1].upper() + title[1:]


def is_tumor(finding: Finding) -> bool:
    """Tell whether a finding is a tumour; a vascular lesion is none."""
    if isinstance(finding, OwnClass):
        return finding.is_tumor
    return finding in TUMOR_FINDINGS


def is_no_lesion(finding: Finding | None) -> bool:
    """Tell whether a class is free of any lesion; of a user's own, of any tumour."""
    if isinstance(finding, OwnClass):
        return not finding.is_tumor
    return finding is TumorClass.NO_TUMOR


def are_same_classes(some: Sequence[Finding], others: Sequence[Finding]) -> bool:
    """Tell whether two lists name the same classes, and the same ones tumours."""
    one, two = ([(str(x), is_tumor(x)) for x in names] for names in (some, others))
    return one == two


def clear_places(names: Sequence[Finding]) -> list[int]:
    """List the places of classes free of tumour; the first stands for such cells."""
    return [place for place, name in enumerate(names) if is_no_lesion(name)]


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
        A value of `TumorClass`, `Lesion` or `Verdict`, or a class of a user's own.
    """
    try:
        decided = parse_decided(decision)
    except ValueError:
        return class_title(decision)
    if isinstance(decided, Verdict):
        return VERDICT_TITLES[decided]
    return info_of(decided).title


def parse_finding(text: str, classes: Sequence[ClassName] = CLASSES) -> Finding:
    """Read a finding as results of some classes spell it; `ValueError` for none."""
    for name in classes:
        if name == text:
            return name
    return Lesion(text) if text in set(Lesion) else TumorClass(text)


def parse_decided(text: str, classes: Sequence[ClassName] = CLASSES) -> Decided:
    """Read a decision as results of some classes spell it; `ValueError` for none."""
    if text in _OLD_VERDICTS:
        return _OLD_VERDICTS[text]
    return Verdict(text) if text in set(Verdict) else parse_finding(text, classes)


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
    return Answer.NO_TUMOR if is_no_lesion(decision) else Answer.TUMOR
