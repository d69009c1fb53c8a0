"""The sentences on a scan are right in every case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.samples.series_findings import written_finding
from tumorlens.report.series import words as scan_words
from tumorlens.taxonomy import CLASSES, TumorClass, Verdict


@pytest.mark.parametrize("decided", [*CLASSES, *Verdict])
def test_every_decision_has_words_on_the_scan(decided: TumorClass | Verdict) -> None:
    text = scan_words.sentence(decided)
    assert text.endswith(".")
    assert "slice" not in text


def test_every_slice_is_counted_once() -> None:
    text = scan_words.slices_sentence(9, 2, 1)
    assert text == "9 slices: 6 judged, 2 without brain, 1 refused"


def test_a_lesion_has_place_slices_and_size() -> None:
    lesion = written_finding().lesion
    assert lesion is not None
    text = scan_words.lesion_sentence(lesion)
    assert "right, middle third" in text
    assert "slices 5 to 7, strongest in 5" in text
    assert "21 × 20 × 15 mm" in text


def test_a_lesion_without_a_known_place_has_its_slice() -> None:
    lesion = written_finding().lesion
    assert lesion is not None
    bare = replace(lesion, box=(4, 0, 0, 5, 9, 9), size_mm=None, location="")
    text = scan_words.lesion_sentence(bare)
    assert text == "Most suspicious spot: in slice 5; slice 5, strongest in 5."


@pytest.mark.parametrize("decided", list(Verdict))
def test_a_scan_without_an_answer_has_no_number(decided: Verdict) -> None:
    assert scan_words.tumor_percent(decided, None) == "not judged"
    said = scan_words.headline(decided, None)
    assert said.endswith("(nothing could be judged)")
    assert "%" not in said
    assert "Do not take it for a clear one" in scan_words.sentence(decided, "Why.")


def test_a_scan_that_was_refused_has_no_number_either() -> None:
    refused = Verdict.NOT_BRAIN_MRI
    assert scan_words.tumor_percent(refused, 0.001) == "no answer"
    assert "%" not in scan_words.headline(refused, 0.001)


def test_a_scan_with_an_answer_has_one() -> None:
    assert scan_words.tumor_percent(TumorClass.GLIOMA, 0.938) == "93.8 %"
    assert scan_words.headline(TumorClass.GLIOMA, 0.938) == "Glioma (tumour 93.8 %)"
    unsure = scan_words.headline(Verdict.INCONCLUSIVE, 0.5)
    assert unsure == "Inconclusive (tumour 50.0 %)"
