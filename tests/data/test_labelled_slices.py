"""A sample takes many patients, and is the same however the set is sorted."""

from pathlib import Path

from tumorlens.data.labelled_slices import (
    pick,
    pick_of_each_class,
    read_labelled_slice,
)
from tumorlens.data.manifest import Record
from tumorlens.taxonomy import TumorClass


def records(label=TumorClass.GLIOMA):
    return [
        Record(Path(f"{label}-{patient}-{row}.png"), label, f"{label}{patient}")
        for patient in range(6)
        for row in range(1 if patient else 30)
    ]


def test_every_patient_comes_before_anyone_comes_twice():
    found = pick(records(), 6)
    assert len({item.patient for item in found}) == 6


def test_order_does_not_matter_but_the_seed_does():
    forward, backward = pick(records(), 12), pick(records()[::-1], 12)
    assert forward == backward
    assert pick(records(), 12, seed=1) != forward


def test_no_more_than_there_are():
    assert len(pick(records(), 1000)) == len(records())
    assert pick([], 5) == []


def test_each_class_gets_its_share():
    both = [*records(), *records(TumorClass.NO_TUMOR), Record(Path("x.png"), None)]
    found = pick_of_each_class(both, 4)
    assert [item.label for item in found].count(TumorClass.GLIOMA) == 4
    assert [item.label for item in found].count(TumorClass.NO_TUMOR) == 4
    assert len(found) == 8


def test_a_file_that_cannot_be_read_is_left_out(tmp_path, slice_file):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    assert read_labelled_slice(Record(tmp_path / "broken.png", None)) is None
    found = read_labelled_slice(Record(slice_file, None))
    assert found is not None and found.pixels.shape == (256, 256)
