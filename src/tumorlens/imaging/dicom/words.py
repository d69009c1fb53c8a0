"""What the words of a DICOM header say of its body part and its weighting."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tumorlens.errors import InputError
from tumorlens.imaging.dicom.header import numbers, text
from tumorlens.imaging.study import MRSequence

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MODALITIES = {
    "CT": "computed tomography (CT)",
    "CR": "a radiograph (CR)",
    "DX": "a radiograph (DX)",
    "MG": "a mammogram (MG)",
    "US": "ultrasound (US)",
    "NM": "nuclear medicine (NM)",
    "PT": "positron emission tomography (PT)",
    "XA": "angiography (XA)",
    "SR": "a report (SR)",
    "SEG": "a segmentation (SEG)",
    "OT": "of another modality (OT)",
    "PR": "a presentation state (PR)",
}

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

# Words of CID 4030 and of what sites write instead.
_OTHER_PARTS = [
    "KNEE",
    "CHEST",
    "SPINE",
    "ABDOMEN",
    "PELVIS",
    "HIP",
    "SHOULDER",
    "ANKLE",
    "FOOT",
    "HAND",
    "WRIST",
    "ELBOW",
    "BREAST",
    "HEART",
    "LIVER",
    "PROSTATE",
    "THORAX",
    "LEG",
    "ARM",
    "THIGH",
    "FEMUR",
    "KIDNEY",
    "UTERUS",
    "EXTREMITY",
    "LUMBAR",
]


def check_scope(header: Dataset, name: str) -> None:
    """Refuse what the model was not made for, with the reason.

    Missing tags pass: many files lack them.

    Raises
    ------
    InputError
        Where the modality is not MR, the picture is a capture or a localiser,
        or the body part is clearly not the head.
    """
    modality = text(header, "Modality").upper()
    if modality and modality != "MR":
        what = _MODALITIES.get(modality, "of another modality")
        raise InputError(
            f"{name} is {what}, not magnetic resonance (MR).", "Give an MR series."
        )
    kind = text(header, "ImageType").upper()
    if text(header, "SOPClassUID").startswith(_SECONDARY_CAPTURE) or "SCREEN" in kind:
        raise InputError(
            f"{name} is a screen capture, not an acquired slice.",
            "Give the series that it was taken from.",
        )
    if "LOCALIZER" in kind or "SCOUT" in kind:
        raise InputError(
            f"{name} is a localiser, taken to plan other series.",
            "Give a diagnostic series.",
        )
    part = text(header, "BodyPartExamined").upper()
    other = next((x for x in _OTHER_PARTS if x in part), None)
    if other and not any(x in part for x in ("HEAD", "BRAIN", "SKULL", "WHOLE")):
        raise InputError(
            f"{name} shows another body part ({other.lower()}), not the head.",
            "Give an MR series of the brain.",
        )


_DIFFUSION = re.compile(r"DWI|DTI|DIFF|\bADC\b|TRACEW|EP_B\d")
_OTHER = re.compile(
    r"T2\*|T2STAR|SWI|SWAN|PERF|\bTOF\b|ANGIO|MRA\b|BOLD|FMRI|\bPD\b|FIELD|PHASE|SPECTRO"
)
_T1 = re.compile(r"T1|MP-?RAGE|MEMPRAGE|SPGR|BRAVO|FSPGR|VIBE|THRIVE")
# "W/O" has become "W O" here.
_PLAIN = re.compile(
    r"\bPRE\b|WITHOUT|\bNATIV|UNENH|\bW *O\b|-C\b|\b(OHNE|SANS|SIN)\b"
    r"|\bNON?[ -]*(GD|GAD|CONTR|ENH|(CE|KM)\b)"
)
_CONTRAST = re.compile(
    r"(?<![A-Z])(GD|GADO?\w*|POST|CE|KM|CONTRAST\w*)(?![A-Z])|\+C|C\+|T1C"
)
_AND = r" *(&|AND|\+|,)? *"
_BOTH = re.compile(
    rf"\b(W *O{_AND}W|W{_AND}W *O|WITHOUT{_AND}WITH|WITH{_AND}WITHOUT)\b( *CON\w*)?"
)
"""An exam with and without contrast: of one of its series that says nothing."""

_LONG_ECHO_MS = 60.0


def guess_sequence(header: Dataset) -> MRSequence | None:
    """Name the weighting: by the sender's words, else by the times.

    Parameters
    ----------
    header
        The header of one slice; echo, repetition and inversion time in ms.

    Returns
    -------
    MRSequence or None
        None where neither words nor times say it.
    """
    told = [
        _BOTH.sub(" ", text(header, x).upper().replace("_", " ").replace("/", " "))
        for x in ("SeriesDescription", "ProtocolName", "SequenceName")
    ]
    words = " ".join(told)
    b_value = numbers(header, "DiffusionBValue", 1)
    marked = (
        f"{text(header, 'ImageType')} {text(header, 'AcquisitionContrast')}".upper()
    )
    if (
        _DIFFUSION.search(words)
        or "DIFFUSION" in marked
        or (b_value and b_value[0] > 0)
    ):
        return MRSequence.DIFFUSION
    if ("FLAIR" in words or "FLAIR" in marked) and not _is_t1_flair(header, told):
        return MRSequence.FLAIR
    if _OTHER.search(words):
        return MRSequence.OTHER
    weighting = _by_words(words) or _by_times(header)
    if weighting is MRSequence.T1 and _has_contrast(header, words):
        return MRSequence.T1_CONTRAST
    return weighting


def _is_t1_flair(header: Dataset, told: list[str]) -> bool:
    """Tell a T1 with an inversion, which GE also calls FLAIR, from what others do.

    A protocol, which may name the whole exam, does not say it of this series.
    """
    said = next((part for part in told if "FLAIR" in part), "")
    echo = numbers(header, "EchoTime", 1)
    short = not echo or echo[0] < _LONG_ECHO_MS
    return "T1" in said and "T2" not in " ".join(told) and short


def _by_words(words: str) -> MRSequence | None:
    first, second = _T1.search(words), "T2" in words
    if bool(first) == second:
        return None
    return MRSequence.T2 if second else MRSequence.T1


def _by_times(header: Dataset) -> MRSequence | None:
    """Usual times at 1.5 and 3 T."""
    echo = numbers(header, "EchoTime", 1)
    repetition = numbers(header, "RepetitionTime", 1)
    inversion = numbers(header, "InversionTime", 1)
    scanning = text(header, "ScanningSequence").upper().split("\\")
    if echo is None or repetition is None or echo[0] <= 0:
        return None
    if "IR" in scanning and echo[0] >= 60:
        return MRSequence.FLAIR if inversion and inversion[0] >= 1500 else None
    if "IR" in scanning and echo[0] <= 30:
        return MRSequence.T1
    if "SE" in scanning:
        if echo[0] <= 35 and repetition[0] <= 1200:
            return MRSequence.T1
        if echo[0] >= 70 and repetition[0] >= 1800:
            return MRSequence.T2
    return None


def _has_contrast(header: Dataset, words: str) -> bool:
    if _PLAIN.search(words):
        return False
    agent = text(header, "ContrastBolusAgent").upper()
    return bool(_CONTRAST.search(words)) or agent not in ("", "NO", "NONE", "N")
