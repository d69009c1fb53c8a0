"""The out-of-distribution score, taught on embeddings and tomograms that are drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.samples.heads import draw_person
from tumorlens.calibration.ood import (
    PASS_RATE,
    Embedded,
    _threshold,
    draw_tomogram,
    drawn_tomograms,
    fit_ood_model,
)
from tumorlens.data.manifest import Record
from tumorlens.errors import BundleError
from tumorlens.inference.slice.ood import OodModel
from tumorlens.taxonomy import TumorClass
from tumorlens.training.dataset import Sample, load_samples

SIZE = 40


def embedded(rng, rows, shift=0.0, color=0.0):
    mixing = np.random.default_rng(9).normal(size=(6, SIZE))
    values = rng.normal(size=(rows, 6)) @ mixing
    values += 0.1 * rng.normal(size=(rows, SIZE)) + shift
    logits = rng.normal(size=(rows, 4)) * 3.0
    return Embedded(
        values.astype(np.float32),
        logits.astype(np.float32),
        np.full(rows, color, np.float32),
    )


def joined(parts):
    names = ("embedding", "logits", "colorfulness")
    return Embedded(*(np.concatenate([getattr(x, y) for x in parts]) for y in names))


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    parts = [embedded(rng, 80, shift=shift) for shift in (-3.0, 2.0, 4.0)]
    kinds = ["low"] * 80 + ["middle"] * 80 + ["high"] * 80
    return fit_ood_model(embedded(rng, 400), embedded(rng, 300), joined(parts), kinds)


def scores(model, pictures):
    return model.scores(
        model.features(pictures.embedding, pictures.logits, pictures.colorfulness)
    )


def test_known_pictures_pass_and_kinds_never_seen_are_refused(fitted):
    model, figures = fitted
    rng = np.random.default_rng(5)
    own = scores(model, embedded(rng, 500))
    assert (own >= model.threshold).mean() == pytest.approx(PASS_RATE, abs=0.02)
    unseen = scores(model, embedded(rng, 100, shift=-8.0))
    assert (unseen < model.threshold).mean() > 0.95
    assert figures["auroc"] > 0.95
    assert set(figures) >= {"refused_low", "refused_middle", "refused_high"}


def test_scores_lie_between_0_and_1_even_far_away(fitted):
    model, _ = fitted
    far = embedded(np.random.default_rng(1), 5, shift=1e6, color=1.0)
    found = scores(model, far)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1).all()


def test_a_saved_model_scores_the_same(fitted, tmp_path):
    model, _ = fitted
    model.save(tmp_path / "domain.npz")
    again = OodModel.load(tmp_path / "domain.npz")
    pictures = embedded(np.random.default_rng(2), 20)
    np.testing.assert_array_equal(scores(model, pictures), scores(again, pictures))


def test_a_cut_off_file_is_refused(fitted, tmp_path):
    model, _ = fitted
    path = tmp_path / "domain.npz"
    model.save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BundleError, match=r"domain\.npz"):
        OodModel.load(path)


def test_the_threshold_lies_between_brain_mri_and_what_is_none():
    own, foreign = np.linspace(0.8, 1.0, 200), np.linspace(0.0, 0.2, 200)
    between = _threshold(own.astype(np.float32), foreign.astype(np.float32))
    assert 0.2 < between < 0.4  # near to what is none: strangers lie between
    mixed = _threshold(own.astype(np.float32), own.astype(np.float32))
    assert mixed == pytest.approx(np.quantile(own, 0.01))


@pytest.mark.parametrize("kind", ["ct", "drawn ct"])
def test_heads_by_ct_teach_but_leave_the_level_alone(kind):
    rng = np.random.default_rng(4)
    own = embedded(rng, 400), embedded(rng, 300)
    foreign = joined([embedded(rng, 80, shift=0.3), embedded(rng, 80, shift=4.0)])
    _, told = fit_ood_model(*own, foreign, [kind] * 80 + ["far"] * 80)
    _, counted = fit_ood_model(*own, foreign, ["near"] * 80 + ["far"] * 80)
    assert told["auroc"] == counted["auroc"]
    assert told["threshold"] < 0.5 * counted["threshold"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder: Path = tmp_path_factory.mktemp("heads")
    records = []
    for number in range(6):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), draw_person(number))
        records.append(Record(path, TumorClass.NO_TUMOR))
    return load_samples(records)[0]


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray]:
    """A head whose brain has stripes of grey and white matter, and its mask."""
    rows, columns = np.mgrid[:256, :256]
    far = np.hypot(rows - 128, columns - 128)
    square = np.where(far < 110, 170, 0).astype(np.uint8)
    square[far < 100] = 30
    stripes = np.where((columns // 8) % 2, 150, 100)
    brain = far < 88
    square[brain] = stripes[brain]
    return square, (brain * 255).astype(np.uint8)


def test_bone_is_brightest_and_the_brain_loses_its_contrast(head):
    square, brain = head
    for seed in range(5):
        drawn = draw_tomogram(square, brain, (seed,))
        middle = cv2.erode(brain, np.ones((31, 31), np.uint8)) > 0
        assert drawn.shape == square.shape and drawn.dtype == np.float32
        assert drawn.min() >= 0.0 and drawn.max() <= 255.0
        # Along a line from the middle outwards, bone stands out from all else.
        profile = drawn[128, 128:]
        assert 85 <= int(profile.argmax()) <= 108
        assert profile.max() > drawn[middle].max()
        assert drawn[middle].std() < 0.8 * square[middle].std()


def test_one_seed_draws_one_picture(head):
    one, two, other = (draw_tomogram(*head, (seed,)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 10.0


def test_no_slice_is_drawn_twice_nor_without_a_brain(samples):
    known = [sample for sample in samples if sample.brain is not None]
    assert known, "the drawn heads have no brain"
    found = drawn_tomograms(samples, 100, 3)
    assert {item.kind for item in found} == {"drawn ct"}
    assert 0 < len(found) <= len(known)
    assert len(drawn_tomograms(samples, 1, 3)) == 1
    blind = [Sample(item.record, item.square, None, None) for item in samples]
    assert drawn_tomograms(blind, 10, 3) == []
