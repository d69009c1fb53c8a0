"""Files become series, sorted along the patient."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydicom.uid import UID

from tests.samples.dicom_files import saved, slice_file
from tumorlens.errors import InputError
from tumorlens.imaging.dicom.grouping import gather_series
from tumorlens.imaging.study import MRSequence, Plane

DATA = Path(os.environ.get("TUMORLENS_DATA", "../shared/data")) / "dicom"


def test_slices_are_sorted_by_position_not_by_name() -> None:
    files = [(f"{i}", saved(slice_file(position=z))) for i, z in enumerate((10, -5, 0))]
    study, failures = gather_series(files)
    (series,) = study.series
    assert [item.source for item in series.slices] == ["1", "2", "0"]
    assert [item.index for item in series.slices] == [0, 1, 2]
    assert not failures


def test_without_position_the_number_sorts() -> None:
    files = [
        (str(n), saved(slice_file(ImagePositionPatient=None, InstanceNumber=n)))
        for n in (10, 9, 2)
    ]
    study, _ = gather_series(files)
    assert [item.source for item in study.slices] == ["2", "9", "10"]


def test_series_and_orientations_are_told_apart() -> None:
    other = slice_file(SeriesInstanceUID=UID("1.2.9"))
    turned = slice_file(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    study, _ = gather_series(
        [("a", saved(slice_file())), ("b", saved(other)), ("c", saved(turned))]
    )
    assert len(study.series) == 3
    assert any("split" in note for note in study.notes)


def test_echoes_are_split_and_copies_dropped() -> None:
    files = [
        (f"{echo} {z}", saved(slice_file(position=z, EchoTime=echo)))
        for echo in (10, 90)
        for z in (0, 5)
    ]
    study, _ = gather_series([*files, files[0]])
    assert [len(series.slices) for series in study.series] == [2, 2]
    assert any("repeat" in note for note in study.notes)


def test_localisers_are_left_out_with_a_note() -> None:
    scout = slice_file(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    study, failures = gather_series([("Doe", saved(scout)), ("b", saved(slice_file()))])
    assert len(study.slices) == 1
    assert [name for name, _ in failures] == ["Doe"]
    assert any("localiser" in note for note in study.notes)
    assert not any("Doe" in note for note in study.notes)


def test_nothing_but_a_localiser_is_refused() -> None:
    scout = slice_file(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(InputError, match="localiser"):
        gather_series([("a", saved(scout))])


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data")
@pytest.mark.parametrize(
    ("folder", "count", "plane", "sequence"),
    [
        ("volunteer", 80, Plane.SAGITTAL, MRSequence.T1),
        ("brainix/T1", 22, Plane.AXIAL, MRSequence.T1),
        ("brainix/FLAIR", 22, Plane.AXIAL, MRSequence.FLAIR),
    ],
)
def test_real_series(
    folder: str, count: int, plane: Plane, sequence: MRSequence
) -> None:
    files = [(x.name, x.read_bytes()) for x in (DATA / folder).glob("*.dcm")]
    study, failures = gather_series(files)
    (series,) = study.series
    assert not failures
    assert (len(series.slices), series.slices[0].plane) == (count, plane)
    assert series.sequence is sequence
