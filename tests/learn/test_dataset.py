"""Cached slices: how often each is drawn, and what is refused."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorlens.errors import DatasetError
from tumorlens.learn.dataset import Sample, load_samples, sampling_weights
from tumorlens.learn.manifest import Record, read_manifest
from tumorlens.taxonomy import CLASSES, TumorClass


def slices(source, label, count):
    """Make slices that differ in nothing but where they are from."""
    record = Record(Path(f"{source}.png"), label, source=source)
    return count * [Sample(record, np.zeros((8, 8), np.uint8), None, None)]


def drawn(samples, sampling="class-source"):
    """Share of the draws by class and source."""
    shares = defaultdict(float)
    for sample, weight in zip(
        samples, sampling_weights(samples, sampling), strict=True
    ):
        shares[sample.label, sample.record.source] += weight
    return shares


def test_classes_and_their_sources_are_drawn_alike():
    samples = [
        item
        for label in CLASSES
        for source, count in (("a", 3), ("b", 5))
        for item in slices(source, label, count)
    ]
    shares = drawn(samples)
    assert list(shares.values()) == 8 * [pytest.approx(0.125)]


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


def test_one_tumor_free_set_of_another_scanner_is_not_drawn_less_than_the_paired():
    none = TumorClass.NO_TUMOR
    samples = [
        *slices("both", TumorClass.GLIOMA, 7),
        *slices("both", none, 4),
        *slices("other", none, 9),
    ]
    shares = drawn(samples)
    assert shares[none, "both"] == pytest.approx(0.25)
    assert shares[none, "other"] == pytest.approx(0.25)


def test_natural_sampling_draws_all_slices_alike():
    samples = [*slices("a", TumorClass.GLIOMA, 3), *slices("b", TumorClass.NO_TUMOR, 1)]
    weights = sampling_weights(samples, "natural")
    np.testing.assert_allclose(weights, 0.25)


def test_an_outline_of_another_size_is_refused(drawn_set, tmp_path):
    record = replace(read_manifest(drawn_set)[0], mask=tmp_path / "none.png")
    with pytest.raises(DatasetError, match=r"none\.png"):
        load_samples([record])
