"""Which DICOM files are no MR slice of a head, told by their header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tumorlens.errors import InputError
from tumorlens.imaging.dicom.header import text

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
