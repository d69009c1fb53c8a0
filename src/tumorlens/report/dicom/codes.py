"""The codes that findings carry in DICOM: SNOMED CT (SCT) and DICOM (DCM).

Each stands in ``docs/pacs.md`` with the two sources that it was compared with, and
why others were not taken.

Tested in `tests/report/dicom/test_sr.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tumorlens.taxonomy import Decided, TumorClass, Verdict

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

_FINDING_TYPES: dict[str, Term] = {
    TumorClass.GLIOMA: GLIOMA,
    TumorClass.MENINGIOMA: MENINGIOMA,
}
_PRESENCE: dict[str, Term] = {
    TumorClass.NO_TUMOR: ABSENT,
    Verdict.INCONCLUSIVE: UNDETERMINED,
    Verdict.NOT_BRAIN_MRI: UNDETERMINED,
}


def finding_type(decision: Decided) -> Term:
    """Say what is present, absent or undetermined: a neoplasm, or which."""
    return _FINDING_TYPES.get(decision, NEOPLASM)


def presence(decision: Decided) -> Term:
    """Say whether it is there."""
    return _PRESENCE.get(decision, PRESENT)


def site(decision: Decided) -> Term:
    """Say where it is, as far as the class tells."""
    return PITUITARY if decision == TumorClass.PITUITARY else BRAIN
