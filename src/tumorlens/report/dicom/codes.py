"""The codes that findings carry in DICOM: SNOMED CT (SCT) and DICOM (DCM).

Each stands in ``docs/pacs.md`` with the two sources that it was compared with, and
why others were not taken.

Tested in `tests/report/dicom/test_sr.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tumorlens.taxonomy import Answer, Finding, OwnClass, TumorClass

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept

OWN_SCHEME = "99TUMORLENS"
"""Private coding scheme; DICOM PS3.16 section 8.2 sets the leading 99."""


class Term(NamedTuple):
    """A code: value, scheme, meaning."""

    value: str
    scheme: str
    meaning: str

    def concept(self) -> CodedConcept:
        """Make it highdicom's."""
        from highdicom.sr import CodedConcept

        return CodedConcept(self.value, self.scheme, self.meaning)


NEOPLASM = Term("108369006", "SCT", "Neoplasm")
BRAIN = Term("12738006", "SCT", "Brain")
PITUITARY = Term("56329008", "SCT", "Pituitary")
ABNORMAL_STRUCTURE = Term("49755003", "SCT", "Morphologically Abnormal Structure")
GLIOMA = Term("393564001", "SCT", "Glioma")
MENINGIOMA = Term("302820008", "SCT", "Intracranial meningioma")
WIDTH = Term("103355008", "SCT", "Width")
HEIGHT = Term("121207", "DCM", "Height")
DEPTH = Term("131197000", "SCT", "Depth")
CERTAINTY = Term("111012", "DCM", "Certainty of Finding")
COMMENT = Term("121106", "DCM", "Comment")
ARTIFICIAL_INTELLIGENCE = Term("123110", "DCM", "Artificial Intelligence")
PRESENT = Term("52101004", "SCT", "Present")
ABSENT = Term("272519000", "SCT", "Absent")
UNDETERMINED = Term("373068000", "SCT", "Undetermined")
MM = Term("mm", "UCUM", "millimeter")
PERCENT = Term("%", "UCUM", "Percent")
DECISION = Term("DECISION", OWN_SCHEME, "Decision")
TUMOR_PROBABILITY = Term("TUMOR-PROBABILITY", OWN_SCHEME, "Probability of tumor")

NO_CODE = (
    "The kind is a class of the model's own ({names}), which has no code: it stands as "
    "text, and the finding is coded as a neoplasm."
)
_KINDS: dict[tuple[Finding, ...], Term] = {
    (TumorClass.GLIOMA,): GLIOMA,
    (TumorClass.MENINGIOMA,): MENINGIOMA,
}
_PRESENCE: dict[Answer, Term] = {
    Answer.TUMOR: PRESENT,
    Answer.LESION: PRESENT,
    Answer.NO_TUMOR: ABSENT,
    Answer.UNCERTAIN: UNDETERMINED,
    Answer.NOT_BRAIN_MRI: UNDETERMINED,
}


def finding_type(finding: Answer, kinds: tuple[Finding, ...]) -> Term:
    """Say what is present, absent or undetermined: a neoplasm, or which."""
    if finding is Answer.LESION:
        return ABNORMAL_STRUCTURE
    # What a class of a user's own means, its name alone does not tell.
    if any(isinstance(name, OwnClass) for name in kinds):
        return NEOPLASM
    return _KINDS.get(kinds, NEOPLASM)


def uncoded_kinds(kinds: tuple[Finding, ...]) -> tuple[str, ...]:
    """Say that kinds have names of a user's own, which no code tells."""
    names = [str(name) for name in kinds if isinstance(name, OwnClass)]
    if not names:
        return ()
    return (NO_CODE.format(names=", ".join(map(repr, names))),)


def presence(finding: Answer) -> Term:
    """Say whether it is there."""
    return _PRESENCE[finding]


def site(kinds: tuple[Finding, ...]) -> Term:
    """Say where it is, as far as the kinds tell."""
    is_pituitary = len(kinds) == 1 and kinds[0] is TumorClass.PITUITARY
    return PITUITARY if is_pituitary else BRAIN
