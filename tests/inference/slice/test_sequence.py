"""What the model was not trained on is named, in a scan as in a slice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples.dicom_files import saved, slice_file
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.slice.results import Prediction
from tumorlens.inference.slice.sequence import sequence_caveat


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
