"""Cached slices: how often each is drawn, and what is refused."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest

from tests.samples.heads import disc
from tumorlens.data.manifest import Record, read_manifest
from tumorlens.errors import DatasetError
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import Lesion, TumorClass
from tumorlens.training.dataset import (
    FINDING_RATIOS,
    SHOWN_AS_T2,
    SOURCE_RATIOS,
    Sample,
    load_samples,
    sampling_weights,
    without_skull,
)


def slices(source, label, count):
    """Make slices that differ in nothing but where they are from."""
    record = Record(Path(f"{source}.png"), label, source=source)
    return count * [Sample(record, np.zeros((8, 8), np.uint8), None, None)]


def drawn(samples):
    """Share of the draws by class and source."""
    shares = defaultdict(float)
    weights = sampling_weights(samples, "class-source")
    for sample, weight in zip(samples, weights, strict=True):
        shares[sample.label, sample.record.source] += weight
    return shares


@pytest.fixture(scope="module")
def training(drawn_set):
    samples, _ = load_samples(read_manifest(drawn_set))
    return [item for item in samples if item.record.split == "train"]


def test_sampling_balances_classes_and_their_sources(training):
    doubled = [*training, *[item for item in training if item.index == 0]]
    weights = sampling_weights(doubled, "class-source")
    for index in range(4):
        rows = np.array([item.index == index for item in doubled])
        assert weights[rows].sum() == pytest.approx(0.25)
        for source in ("a", "b"):
            part = np.array([item.record.source == source for item in doubled])
            assert weights[rows & part].sum() == pytest.approx(0.125)


def test_tumour_free_slices_of_mixed_sources_are_drawn_more_often(training):
    healthy = [item for item in training if item.label is TumorClass.NO_TUMOR]
    other = [
        replace(item, record=replace(item.record, source="healthy")) for item in healthy
    ]
    every = [*training, *other]
    weights = sampling_weights(every, "class-source")
    shares = {
        source: weights[
            [
                item.record.source == source and item.label is TumorClass.NO_TUMOR
                for item in every
            ]
        ].sum()
        for source in ("a", "b", "healthy")
    }
    assert shares["a"] == pytest.approx(3.0 * shares["healthy"])
    assert sum(shares.values()) == pytest.approx(0.25)


def test_half_of_the_tumor_free_draws_are_of_scanners_that_also_show_tumors():
    none = TumorClass.NO_TUMOR
    samples = [
        *slices("both", TumorClass.GLIOMA, 7),
        *slices("both", none, 4),
        *(item for name in "abcd" for item in slices(name, none, 9)),
    ]
    shares = drawn(samples)
    assert shares[none, "both"] == pytest.approx(0.25)
    assert [shares[none, name] for name in "abcd"] == 4 * [pytest.approx(0.0625)]


def test_at_the_end_of_a_head_no_brain_is_looked_for(drawn_set):
    records = read_manifest(drawn_set)
    assert any(item.brain is not None for item in load_samples(records)[0])
    ends = [replace(row, train_only=True) for row in records]
    assert all(item.brain is None for item in load_samples(ends)[0])


def test_natural_sampling_draws_all_slices_alike():
    samples = [*slices("a", TumorClass.GLIOMA, 3), *slices("b", TumorClass.NO_TUMOR, 1)]
    weights = sampling_weights(samples, "natural")
    np.testing.assert_allclose(weights, 0.25)


def test_an_outline_of_another_size_is_refused(drawn_set, tmp_path):
    record = replace(read_manifest(drawn_set)[0], mask=tmp_path / "none.png")
    with pytest.raises(DatasetError, match=r"none\.png"):
        load_samples([record])


def test_where_nothing_can_be_used_the_first_reason_is_given(tmp_path):
    volume = tmp_path / "head.nii"
    nib.save(nib.Nifti1Image(np.ones((40, 40, 6), np.float32), np.eye(4)), volume)
    with pytest.raises(DatasetError, match="head.nii holds 6 slices"):
        load_samples([Record(volume, TumorClass.GLIOMA)])


def test_findings_of_a_set_are_drawn_in_fixed_ratios_and_sets_by_their_root():
    def made(source, count, sequence, label=None, lesion=""):
        record = Record(
            Path(f"{source}.png"),
            label,
            source=source,
            sequence=sequence,
            lesion=lesion,
        )
        return count * [Sample(record, np.zeros((8, 8), np.uint8), None, None)]

    t1, t2 = MRSequence.T1, MRSequence.T2
    samples = [
        *made("a", 390, t1, TumorClass.GLIOMA),
        *made("a", 10, t1, TumorClass.MENINGIOMA),
        *made("a", 90, t2, TumorClass.GLIOMA),
        *made("a", 10, t2, TumorClass.MENINGIOMA),
        *made("d", 4, t1, lesion=Lesion.VASCULAR),
    ]
    weights = sampling_weights(samples, "class-source-sequence")
    shares = defaultdict(float)
    for sample, weight in zip(samples, weights, strict=True):
        record = sample.record
        shares[sample.findings[-1], record.source, record.sequence] += weight
    assert sum(shares.values()) == pytest.approx(1.0)
    glioma, meningioma = TumorClass.GLIOMA, TumorClass.MENINGIOMA
    # However rare a finding is in a contrast, the contrast is no sign of it.
    for sequence in (t1, t2):
        assert shares[meningioma, "a", sequence] == pytest.approx(
            shares[glioma, "a", sequence]
            * FINDING_RATIOS[meningioma]
            / FINDING_RATIOS[glioma]
        )
    assert shares[glioma, "a", t1] == pytest.approx(2.0 * shares[glioma, "a", t2])
    ratio = FINDING_RATIOS[Lesion.VASCULAR] / FINDING_RATIOS[glioma]
    assert shares[Lesion.VASCULAR, "d", t1] == pytest.approx(
        ratio * shares[glioma, "a", t1] / 10.0
    )


def test_the_set_that_shows_most_patients_of_each_kind_is_not_crowded_out():
    def made(source, label):
        record = Record(Path("a.png"), label, source=source, sequence=MRSequence.T1)
        return [Sample(record, np.zeros((8, 8), np.uint8), None, None)] * 5

    kinds = TumorClass.GLIOMA, TumorClass.PITUITARY
    samples = [item for name in ("cheng", "a") for k in kinds for item in made(name, k)]
    weights = sampling_weights(samples, "class-source-sequence")
    assert weights[:10].sum() == pytest.approx(
        SOURCE_RATIOS["cheng"] * weights[10:].sum()
    )


def test_slices_are_drawn_by_their_factors():
    def made(source, label, sequence):
        record = Record(Path("a.png"), label, source=source, sequence=sequence)
        return [Sample(record, np.zeros((8, 8), np.uint8), None, None)] * 5

    glioma, pituitary = TumorClass.GLIOMA, TumorClass.PITUITARY
    samples = [
        *made("a", glioma, MRSequence.T1),
        *made("a", pituitary, MRSequence.T1),
        *made("a", glioma, MRSequence.T2),
        *made("b", glioma, None),
    ]
    factors = {"a": 2.0, "a:T1": 3.0, "a:T1:glioma": 0.5, "b": 7.0}
    drawn = sampling_weights(samples, "natural", factors).reshape(4, 5).sum(axis=1)
    np.testing.assert_allclose(drawn / drawn[2], [1.5, 3.0, 1.0, 3.5])
    with pytest.raises(DatasetError, match="No training slice is of a:T2:pituitary"):
        sampling_weights(samples, "natural", {"a:T2:pituitary": 2.0})


def head(outline=None, brain=True):
    """Draw a bright skull around a darker brain."""
    square = np.where(disc(95) > 0, np.uint8(100), disc(120) // 255 * np.uint8(220))
    label = TumorClass.NO_TUMOR if outline is None else TumorClass.GLIOMA
    record = Record(Path("head.png"), label, "patient", source="clinic")
    return Sample(record, square, outline, disc(95) if brain else None)


def test_a_flair_slice_is_shown_as_t2_where_its_t1_is_at_hand(phantom, tmp_path):
    """Three slices of one patient in FLAIR; only the first two have T1 of their own."""
    places = [("1", "FLAIR"), ("1", "T1"), ("2", "FLAIR"), ("2", "T1"), ("3", "FLAIR")]
    records = []
    for number, word in places:
        sequence = MRSequence(word)
        picture = phantom()
        picture[disc(25) > 0] = 20
        path = tmp_path / f"{number}-{word}.png"
        cv2.imwrite(str(path), picture)
        record = Record(path, TumorClass.NO_TUMOR, "p", source="clinic")
        extra = {"slice": number}
        records.append(replace(record, sequence=sequence, extra=extra))
    samples, _ = load_samples(records)
    twins = {item.record.path.stem: item.as_t2 for item in samples}
    made = {name for name, twin in twins.items() if twin is not None}
    assert made == {"1-FLAIR", "2-FLAIR"}
    middle = slice(118, 138), slice(118, 138)
    square = next(item.square for item in samples if item.record.path.stem == "1-FLAIR")
    assert twins["1-FLAIR"][middle].mean() > square[middle].mean() + 100
    weights = sampling_weights(samples, "class-source-sequence")
    shares = dict(
        zip((item.record.path.stem for item in samples), weights, strict=True)
    )
    flair = sum(share for name, share in shares.items() if name.endswith("FLAIR"))
    t1 = sum(share for name, share in shares.items() if name.endswith("T1"))
    assert flair / t1 == pytest.approx(SHOWN_AS_T2 * np.sqrt(3.0 / 2.0))


def test_the_skull_goes_and_the_brain_fills_the_square():
    (bare,) = without_skull([head()])
    assert bare.square.max() <= 110  # no skull
    assert (bare.square > 50).sum() > (disc(95) > 0).sum()
    assert bare.label is TumorClass.NO_TUMOR


def test_the_outline_goes_along():
    (bare,) = without_skull([head(disc(20, (100, 128)))])
    assert bare.outline is not None
    rows, columns = np.nonzero(bare.outline)
    assert columns.mean() < 100  # further from the middle, as all is larger
    assert abs(rows.mean() - 128) < 4


def test_heads_that_cannot_be_stripped_are_left_out():
    cut = head(disc(20, (230, 128)))  # a tumour outside the brain
    unknown = head(brain=False)
    kept = head()
    found = without_skull([cut, unknown, kept])
    assert len(found) == 1
    assert kept.square.max() == 220  # untouched
