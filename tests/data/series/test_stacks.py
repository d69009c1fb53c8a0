"""Slices of a patient become one scan, and slabs with and without tumour."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.samples.volumes import LESION, draw_head, inside
from tumorlens.cli.main import main
from tumorlens.data.manifest import Record, read_manifest, write_manifest
from tumorlens.data.series.stacks import stack_slices
from tumorlens.errors import DatasetError
from tumorlens.imaging.read import read_study
from tumorlens.taxonomy import TumorClass
from tumorlens.training.volumes import load_volume_sample


@pytest.fixture
def slices(tmp_path):
    """A head with a lesion as pictures, in no order."""
    head, drawn = draw_head(LESION), inside(LESION)
    records = []
    for number in range(len(head)):
        path = tmp_path / f"s{number}.png"
        cv2.imwrite(str(path), head[number].astype(np.uint8))
        mask = None
        if drawn[number].any():
            mask = tmp_path / f"m{number}.png"
            cv2.imwrite(str(mask), drawn[number] * 255)
        records.append(
            Record(
                path,
                TumorClass.GLIOMA if mask else TumorClass.NO_TUMOR,
                patient="set:one",
                mask=mask,
                source="set",
                split="test",
                extra={"slice": str(number + 1)},
            )
        )
    return records[20:] + records[:20]


def made(slices, tmp_path, **more):
    return stack_slices(slices, tmp_path / "out", height_mm=160.0, pixel_mm=4.0, **more)


def test_slices_are_piled_up_by_number(slices, tmp_path):
    (record,) = made(slices, tmp_path)
    assert (record.label, record.patient) == (TumorClass.GLIOMA, "set:one")
    assert (record.split, record.source) == ("test", "set")
    (series,) = read_study(record.path).series
    head = draw_head(LESION).astype(np.uint8)
    assert len(series.slices) == 40
    np.testing.assert_array_equal(series.slices[7].pixels, head[7])
    low, high = series.slices[7].placement, series.slices[8].placement
    assert high.origin[2] - low.origin[2] == pytest.approx(4.0)
    assert low.across[0] > 0 and low.down[1] > 0


def test_the_outline_fits_the_scan(slices, tmp_path):
    (record,) = made(slices, tmp_path)
    sample = load_volume_sample(record, 32)
    drawn = sample.outline > 127
    assert sample.square[drawn].mean() > 1.5 * sample.square[~drawn].mean()


def test_slabs_show_the_tumour_or_none_of_it(slices, tmp_path):
    found = {row.extra["part"]: row for row in made(slices, tmp_path, slabs=4)}
    # The lesion fills slices 20 to 30 of 40; the last slab holds a trace of it.
    assert {part: row.label for part, row in found.items()} == {
        "whole": TumorClass.GLIOMA,
        "1/4": TumorClass.NO_TUMOR,
        "2/4": TumorClass.NO_TUMOR,
        "3/4": TumorClass.GLIOMA,
    }
    assert found["1/4"].mask is None
    slab = read_study(found["3/4"].path).series[0].slices
    assert len(slab) == 10
    assert slab[0].placement.origin[2] == pytest.approx(80.0)


def test_without_an_outline_there_are_no_slabs(slices, tmp_path):
    bare = [replace(row, mask=None) for row in slices]
    (record,) = made(bare, tmp_path, slabs=3)
    assert record.mask is None
    assert record.label is TumorClass.GLIOMA


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"patient": ""}, "no patient"),
        ({"extra": {"slice": "top"}}, "column 'slice'"),
        ({"label": TumorClass.MENINGIOMA}, "glioma, meningioma"),
    ],
)
def test_what_makes_no_scan_is_named(slices, tmp_path, change, said):
    odd = [replace(slices[0], **change), *slices[1:]]
    with pytest.raises(DatasetError, match=said):
        made(odd, tmp_path)


def test_a_slice_of_another_size_is_named(slices, tmp_path):
    cv2.imwrite(str(slices[3].path), np.zeros((9, 9), np.uint8))
    with pytest.raises(DatasetError, match=slices[3].path.name):
        made(slices, tmp_path)


def test_the_command_writes_a_manifest(slices, tmp_path, capsys):
    write_manifest(slices, tmp_path / "slices.csv")
    write_manifest([slices[0]], tmp_path / "also.csv")
    out = tmp_path / "scans"
    command = ["data", "stack", str(tmp_path / "slices.csv"), "--out", str(out)]
    assert main([*command, "--also", str(tmp_path / "also.csv")]) == 0
    assert "2 series" in capsys.readouterr().out
    records = read_manifest(out / "volumes.csv")
    assert records[0].label is TumorClass.GLIOMA
