"""What names and JSON sidecars say of volumes, as BIDS and dcm2niix write them.

The names are as https://bids-specification.readthedocs.io sets them out: entities such
as ``sub-01`` and ``ce-gadolinium``, then a suffix such as ``T1w``. A sidecar is a JSON
file of the scanner's settings, with times in seconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tumorlens.imaging.study import MRSequence, Study

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_SIDECAR_BYTES = 4 * 2**20
"""Bytes of a sidecar: tables of every slice's times fit."""

_ENDINGS = re.compile(r"\.(nii|nrrd|nhdr|mha|mhd|mgh|mgz|hdr|img)(\.gz)?$", re.I)
_SUBJECT = re.compile(r"sub-[A-Za-z0-9+]+")
_ENTITY = re.compile(r"([a-z]+)-([A-Za-z0-9+]+)")

_SEQUENCES = {
    "T1w": MRSequence.T1,
    "inplaneT1": MRSequence.T1,
    "UNIT1": MRSequence.T1,
    "T2w": MRSequence.T2,
    "inplaneT2": MRSequence.T2,
    "FLAIR": MRSequence.FLAIR,
    "dwi": MRSequence.DIFFUSION,
    "PDw": MRSequence.OTHER,
    "T2star": MRSequence.OTHER,
    "T2starw": MRSequence.OTHER,
    "angio": MRSequence.OTHER,
}

GIVE_A_SCAN = "Give the scan itself."
"""The hint of a volume that is not to be judged."""

_MASK = "is a mask or segmentation of another volume"
_MAP = "is a map of computed values"
_REASONS = {
    _MASK: "mask dseg probseg roi",
    "is a functional series": "bold sbref cbv",
    "is a field map": (
        "phasediff phase1 phase2 magnitude magnitude1 magnitude2 fieldmap epi "
        "TB1DAM TB1map RB1map"
    ),
    "is a perfusion series": "asl m0scan",
    _MAP: (
        "T1map T2map T2starmap R1map R2map R2starmap PDmap MTsat MTRmap MWFmap Chimap "
        "S0map M0map"
    ),
    "is no magnetic resonance (MR)": "pet ct meg eeg",
}
_ASIDE = {
    suffix: reason for reason, words in _REASONS.items() for suffix in words.split()
}
_PARTS = {"phase": "phase", "imag": "the imaginary part of the signal"}

_LAST_WORDS = {
    _MASK: (
        "mask seg segm dseg probseg segmentation label labels labelmap aseg aparc+aseg "
        "wmparc ribbon filled pve pveseg"
    ),
    _MAP: "adc eadc cbf cbv rcbf rcbv mtt ttp tmax ktrans fa md colfa evidence",
    "is a statistic of a functional series": "zstat tstat fstat cope varcope spmt spmf",
    "is a deformation between two volumes": "warp warpcoef invwarp warpfield",
    "shows phase, not the strength of the signal": "ph phase pha",
    "shows the imaginary part of the signal, not its strength": "imaginary imag",
}
"""Last words of names that are no BIDS, of BraTS, FSL, ANTs, Slicer, FreeSurfer and
dcm2niix, digits behind them left out."""

_WORD_REASONS = {
    word: reason for reason, words in _LAST_WORDS.items() for word in words.split()
}
_OWN_MAP = re.compile(r"\.(evidence|gradcam|overlay)\.png$")
"""Ends of the maps that `predict --maps` writes."""

_FREESURFER_LABELS = ("aseg", "aparc", "wmparc")
"""First words of FreeSurfer's segmentations (`aseg.presurf.mgz`)."""


@dataclass(frozen=True)
class BidsName:
    """What a BIDS name says.

    Parameters
    ----------
    subject
        Label of the person, with ``sub-``.
    entities
        The other entities, by key.
    suffix
        What kind of data it is, such as ``T1w``.
    """

    subject: str
    entities: dict[str, str]
    suffix: str

    @property
    def sequence(self) -> MRSequence | None:
        """The weighting; None where the suffix says none."""
        weighting = _SEQUENCES.get(self.suffix)
        if weighting is MRSequence.T1 and self.has_contrast:
            return MRSequence.T1_CONTRAST
        return weighting

    @property
    def has_contrast(self) -> bool:
        """True where a contrast agent is named."""
        return self.entities.get("ce", "none").lower() not in ("none", "no", "pre")


def _stem(path: str) -> str:
    """Take the ending off a volume's file name; empty where it is no volume's."""
    base = path.replace("\\", "/").rsplit("/", 1)[-1]
    stem = _ENDINGS.sub("", base)
    return "" if stem == base else stem


def bids_name(path: str) -> BidsName | None:
    """Read a file's name as BIDS has it.

    Parameters
    ----------
    path
        The file's path or name.

    Returns
    -------
    BidsName or None
        None where the name is no BIDS name of a volume.
    """
    subject, *words = _stem(path).split("_")
    if not words or not _SUBJECT.fullmatch(subject):
        return None
    pairs = [_ENTITY.fullmatch(word) for word in words[:-1]]
    if not words[-1].isalnum() or not all(pairs):
        return None
    return BidsName(subject, {x[1]: x[2] for x in pairs if x}, words[-1])


def reason_aside(path: str) -> str:
    """Say why a volume or picture among others is not to be judged, by its name.

    Parameters
    ----------
    path
        The file's path or name.

    Returns
    -------
    str
        The end of a sentence that starts with the file's name; empty where the
        volume is to be judged.
    """
    if _OWN_MAP.search(path):
        return "is a map that TumorLens wrote over another picture"
    name = bids_name(path)
    if name is not None:
        part = _PARTS.get(name.entities.get("part", ""))
        if part is not None:
            return f"shows {part}, not the strength of the signal"
        return _ASIDE.get(name.suffix, "")
    words = re.split(r"[_\-. ]", _stem(path).lower())
    if words[0] in _FREESURFER_LABELS:
        return _MASK
    return _WORD_REASONS.get(_last_word(words), "")


