"""A whole series is judged slice by slice, in one plane or in three."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import draw_phantom
from tests.samples.drawn_series import LESION, drawn_series
from tumorlens.errors import SettingError
from tumorlens.imaging.study import (
    MRSequence,
    Placement,
    Plane,
    Series,
    Slice,
)
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.bundle.facts import PredictionSets
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.series.by_slices import (
    LOOKS_LIKE,
    NO_STACK,
    Planes,
    SeenSlices,
    predict_by_slices,
    prediction_of,
)
from tumorlens.inference.series.decision import (
    LESION_NOT_VALIDATED,
    MOSTLY_REFUSED,
    NOT_VALIDATED,
    NOTHING_JUDGED,
    SeriesPrediction,
    key_slices,
    kind_weights,
    run_length,
    series_probabilities,
    strongest_run,
)
from tumorlens.inference.series.lesion import Side
from tumorlens.inference.slice.prediction import SequenceEstimate
from tumorlens.report.words import series_headline
from tumorlens.taxonomy import DECIDED, Answer, Lesion, TumorClass, Verdict


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return load_classifier(tiny_bundle, threads=1)


def test_a_lesion_is_found_where_it_lies(classifier: Classifier) -> None:
    seen: list[tuple[int, int]] = []
    found = predict_by_slices(
        classifier,
        drawn_series(range(5, 8)),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found.decision is TumorClass.GLIOMA
    assert NOT_VALIDATED in found.reasons
    assert (found.slices, found.without_brain, found.refused) == (9, 2, 0)
    assert found.slice_p_tumor[:2] == (None, None)
    assert sum(found.probabilities.values()) == pytest.approx(1.0)
    assert found.run is not None
    assert 5 <= found.run[0] < found.run[1] <= 8
    assert found.key_slices[0] in range(5, 8)
    assert seen[-1] == (9, 9)
    lesion = found.lesion
    assert lesion is not None
    assert (lesion.box[0], lesion.box[3]) == (5, 8)
    assert lesion.centroid is not None
    centre = np.array([LESION[0] - 128, LESION[1] - 128, 30.0])
    assert np.linalg.norm(np.array(lesion.centroid) - centre) < 12
    assert lesion.size_mm is not None
    assert lesion.size_mm[0] == 15.0
    # LPS x grows to the patient's left; the lesion lies at negative x.
    assert lesion.side is Side.RIGHT
    assert "middle third" in lesion.location


def test_a_head_without_one_is_less_suspicious(classifier: Classifier) -> None:
    plain = predict_by_slices(classifier, drawn_series())
    lesion = predict_by_slices(classifier, drawn_series(range(5, 8)))
    assert plain.p_tumor < lesion.p_tumor
    assert lesion.evidence is not None
    assert lesion.evidence.shape == (9, 256, 256)
    assert lesion.evidence.dtype == np.uint8
    assert not lesion.evidence[:2].any()


def test_a_scan_without_a_known_place(classifier: Classifier) -> None:
    found = predict_by_slices(classifier, drawn_series(range(4, 8), placed=False))
    assert found.affine_ras is None
    assert found.lesion is not None
    assert found.lesion.centroid is None


def test_slices_of_different_sizes_give_no_volume(classifier: Classifier) -> None:
    scan = drawn_series(count=4, blank=0)
    small = replace(scan.slices[0], pixels=scan.slices[0].pixels[:200, :200].copy())
    found = predict_by_slices(classifier, Series((small, *scan.slices[1:])))
    assert found.evidence is None
    assert found.lesion is None


def test_blank_slices_alone_are_not_judged(classifier: Classifier) -> None:
    found = predict_by_slices(classifier, drawn_series(count=3, blank=3))
    assert found.decision is Verdict.NOT_BRAIN_MRI
    assert found.reasons == (NOTHING_JUDGED,)
    assert found.not_judged == NOTHING_JUDGED
    assert found.run is None
    assert (found.p_tumor, found.probabilities, found.predicted) == (None, None, None)
    assert found.evidence is None


def test_a_scan_that_is_no_brain_mri_is_refused(classifier: Classifier) -> None:
    scan = drawn_series(range(4, 8))
    slices = tuple(replace(item, colorfulness=0.9) for item in scan.slices)
    found = predict_by_slices(classifier, Series(slices))
    assert found.decision is Verdict.NOT_BRAIN_MRI
    assert found.reasons == (MOSTLY_REFUSED,)
    assert found.refused == 7
    assert found.lesion is None
    assert found.not_judged == MOSTLY_REFUSED
    assert found.p_tumor is None


def test_a_scan_of_which_a_slice_is_left_keeps_its_numbers_apart(
    classifier: Classifier,
) -> None:
    scan = drawn_series(range(4, 8))
    colored = (replace(item, colorfulness=0.9) for item in scan.slices[:-1])
    found = predict_by_slices(classifier, Series((*colored, scan.slices[-1])))
    assert found.decision is Verdict.NOT_BRAIN_MRI
    assert found.not_judged is None
    assert found.raw_probabilities is not None
    assert (found.p_tumor, found.probabilities, found.predicted) == (None, None, None)
    assert (found.key_slices, found.planes, found.run) == ((), {}, None)
    assert set(found.slice_p_tumor) == {None}


def test_an_operating_point_that_is_not_there(classifier: Classifier) -> None:
    with pytest.raises(SettingError, match="careful"):
        predict_by_slices(classifier, drawn_series(), "careful")


def test_a_run_is_about_ten_millimetres() -> None:
    assert [run_length(gap) for gap in (1.0, 5.0, 30.0, None)] == [10, 2, 1, 3]


def test_one_loud_slice_is_weaker_than_a_run_of_neighbours() -> None:
    p_tumor = np.array([0.0, 0.9, 0.0, 0.0, 0.6, 0.7, 0.6, 0.0])
    assert strongest_run(p_tumor, 3) == (4, 7)
    assert strongest_run(np.array([np.nan, 0.2, np.nan]), 9) == (0, 3)


def test_all_slices_that_show_a_tumour_name_its_kind() -> None:
    # The loudest slice says meningioma, the others of the same tumour glioma.
    slices = np.array(
        [
            [0.02, 0.01, 0.00, 0.97],
            [0.60, 0.10, 0.00, 0.30],
            [0.18, 0.80, 0.00, 0.02],
            [0.70, 0.20, 0.00, 0.10],
            [0.60, 0.20, 0.00, 0.20],
            [np.nan] * 4,
            [0.00, 0.30, 0.00, 0.70],
        ]
    )
    p_tumor = 1.0 - slices[:, 3]
    weights = kind_weights(p_tumor)
    # What is less than half as suspicious as the loudest slice does not count.
    assert np.flatnonzero(weights).tolist() == [1, 2, 3, 4]
    assert weights.sum() == pytest.approx(1.0)
    assert weights[2] / weights[4] == pytest.approx(0.98 / 0.80)
    shares = series_probabilities(slices, (2, 3), 2.0)
    assert shares.sum() == pytest.approx(1.0)
    assert shares[3] == pytest.approx(1.0 / (1.0 + np.exp(2.0)))
    assert shares[0] > 1.5 * shares[1]
    # A logarithmic pool: twice as many like slices change nothing.
    assert series_probabilities(
        np.repeat(slices, 2, axis=0), (4, 6), 2.0
    ) == pytest.approx(shares)


def test_key_slices_lie_apart() -> None:
    assert key_slices([0.1, 0.9, 0.8, None, 0.5, 0.2], 2) == (1, 4)


EDGE = 64
BALL, RADIUS = (24, 28, 30), 8


def even_volume(lesion: bool) -> Series:
    """Axial slices, 3 mm voxels: a drawn head with a bright ball (x, y, z)."""
    head = draw_phantom(EDGE, EDGE).astype(np.float32)
    voxels = np.repeat(head[None], EDGE, axis=0)
    z, y, x = np.mgrid[:EDGE, :EDGE, :EDGE]
    if lesion:
        away = (x - BALL[0]) ** 2 + (y - BALL[1]) ** 2 + (z - BALL[2]) ** 2
        voxels[away <= RADIUS**2] = 250.0
    slices = [
        Slice(
            pixels,
            "even",
            index,
            spacing_mm=(3.0, 3.0),
            plane=Plane.AXIAL,
            placement=Placement((-96.0, -96.0, 3.0 * index), (3.0, 0, 0), (0, 3.0, 0)),
        )
        for index, pixels in enumerate(voxels)
    ]
    return Series(tuple(slices))


def test_three_planes_are_one_finding(classifier: Classifier) -> None:
    seen: list[tuple[int, int]] = []
    found = predict_by_slices(
        classifier,
        even_volume(lesion=True),
        progress=lambda done, total: seen.append((done, total)),
        planes=Planes.ALL,
    )
    assert set(found.planes) == set(Plane)
    odds = [np.log(p / (1.0 - p)) for p in found.planes.values()]
    assert found.p_tumor == pytest.approx(1.0 / (1.0 + np.exp(-np.mean(odds))))
    assert found.decision is TumorClass.GLIOMA
    assert [done for done, _ in seen] == list(range(1, 3 * EDGE + 1))
    assert seen[-1] == (3 * EDGE, 3 * EDGE)
    assert found.evidence is not None
    assert found.evidence.shape == (EDGE, EDGE, EDGE)
    lesion = found.lesion
    assert lesion is not None
    assert lesion.centroid is not None
    ball = (3.0 * BALL[0] - 96.0, 3.0 * BALL[1] - 96.0, 3.0 * BALL[2])
    assert np.linalg.norm(np.subtract(lesion.centroid, ball)) < 3.0 * RADIUS


def test_the_acquired_plane_alone_is_the_default(classifier: Classifier) -> None:
    found = predict_by_slices(classifier, even_volume(lesion=True))
    assert list(found.planes) == [Plane.AXIAL]
    assert found.planes[Plane.AXIAL] == pytest.approx(found.p_tumor)


def test_thick_slices_are_judged_as_acquired_and_say_so(
    classifier: Classifier,
) -> None:
    found = predict_by_slices(classifier, drawn_series(range(4, 8)), planes=Planes.ALL)
    assert list(found.planes) == [Plane.AXIAL]
    assert any("5 x 1 x 1 mm" in reason for reason in found.reasons)


def test_slices_of_unknown_place_are_judged_as_acquired(
    classifier: Classifier,
) -> None:
    scan = drawn_series(range(4, 8), placed=False)
    slices = tuple(replace(item, plane=None) for item in scan.slices)
    found = predict_by_slices(classifier, Series(slices), planes=Planes.ALL)
    assert found.planes == {}
    assert NO_STACK in found.reasons


def seen_with(p_other: float, p_vascular: float, p_tumor: float) -> SeenSlices:
    """Nine slices that a network of six findings saw: a lesion in 4 to 6."""
    seen = SeenSlices(drawn_series())
    seen.heads[2:] = 200
    for index in range(2, 9):
        tumor, other, vascular = 0.02, 0.0, 0.0
        if index in range(4, 7):
            tumor, other, vascular = p_tumor, p_other, p_vascular
        kinds = [tumor - 0.002, 0.001, 0.001]
        seen.probabilities[index] = [*kinds, 1.0 - tumor]
        seen.lesions[index] = other, vascular
    return seen


def judged(
    bundle: Path, seen: SeenSlices, sequence: MRSequence | None = None
) -> SeriesPrediction:
    scan = drawn_series(sequence=sequence)
    made = replace(load_bundle(bundle), series_model=None)
    levels = PredictionSets(0.9, dict.fromkeys(DECIDED, 0.3))
    made = replace(made, prediction_sets=levels)
    return prediction_of([(scan, seen)], made, "screening", 0.0)


def test_a_vascular_lesion_in_a_series_is_a_lesion(tiny_bundle: Path) -> None:
    found = judged(tiny_bundle, seen_with(0.01, 0.9, 0.05))
    assert found.finding is Answer.LESION
    assert found.kinds == (Lesion.VASCULAR,)
    assert found.decision is TumorClass.NO_TUMOR
    assert found.other_lesions[Lesion.VASCULAR] == pytest.approx(0.9, abs=0.05)
    assert LESION_NOT_VALIDATED in found.reasons
    assert series_headline(found).startswith("Lesion, not a tumour")


def test_another_kind_of_tumour_in_a_series_is_named(tiny_bundle: Path) -> None:
    found = judged(tiny_bundle, seen_with(0.9, 0.0, 0.99))
    assert found.finding is Answer.TUMOR
    assert found.kinds == (Lesion.OTHER,)
    assert found.decision is Lesion.OTHER
    assert found.predicted is TumorClass.GLIOMA
    assert found.other_lesions[Lesion.OTHER] > 0.5


def test_a_network_of_four_classes_knows_no_other_lesion(
    classifier: Classifier,
) -> None:
    found = predict_by_slices(classifier, drawn_series(range(4, 7)))
    assert found.other_lesions == {}


def seen_as(sequence: MRSequence) -> SeenSlices:
    """Nine slices, seven of which look like one sequence."""
    seen = seen_with(0.0, 0.0, 0.05)
    seen.sequences = [SequenceEstimate(sequence, 0.9, pixels=sequence)] * 7
    return seen


def test_where_the_file_is_silent_the_pixels_name_the_sequence(
    tiny_bundle: Path,
) -> None:
    found = judged(tiny_bundle, seen_as(MRSequence.T2))
    assert found.sequence is MRSequence.T2
    assert LOOKS_LIKE.format(sequence="T2") in found.reasons


def test_pixels_that_contradict_the_header_are_told(tiny_bundle: Path) -> None:
    found = judged(tiny_bundle, seen_as(MRSequence.T2), MRSequence.T1)
    assert found.sequence is MRSequence.T1
    assert any("looks like T2" in reason for reason in found.reasons)


def test_a_network_that_tells_no_sequences_adds_no_word(tiny_bundle: Path) -> None:
    found = judged(tiny_bundle, seen_with(0.0, 0.0, 0.05))
    assert found.sequence is None
    assert not any("weighted" in reason for reason in found.reasons)
