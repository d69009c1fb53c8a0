"""The codes that findings carry in DICOM: SNOMED CT (SCT) and DICOM (DCM).

Each was compared with two sources that do not copy one another. "pydicom" is
pydicom's code dictionary, made from the context groups (CID) of DICOM PS3.16; the
group stands beside it.

=============  =========================  ====================================
Code           Meaning                    Sources
=============  =========================  ====================================
SCT 108369006  Neoplasm                   pydicom, CID 7159; browser of SNOMED
                                          CT's International Edition of
                                          2024-08-01 ("morphologic abnormality")
SCT 12738006   Brain                      pydicom, CID 4; HL7 mCODE [1]_
SCT 56329008   Pituitary                  pydicom, CID 7153; HL7 mCODE [1]_
SCT 49755003   Morphologically Abnormal   pydicom, CID 7150; SNOMED
               Structure                  International's templates
SCT 393564001  Glioma                     MR-RATE's list of findings; a list of
                                          solid tumours (MASCC index); see below
SCT 302820008  Intracranial meningioma    SNOMED International's release notes
                                          of October 2025; open imaging finding
                                          models (OIFM)
SCT 103355008  Width                      pydicom, CID 7470; DCMTK [2]_
DCM 121207     Height                     pydicom, CID 7470; DCMTK [2]_
SCT 131197000  Depth                      pydicom, CID 7470; DCMTK [2]_
LN 25056-3     MRI unspecified body       pydicom, CID 100; DCMTK, cid100.cc
               region
DCM 111012     Certainty of Finding       pydicom, CID 6048; DCMTK, dcm.h
DCM 121106     Comment                    pydicom, CID 12101; DCMTK's tests
DCM 123110     Artificial Intelligence    pydicom, CID 7162 alone
SCT 52101004   Present                    pydicom, CID 240; FHIR value set [3]_
SCT 272519000  Absent                     pydicom, CID 240; FHIR value set [3]_
SCT 373068000  Undetermined               pydicom, CID 240; FHIR value set [3]_
=============  =========================  ====================================

.. [1] Map of TG-263 to SNOMED CT, ``input/fsh/CM_TG263.fsh``.
.. [2] ``dcmsr/libcmr/cid7469.cc``.
.. [3] ``dicom-cid-240-PresentAbsent``, version 20170914.

No release of SNOMED CT was at hand for 393564001, and its two sources are lists
that others made. Further lists call it "Glioma of brain", and a few "Glioblastoma",
which has the neighbouring code 393563007. RadLex is not used.

A pituitary tumour is coded as a neoplasm at the pituitary: the class is wider
than the adenoma, which has a code of its own. "Probability of cancer" (DCM
111047) is not used for the probability of a tumour, as most meningiomas and
pituitary tumours are no cancer; that measurement has a code of our own, and so has the
decision of the operating point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tumorlens.taxonomy import TumorClass, Verdict

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


def finding_type(decision: TumorClass | Verdict) -> Term:
    """Say what is present, absent or undetermined: a neoplasm, or which."""
    return _FINDING_TYPES.get(decision, NEOPLASM)


def presence(decision: TumorClass | Verdict) -> Term:
    """Say whether it is there."""
    return _PRESENCE.get(decision, PRESENT)


def site(decision: TumorClass | Verdict) -> Term:
    """Say where it is, as far as the class tells."""
    return PITUITARY if decision == TumorClass.PITUITARY else BRAIN
