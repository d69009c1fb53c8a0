"""Examples to try the app with: openly licensed slices and a series of real people.

The files lie in `static/examples/`, with a note on each one's source and licence.
Tested in `tests/web/views/pages/test_home.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "static" / "examples"


@dataclass(frozen=True)
class Source:
    """A public set from which examples come.

    Parameters
    ----------
    title, credit, url
        Name of the set, its makers, and where it is found.
    license, license_url
        Name and address of the licence.
    """

    title: str
    credit: str
    url: str
    license: str
    license_url: str


@dataclass(frozen=True)
class Example:
    """One example.

    Parameters
    ----------
    name
        Word for it in addresses.
    file
        Name in `FOLDER`.
    sent_as
        File name under which it is judged and listed.
    title
        What is known of it, in a few words.
    picture
        Name of its small picture in `FOLDER`.
    known
        Full sentences on what is known of it and how that was found.
    patient
        The person, as a bundle's provenance names those who trained it.
    source
        Set that it comes from.
    is_series
        Whether it is a whole series.
    """

    name: str
    file: str
    sent_as: str
    title: str
    picture: str
    known: str
    patient: str
    source: Source
    is_series: bool = False

    @property
    def path(self) -> Path:
        """Path of the file."""
        return FOLDER / self.file

    def has_trained(self, provenance: Mapping[str, Any]) -> bool:
        """Tell whether a model has seen this person before.

        Parameters
        ----------
        provenance
            The provenance of the model's bundle.
        """
        patients = provenance.get("patients", {})
        return any(self.patient in names for names in patients.values())


_CHENG = Source(
    "Brain tumor dataset",
    "Jun Cheng, Nanfang Hospital and Tianjin Medical University General Hospital, "
    "2017, doi 10.6084/m9.figshare.1512427",
    "https://doi.org/10.6084/m9.figshare.1512427",
    "CC BY 4.0",
    "https://creativecommons.org/licenses/by/4.0/",
)
_IXI = Source(
    "IXI data set",
    "Imperial College London, Hammersmith Hospital, and others, brain-development.org",
    "https://brain-development.org/ixi-dataset/",
    "CC BY-SA 3.0",
    "https://creativecommons.org/licenses/by-sa/3.0/",
)


def _tumor(kind: str, picture: int, patient: str) -> Example:
    return Example(
        name=kind,
        file=f"{kind}.jpg",
        sent_as=f"example-{kind}-T1-contrast.jpg",
        title=kind.capitalize() if kind != "pituitary" else "Pituitary tumour",
        picture=f"{kind}.jpg",
        known=(
            f"Slice {picture} of the set: axial, T1 with contrast. The set names it "
            f"{'a pituitary tumour' if kind == 'pituitary' else f'a {kind}'}; "
            "radiologists outlined it there."
        ),
        patient=f"cheng:{patient}",
        source=_CHENG,
    )


EXAMPLES: dict[str, Example] = {
    item.name: item
    for item in (
        _tumor("glioma", 2345, "MR033389"),
        _tumor("meningioma", 62, "106284"),
        _tumor("pituitary", 1367, "104684"),
        Example(
            name="no-tumour",
            file="no-tumour.jpg",
            sent_as="example-no-tumour-T1.jpg",
            title="No tumour",
            picture="no-tumour.jpg",
            known=(
                "An axial T1 slice of a healthy volunteer (IXI013), taken from the "
                "scan at 2 mm and enlarged."
            ),
            patient="ixi:IXI013-HH-1212-T1_ds",
            source=_IXI,
        ),
        Example(
            name="healthy-series",
            file="healthy-series.nii.gz",
            sent_as="example-healthy-T1-series.nii.gz",
            title="A whole series",
            picture="healthy-series.jpg",
            known=(
                "A T1 series of a healthy volunteer (IXI034): every second axial slice "
                "of the scan at 2 mm, from the skull base upwards, in 8 bits."
            ),
            patient="ixi:IXI034-HH-1260-T1_ds",
            source=_IXI,
            is_series=True,
        ),
    )
}
"""The examples by name, in the order in which the page shows them."""


def example_of(document: Mapping[str, Any]) -> Example | None:
    """Find the example that an upload is; None for what somebody sent.

    Parameters
    ----------
    document
        Document of an upload.
    """
    return EXAMPLES.get(document.get("example", ""))


def examples_note(provenance: Mapping[str, Any]) -> str:
    """Say what a model's answers to the examples are worth.

    Parameters
    ----------
    provenance
        The provenance of the model's bundle.
    """
    trained = sum(item.has_trained(provenance) for item in EXAMPLES.values())
    start = "Pictures of real people, from openly licensed sets."
    if not trained:
        return f"{start} None of these people helped to train the model in use."
    who = "All" if trained == len(EXAMPLES) else f"{trained}"
    return (
        f"{start} {who} of these people helped to train the model in use, so its "
        "answers here say nothing about how good it is."
    )
