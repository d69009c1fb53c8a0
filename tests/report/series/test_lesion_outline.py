"""The lesion is marked where its own evidence is, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.samples.series_findings import written_finding
from tumorlens.report.series.lesion_outline import lesion_in_slice, outlines


def test_the_lesion_is_marked_where_its_mask_is() -> None:
    mask = lesion_in_slice(written_finding(), 5)
    assert mask is not None
    wanted = np.zeros((256, 256), np.uint8)
    wanted[100:120, 80:100] = 1
    assert np.array_equal(mask, wanted)


def test_a_slice_beyond_the_box_is_empty() -> None:
    finding = written_finding()
    for index in (3, 7):
        mask = lesion_in_slice(finding, index)
        assert mask is not None
        assert not mask.any()


def test_no_lesion_or_no_evidence_gives_no_mask() -> None:
    finding = written_finding()
    assert lesion_in_slice(replace(finding, lesion=None), 5) is None
    assert lesion_in_slice(replace(finding, evidence=None), 5) is None


def test_an_outline_runs_along_the_outermost_pixels() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:10, 12:20] = 1
    mask[15, 3] = 1
    large, single = sorted(outlines(mask), key=len, reverse=True)
    assert large.min(axis=0).tolist() == [12, 5]
    assert large.max(axis=0).tolist() == [19, 9]
    assert single.tolist() == [[3, 15]]
