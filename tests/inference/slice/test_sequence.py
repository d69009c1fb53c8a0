"""What the model was not trained on is named, in a scan as in a slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.samples.dicom_files import saved, slice_file
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.facts import SequenceHead
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.slice.explanation import Prediction
from tumorlens.inference.slice.sequence import (
    SequenceEstimate,
    estimate_sequence,
    sequence_caveat,
    sequence_of_name,
)


@pytest.mark.parametrize("known", [None, MRSequence.T1, MRSequence.T1_CONTRAST])
def test_a_sequence_that_the_model_knows_needs_no_caveat(
    known: MRSequence | None,
) -> None:
    assert sequence_caveat(known) is None


@pytest.mark.parametrize("foreign", [MRSequence.T2, MRSequence.FLAIR, MRSequence.OTHER])
def test_a_foreign_sequence_is_named(foreign: MRSequence) -> None:
    text = sequence_caveat(foreign)
    assert text is not None
    assert foreign.value in text


def test_a_single_slice_of_a_foreign_sequence_has_the_caveat(
    tiny_bundle: Path,
) -> None:
    classifier = load_classifier(tiny_bundle, threads=1)
    flair, t1 = (
        saved(slice_file(SeriesDescription=words)) for words in ("AX FLAIR", "AX T1")
    )
    found = classifier.predict(flair)
    assert isinstance(found, Prediction)
    assert found.notes == (sequence_caveat(MRSequence.FLAIR),)
    streamed = classifier.predict_many([t1, flair])
    assert [item.notes for item in streamed if isinstance(item, Prediction)] == [
        (),
        found.notes,
    ]


FOUR = (MRSequence.T1, MRSequence.T1_CONTRAST, MRSequence.T2, MRSequence.FLAIR)
HEAD = SequenceHead(FOUR, 1.0, FOUR)


def seen(sequence: MRSequence, share: float) -> np.ndarray:
    """Draw what a head gives that is so sure of a sequence, and of no other."""
    rest = (1.0 - share) / 3
    return np.log([share if item is sequence else rest for item in FOUR])


def test_pixels_header_and_name_are_weighed() -> None:
    found = estimate_sequence(
        MRSequence.T2, "case_t2.png", HEAD, seen(MRSequence.T1, 0.6)
    )
    assert (found.sequence, found.pixels) == (MRSequence.T2, MRSequence.T1)
    assert found.disagreement is not None
    assert "T2" in found.disagreement
    assert "T1" in found.disagreement
    assert estimate_sequence(None, "x.png", HEAD, seen(MRSequence.T1, 0.6)) == (
        SequenceEstimate(MRSequence.T1, pytest.approx(0.6), MRSequence.T1)
    )


def test_pixels_that_are_sure_overrule_a_file_name_alone() -> None:
    found = estimate_sequence(
        None, "brisc_ax_t1.jpg", HEAD, seen(MRSequence.FLAIR, 0.99)
    )
    assert found.sequence is MRSequence.FLAIR
    assert found.file_name is MRSequence.T1
    assert found.disagreement is not None


def test_agreement_makes_surer_and_says_nothing() -> None:
    alone = estimate_sequence(None, "x", HEAD, seen(MRSequence.T2, 0.7)).probability
    both = estimate_sequence(MRSequence.T2, "x", HEAD, seen(MRSequence.T2, 0.7))
    assert alone is not None
    assert both.probability is not None
    assert both.probability > alone
    assert both.disagreement is None


def test_a_header_that_names_what_the_head_cannot_has_the_say() -> None:
    found = estimate_sequence(
        MRSequence.DIFFUSION, "x", HEAD, seen(MRSequence.FLAIR, 0.9)
    )
    assert found.sequence is MRSequence.DIFFUSION
    assert sequence_caveat(found.sequence, HEAD.measured) is not None


def test_without_a_head_header_and_name_speak() -> None:
    assert estimate_sequence(MRSequence.T1, "x_flair.png").sequence is MRSequence.T1
    found = estimate_sequence(None, "x_flair.png")
    assert (found.sequence, found.probability) == (MRSequence.FLAIR, None)


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("BraTS2021_01657_t1ce.nii.gz", MRSequence.T1_CONTRAST),
        ("sub-01_ce-gadolinium_T1w.nii.gz", MRSequence.T1_CONTRAST),
        ("TCGA_CS_4941_11_flair.jpg", MRSequence.FLAIR),
        ("astrocytoma_T1Cp_0183.jpg", MRSequence.T1_CONTRAST),
        ("IXI013-HH-1212-T1_ds.nii.gz", MRSequence.T1),
        ("head-t2w.png", MRSequence.T2),
        ("T2 FLAIR.dcm", MRSequence.FLAIR),
        ("patient20_study2.png", None),
        ("t1_and_t2.png", None),
    ],
)
def test_a_file_name_may_say_its_sequence(
    name: str, sequence: MRSequence | None
) -> None:
    assert sequence_of_name(name) is sequence
