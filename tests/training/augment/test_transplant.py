"""Transplants: what a slice shows decides its label, not the head it is in."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.samples.heads import disc
from tumorlens.data.manifest import Record
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import Lesion, TumorClass
from tumorlens.training.augment.transplant import Transplants
from tumorlens.training.dataset import Sample

GLIOMA, CLEAR = TumorClass.GLIOMA, TumorClass.NO_TUMOR


def head(label, source, grey, centre=(110, 120), plane="axial", sequence=None):
    """Draw an even head of one grey; a tumour is 60 levels brighter."""
    square = disc(115) // 255 * np.uint8(grey)
    outline = None
    if label is not CLEAR:
        outline = disc(20, centre)
        square[outline > 0] = grey + 60
    record = Record(
        Path(f"{source}.png"),
        label,
        source,
        source=source,
        plane=plane,
        sequence=sequence,
    )
    return Sample(record, square, outline, disc(100))


def changes(samples, host, share=0.33, runs=60):
    transplants = Transplants(samples, share)
    return [
        transplants.change(host, np.random.default_rng(seed)) for seed in range(runs)
    ]


def test_a_clear_head_gets_a_tumour_with_its_label_and_outline():
    host = head(CLEAR, "web", 90)
    found = [
        item
        for item in changes([head(GLIOMA, "clinic", 120), host], host)
        if item.label is GLIOMA
    ]
    assert len(found) > 10
    for item in found:
        inside = np.median(item.square[item.outline > 0])
        around = np.median(item.square[(item.outline == 0) & (item.brain > 0)])
        assert around == 90  # the host's own tissue
        assert inside > around + 25  # brighter, as it was at home
        assert item.record.source == "web"


def test_the_tissue_is_as_bright_around_the_outline_as_its_new_place():
    host = head(CLEAR, "web", 60)
    donors = [head(GLIOMA, "clinic", 180), host]
    for item in changes(donors, host):
        if item.label is GLIOMA:
            ring = cv2.dilate(item.outline, np.ones((7, 7), np.uint8)) > 0
            ring &= item.outline == 0
            assert abs(np.median(item.square[ring].astype(float)) - 60) < 15


def test_tumour_free_tissue_is_laid_in_twice_as_often_and_changes_no_label():
    host = head(CLEAR, "web", 90)
    other = head(CLEAR, "scanner", 90)
    other.square[::8] = 130  # tissue that can be recognised
    found = changes([head(GLIOMA, "clinic", 120), host, other], host, runs=200)
    tumors = [item for item in found if item.label is GLIOMA]
    tissue = [
        item
        for item in found
        if item.label is CLEAR and not np.array_equal(item.square, host.square)
    ]
    assert all(item.outline is None for item in tissue)
    # Half of the tissue comes from the host's own even set and shows nothing.
    assert 0.7 * len(tumors) < len(tissue) < 1.4 * len(tumors)


def test_a_tumour_keeps_its_outline_when_tissue_is_laid_beside_it():
    host = head(GLIOMA, "clinic", 120)
    for item in changes([host, head(CLEAR, "web", 60)], host):
        assert item.label is GLIOMA
        np.testing.assert_array_equal(item.outline, host.outline)
        tumor = host.outline > 0
        np.testing.assert_allclose(item.square[tumor], host.square[tumor], atol=2)


def test_nothing_is_laid_where_there_is_no_brain():
    host = head(CLEAR, "web", 90)
    host.brain[:] = 0
    for item in changes([head(GLIOMA, "clinic", 120), host], host):
        assert item is host


def test_pituitary_tumours_stay_in_their_place():
    host = head(CLEAR, "web", 90)
    donors = [head(TumorClass.PITUITARY, "clinic", 120), host]
    assert all(item is host for item in changes(donors, host))


def test_a_tumour_goes_to_a_slice_of_its_own_plane():
    host = head(CLEAR, "web", 90, plane="axial")
    axial = head(GLIOMA, "clinic", 120, plane="axial")
    coronal = head(TumorClass.MENINGIOMA, "clinic", 120, plane="coronal")
    labels = [item.label for item in changes([axial, coronal, host], host)]
    assert labels.count(GLIOMA) > 10 * labels.count(TumorClass.MENINGIOMA)


def test_a_tumour_goes_to_a_head_of_its_own_sequence():
    flair, t1c = MRSequence.FLAIR, MRSequence.T1_CONTRAST
    host = head(CLEAR, "web", 90, sequence=flair)
    bright = head(GLIOMA, "clinic", 120, sequence=flair)
    other = head(TumorClass.MENINGIOMA, "clinic", 120, sequence=t1c)
    labels = {item.label for item in changes([bright, other, host], host)}
    assert labels == {GLIOMA, CLEAR}
    assert all(item is host for item in changes([other, host], host))


def test_a_stroke_brings_its_own_label():
    host = head(CLEAR, "web", 90)
    stroke = head(GLIOMA, "clinic", 120)
    record = replace(stroke.record, label=None, lesion=Lesion.VASCULAR)
    found = changes([replace(stroke, record=record), host], host)
    assert {item.findings for item in found} == {(CLEAR,), (Lesion.VASCULAR,)}


@pytest.mark.parametrize("label", [GLIOMA, CLEAR])
def test_without_a_share_nothing_changes(label):
    host = head(label, "web", 90)
    others = [head(GLIOMA, "clinic", 120), head(CLEAR, "scanner", 60)]
    assert all(item is host for item in changes([*others, host], host, share=0.0))


def test_the_same_seed_repeats_the_change_and_leaves_the_input_alone():
    host = head(CLEAR, "web", 90)
    before = host.square.copy()
    samples = [head(GLIOMA, "clinic", 120), host]
    first, again = changes(samples, host), changes(samples, host)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.square, two.square)
    np.testing.assert_array_equal(host.square, before)