def _last_word(words: list[str]) -> str:
    """Take the last word that is no number, without the number at its end."""
    last = next((word for word in reversed(words) if not word.isdecimal()), "")
    return last.rstrip("0123456789")


class PlainNames:
    """Makes names of volumes that say what they are, and nothing of a person.

    Only words that stand in tables here stay; people are numbered as they come.
    """

    def __init__(self) -> None:
        self._subjects: dict[str, int] = {}

    def of(self, path: str, sequence_word: str = "") -> str:
        """Make the plain name of a volume.

        Parameters
        ----------
        path
            The file's path or name.
        sequence_word
            Word for the sequence that a name which is no BIDS says; empty for none.

        Returns
        -------
        str
            With the ending; empty where the file is no volume by its name, or its name
            says nothing.
        """
        ending = _ENDINGS.search(path)
        if ending is None:
            return ""
        stated = bids_name(path)
        if stated is None or stated.suffix not in _SEQUENCES.keys() | _ASIDE.keys():
            last = _last_word(re.split(r"[_\-. ]", _stem(path).lower()))
            words = [sequence_word, last if last in _WORD_REASONS else ""]
        else:
            person = self._subjects.setdefault(stated.subject, len(self._subjects) + 1)
            part = stated.entities.get("part", "")
            words = [
                f"sub-{person}",
                "ce-agent" if stated.has_contrast else "",
                f"part-{part}" if part in _PARTS else "",
                stated.suffix,
            ]
        plain = "_".join(word for word in words if word)
        return f"{plain}{ending[0].lower()}" if plain else ""


def sidecar_names(name: str) -> Iterator[str]:
    """Name the sidecars that a volume may have beside it, its own first.

    Parameters
    ----------
    name
        The volume's file name.
    """
    stem = _ENDINGS.sub("", name)
    if stem != name:
        yield f"{stem}.json"


def inherited_sidecar(name: str) -> str:
    """Name the sidecar that a folder above a BIDS name may have; empty for others."""
    stated = bids_name(name)
    return "" if stated is None else f"{stated.suffix}.json"


def described(study: Study, name: str, sidecar: bytes | None) -> Study:
    """Add to a volume what its sidecar and its BIDS name say.

    The sidecar's settings go before the name, which people give.

    Parameters
    ----------
    study
        Read from a volume.
    name
        The name of the file.
    sidecar
        The sidecar; None where there is none.

    Raises
    ------
    InputError
        Where the sidecar says that it is no MR of a head.
    """
    sequence = None
    header = None if sidecar is None else _header(sidecar)
    stated = bids_name(name)
    if header is not None:
        # What reads DICOM loads slowly, and few volumes have a sidecar.
        from tumorlens.imaging.dicom.header import quiet
        from tumorlens.imaging.dicom.words import check_scope, guess_sequence

        with quiet():
            check_scope(header, name)
            sequence = guess_sequence(header)
    if stated is not None:
        if sequence is None:
            sequence = stated.sequence
        elif sequence is MRSequence.T1 and stated.has_contrast:
            sequence = MRSequence.T1_CONTRAST
    if sequence is None and stated is None:
        return study
    series = tuple(
        replace(
            item,
            sequence=sequence,
            patient="" if stated is None else stated.subject,
            slices=tuple(replace(x, sequence=sequence) for x in item.slices),
        )
        for item in study.series
    )
    return replace(study, series=series)


_TEXTS = {
    "Modality": ("Modality",),
    "BodyPartExamined": ("BodyPartExamined", "BodyPart"),
    "SeriesDescription": ("SeriesDescription",),
    "ProtocolName": ("ProtocolName",),
    "SequenceName": ("SequenceName",),
    "ContrastBolusAgent": ("ContrastBolusAgent", "ContrastBolusIngredient"),
}
_LISTS = ("ScanningSequence", "SequenceVariant", "ImageType")
_SECONDS = ("EchoTime", "RepetitionTime", "InversionTime")
_LONGEST_TEXT = 64


def _header(sidecar: bytes) -> Dataset | None:
    """Write a sidecar as DICOM's tags; None where it is none."""
    from pydicom.dataset import Dataset

    from tumorlens.imaging.dicom.header import quiet

    try:
        stated = json.loads(sidecar)
    except (ValueError, RecursionError):
        return None
    if not isinstance(stated, dict):
        return None
    header = Dataset()
    with quiet():
        for keyword, keys in _TEXTS.items():
            text = next((stated[x] for x in keys if isinstance(stated.get(x), str)), "")
            if text:
                setattr(header, keyword, text[:_LONGEST_TEXT])
        for keyword in _LISTS:
            words = _words(stated.get(keyword))
            if words:
                setattr(header, keyword, words)
        for keyword in _SECONDS:
            seconds = _number(stated.get(keyword))
            if seconds is not None:
                setattr(header, keyword, f"{1000.0 * seconds:.6g}")
        angle = _number(stated.get("FlipAngle"))
        if angle is not None:
            header.FlipAngle = f"{angle:.6g}"
    return header


def _words(stated: object) -> list[str]:
    """Take the words of a list, or of text that dcm2niix joins by low lines."""
    if isinstance(stated, str):
        stated = re.split(r"[_\\]", stated)
    if not isinstance(stated, list):
        return []
    return [x.strip()[:16] for x in stated if isinstance(x, str) and x.strip()][:16]


def _number(stated: object) -> float | None:
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return None
    return float(stated) if 0.0 <= stated < 1e6 else None
