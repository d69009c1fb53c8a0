"""How an MR series was weighted, guessed from its header."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tumorlens.imaging.dicom.header import numbers, text
from tumorlens.imaging.study import MRSequence

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

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
        Of one slice; echo, repetition and inversion time in ms.

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
