"""Scans are read as served, changed at random, and laid under their outlines."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.samples.volumes import LESION, draw_head, draw_set, inside, save_volume
from tumorlens.data.manifest import read_manifest
from tumorlens.errors import DatasetError, InputError
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.imaging.preprocess.volume import prepare_volume, whole_volume
from tumorlens.taxonomy import NO_TUMOR_INDEX, TumorClass
from tumorlens.training.augment.volume import augment_volume
from tumorlens.training.dataset import sampling_weights
from tumorlens.training.volumes import (
    VolumeStream,
    load_volume_sample,
    load_volume_samples,
    only_series,
    served_volumes,
    volume_targets,
)

SIZE = 32


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return read_manifest(draw_set(tmp_path_factory.mktemp("set"), 3))


@pytest.fixture(scope="module")
def samples(records):
    found, left_out = load_volume_samples(records, SIZE)
    assert left_out == []
    return found


def test_training_sees_what_serving_sees(records, samples):
    served = prepare_volume(
        whole_volume(only_series(records[0].path)), Preprocessing(size=SIZE)
    )[0]
    found = served_volumes(samples[:1], SIZE)
    assert found.shape == (1, 24, SIZE, SIZE, 1)
    np.testing.assert_allclose(found[0], served, atol=1 / 255)


def test_the_outline_lies_where_the_lesion_is_bright(samples):
    drawn = samples[0].outline > 127
    assert drawn.any()
    assert samples[0].square[drawn].mean() > 1.5 * samples[0].square[~drawn].mean()
    assert samples[1].outline is None


def test_an_outline_on_another_grid_is_refused_by_name(records, tmp_path):
    small = save_volume(inside(LESION)[:-1].astype(np.float32), tmp_path / "cut.nii")
    with pytest.raises(DatasetError, match=r"cut\.nii"):
        load_volume_sample(replace(records[0], mask=small), SIZE)


def test_a_scan_that_cannot_be_read_is_left_out_with_its_reason(records, tmp_path):
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"no scan")
    odd = replace(records[0], path=broken, mask=None)
    found, left_out = load_volume_samples([*records, odd], SIZE)
    assert len(found) == len(records)
    assert len(left_out) == 1
    assert "broken.nii" in left_out[0]


def test_scans_of_one_kind_alone_are_refused(records):
    with pytest.raises(DatasetError, match="show glioma"):
        load_volume_samples([row for row in records if row.mask], SIZE)


def test_cells_know_where_the_tumour_is(samples):
    outline = samples[0].outline.astype(np.float32) / 255
    targets = volume_targets(TumorClass.GLIOMA, outline, (6, 8, 8))
    tumor = targets.classes[..., 0] == 1
    assert 1 <= tumor.sum() < 20
    shares = outline.reshape(6, 4, 8, 4, 8, 4).mean(axis=(1, 3, 5))
    assert tumor[np.unravel_index(shares.argmax(), shares.shape)]
    assert targets.weights.sum() == pytest.approx(6 * 8 * 8)
    assert targets.weights[tumor].sum() == pytest.approx(6 * 8 * 8 / 2)
    healthy = volume_targets(TumorClass.NO_TUMOR, None, (6, 8, 8))
    assert (healthy.classes[..., NO_TUMOR_INDEX] == 1).all()
    unknown = volume_targets(TumorClass.GLIOMA, None, (6, 8, 8))
    assert not unknown.weights.any()


def test_changes_move_scan_and_outline_alike(samples):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        block, outline = augment_volume(
            samples[0].square, samples[0].outline, rng, may_cut=False
        )
        assert block.shape == outline.shape == samples[0].square.shape
        assert block.min() >= 0.0 and block.max() <= 1.0
        drawn = outline > 0.5
        assert block[drawn].mean() > 1.3 * block[~drawn].mean()


def test_only_a_healthy_head_is_cut_to_a_slab(samples):
    def heights(sample, may_cut):
        found = []
        for seed in range(24):
            block, _ = augment_volume(
                sample.square, None, np.random.default_rng(seed), may_cut=may_cut
            )
            # Noise lies in blank slices too.
            found.append(int((block.mean(axis=(1, 2)) > 0.06).sum()))
        return found

    assert min(heights(samples[1], True)) < 0.7 * min(heights(samples[1], False))


def test_batches_depend_on_seed_and_step_alone(samples):
    weights = sampling_weights(samples, "class-source")
    one, two = (
        VolumeStream(samples, weights, 3, 5, 0.0, 0.0, 4).batch(2, SIZE)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert one.pixels.shape == (3, 24, SIZE, SIZE, 1)
    assert one.cells.shape == (3, 6, 8, 8, 4)
    assert one.cell_weights.shape == (3, 6, 8, 8)
    assert one.labels.sum() == 3
    other = VolumeStream(samples, weights, 3, 5, 0.0, 0.0, 4).batch(3, SIZE)
    assert not np.array_equal(one.pixels, other.pixels)


def test_a_file_of_several_series_is_no_scan(tmp_path):
    for name in ("a", "b"):
        save_volume(draw_head(), tmp_path / f"{name}.nii")
    archive = shutil.make_archive(str(tmp_path / "two"), "zip", tmp_path, None)
    with pytest.raises(InputError, match=r"two\.zip"):
        only_series(Path(archive))
