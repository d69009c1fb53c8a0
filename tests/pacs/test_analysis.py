"""A scan's finding as the DICOM writers get it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.engine.scan_samples import drawn_scan
from tumorlens.engine.predict import load_classifier
from tumorlens.engine.scan import judge_scan
from tumorlens.pacs.analysis import dicom_finding, lesion_mask


def test_a_size_is_written_only_where_its_error_was_measured(tiny_bundle: Path) -> None:
    found = judge_scan(load_classifier(tiny_bundle, threads=1), drawn_scan(range(5, 8)))
    assert found.lesion is not None
    assert found.lesion.size_mm is not None
    unknown = dicom_finding(found, "tiny")
    assert (unknown.size_mm, unknown.centroid) == (None, None)
    known = dicom_finding(replace(found, size_measured=True), "tiny")
    assert known.size_mm == found.lesion.size_mm[::-1]
    assert known.centroid == found.lesion.centroid


def test_the_segment_is_the_lesion_and_nothing_else(tiny_bundle: Path) -> None:
    found = judge_scan(load_classifier(tiny_bundle, threads=1), drawn_scan(range(5, 8)))
    assert found.lesion is not None
    mask = lesion_mask(found)
    assert mask is not None
    assert mask.sum() == found.lesion.voxels
    assert mask[found.lesion.peak] == 1
    z0, y0, x0, z1, y1, x1 = found.lesion.box
    assert mask[z0:z1, y0:y1, x0:x1].sum() == mask.sum()
    assert lesion_mask(replace(found, lesion=None)) is None
    assert np.isin(mask, (0, 1)).all()
