"""Lists of series, written and read back; slices piled up, and volumes cut."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest

from tests.conftest import draw_phantom
from tests.samples.dicom_files import saved, slice_file
from tests.samples.dicom_studies import write_series
from tests.samples.volumes import LESION, draw_head, inside
from tumorlens.calibration.series import deal_series
from tumorlens.cli.main import main
from tumorlens.data.manifest import Record, dicom_patient, read_manifest, write_manifest
from tumorlens.data.series import (
    COLUMNS,
    SeriesPart,
    SeriesRecord,
    collect_series,
    cut_volumes,
    read_series_list,
    slices_of,
    stack_slices,
    write_series_list,
)
from tumorlens.errors import DatasetError, InputError, MissingFileError, TumorLensError
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import MRSequence, Plane
from tumorlens.taxonomy import TumorClass
from tumorlens.training.volumes import load_volume_sample


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"{number}.png" for number in range(4)]
    for path in found:
        path.touch()
    return found


def write(path: Path, *rows: dict[str, object]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_what_is_written_is_read_back(files: list[Path], tmp_path: Path) -> None:
    stack = SeriesRecord(
        "one",
        TumorClass.GLIOMA,
        "anna",
        "set",
        (SeriesPart(files[0], 3), SeriesPart(files[1], 5, files[2])),
        7.0,
        MRSequence.FLAIR,
    )
    whole = SeriesRecord("two", None, "bert", "set", (SeriesPart(files[3]),))
    path = tmp_path / "scans.csv"
    write_series_list([stack, whole], path)
    assert read_series_list(path) == [stack, whole]
    assert whole.tumor
    assert not whole.outlined
    assert stack.outlined


GOOD = {"scan": "a", "label": "no_tumor", "patient": "p", "file": "0.png"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "knee"}, "line 2: the label 'knee'"),
        ({"patient": ""}, "of no patient"),
        ({"file": "gone.png"}, "gone.png"),
        ({"slice": "x"}, "slice 'x'"),
        ({"gap_mm": "-1"}, "gap '-1'"),
        ({"gap_mm": "wide"}, "gap 'wide'"),
        ({"sequence": "CT"}, "sequence 'CT'"),
        ({"mask": "gone.png"}, "gone.png"),
    ],
)
def test_a_wrong_value_is_named(
    files: list[Path], tmp_path: Path, change: dict[str, str], said: str
) -> None:
    path = write(tmp_path / "scans.csv", {**GOOD, **change})
    with pytest.raises(DatasetError, match=said):
        read_series_list(path)


def test_a_stack_of_two_kinds_or_without_places_is_refused(
    files: list[Path], tmp_path: Path
) -> None:
    other = {**GOOD, "slice": "1", "patient": "q"}
    path = write(tmp_path / "scans.csv", {**GOOD, "slice": "0"}, other)
    with pytest.raises(DatasetError, match="two kinds"):
        read_series_list(path)
    path = write(tmp_path / "scans.csv", {**GOOD, "slice": "1"}, {**GOOD, "slice": "1"})
    with pytest.raises(DatasetError, match="or twice"):
        read_series_list(path)


def test_a_list_may_leave_the_sequence_out(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    row = dict.fromkeys(COLUMNS, "") | GOOD
    del row["sequence"]
    path.write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    (found,) = read_series_list(path)
    assert found.sequence is None


def test_lists_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_series_list(tmp_path / "none.csv")
    empty = write(tmp_path / "empty.csv")
    with pytest.raises(DatasetError, match="no rows"):
        read_series_list(empty)
    odd = tmp_path / "odd.csv"
    odd.write_text("file\n0.png\n")
    with pytest.raises(DatasetError, match="no column scan"):
        read_series_list(odd)
    with pytest.raises(TumorLensError, match="none of the sets"):
        collect_series(tmp_path)


def test_slices_of_a_set_form_its_scans(tmp_path: Path) -> None:
    lgg = tmp_path / "lgg"
    lgg.mkdir()
    rows = [("id", "patient", "slice", "mask_px", "gap_to_tumor_slice")]
    gaps = [3, 2, 1, 0, 0, 1, 2, 3]
    # Listed backwards: places, not the order of the rows, order a stack.
    for place in reversed(range(8)):
        drawn = 50 if gaps[place] == 0 else 0
        rows.append((f"s{place}", "P1", str(place), str(drawn), str(gaps[place])))
    (lgg / "lgg.csv").write_text("\n".join(",".join(row) for row in rows))
    whole, free, thin = collect_series(tmp_path)
    assert [part.place for part in whole.parts] == list(range(8))
    assert [part.place for part in whole.parts if part.mask] == [3, 4]
    assert whole.label is TumorClass.GLIOMA
    assert [part.place for part in free.parts] == [0, 1, 6, 7]
    assert not free.tumor
    assert [part.place for part in thin.parts] == [0, 1, 3, 4, 6, 7]
    assert thin.tumor
    assert not thin.outlined
    assert whole.patient == free.patient == thin.patient == "lgg:P1"
    assert whole.sequence is MRSequence.T1_CONTRAST


def test_other_sequences_of_a_set_form_scans_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "lgg_sequences"
    folder.mkdir()
    lines = ["file,sequence,class,patient,site,slice,n_slices,mask,use"]
    for sequence in ("FLAIR", "T1"):
        for place in range(8):
            mask = f"masks/{place}.png" if place in (3, 4) else ""
            name = f"s{place}_{sequence.lower()}.jpg"
            lines.append(f"{name},{sequence},glioma,P1,CS,{place},8,{mask},learn")
    (folder / "lgg_sequences.csv").write_text("\n".join(lines))
    flair, free, thin, t1, *_ = collect_series(tmp_path)
    assert (flair.sequence, t1.sequence) == (MRSequence.FLAIR, MRSequence.T1)
    assert [scan.name for scan in (flair, free, thin)] == [
        "lgg:P1:FLAIR",
        "lgg:P1:FLAIR:rest",
        "lgg:P1:FLAIR:thin",
    ]
    assert [scan.source for scan in (flair, thin)] == [
        "lgg_sequences",
        "lgg_sequences_thin",
    ]
    assert [part.place for part in flair.parts if part.mask] == [3, 4]
    # Next to an outlined slice a tumour may begin.
    assert [part.place for part in free.parts] == [0, 1, 6, 7]
    assert [part.place for part in thin.parts] == [0, 1, 3, 4, 6, 7]
    assert t1.patient == flair.patient == "lgg:P1"


def test_a_dicom_scan_is_of_the_patient_that_its_slices_name(tmp_path: Path) -> None:
    files = write_series(tmp_path / "dicom/volunteer")
    write_series(tmp_path / "dicom/brainix/T1", slices=2)
    healthy, ill = collect_series(tmp_path)
    assert (healthy.name, ill.name) == ("dicom:volunteer", "dicom:brainix")
    trained = [Record(file, None, dicom_patient(file), fold=1) for file in files]
    assert deal_series([healthy], trained, [0, 1, 2]) == [1]


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


@pytest.fixture
def scan():
    """Axes right, front, top; brightest in front, and half as bright on top."""
    voxels = np.zeros((40, 50, 60), np.float32)
    voxels[5:35, 5:45, 5:55] = 100.0
    voxels[5:35, 35:45, 5:55] = 200.0
    voxels[5:35, 5:35, 45:55] = 150.0
    return voxels


def test_the_face_is_up_or_left_and_the_top_is_up(scan):
    middle = {}
    for plane, number, picture in slices_of((scan, (1.0, 1.0, 1.0)), 1.0):
        if number == 20 or plane is not Plane.SAGITTAL:
            middle.setdefault(plane, picture) if number >= 20 else None
    axial, sagittal = middle[Plane.AXIAL], middle[Plane.SAGITTAL]
    assert axial.shape == (50, 40)
    assert axial[10, 20] == 255 and axial[40, 20] < 140
    assert sagittal.shape == (60, 50)
    assert sagittal[30, 10] == 255 and sagittal[30, 40] < 140
    assert sagittal[8, 40] > sagittal[30, 40]


def test_pixels_are_square_and_the_ends_are_left_out(scan):
    found = list(slices_of((scan, (1.0, 1.0, 2.0)), 4.0))
    coronal = [picture for plane, _, picture in found if plane is Plane.CORONAL]
    assert all(picture.shape == (120, 40) for picture in coronal)
    axial = [number for plane, number, _ in found if plane is Plane.AXIAL]
    assert min(axial) >= 5 and max(axial) < 55
    assert set(np.diff(axial)) == {2}


def test_a_nifti_of_any_orientation_becomes_labelled_pictures(tmp_path):
    head = np.stack([draw_phantom(64, 64, seed=3)] * 24, axis=-1).astype(np.float32)
    turned = np.diag([-2.0, -2.0, 2.0, 1.0])
    path = tmp_path / "one.nii.gz"
    nibabel.save(nibabel.Nifti1Image(head, turned), path)
    records = cut_volumes(
        [path], tmp_path / "out", label="no_tumor", source="mine", every_mm=8.0
    )
    assert {row.patient for row in records} == {"mine:one"}
    assert {row.plane for row in records} == {"axial", "coronal", "sagittal"}
    assert all(cv2.imread(str(row.path), 0) is not None for row in records)


def test_a_folder_of_one_dicom_series_is_cut_too(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    for number in range(24):
        pixels = draw_phantom(64, 64, seed=3).astype(np.uint16)
        data = saved(slice_file(pixels, 3.0 * number, PixelSpacing=[3, 3]))
        (folder / f"{number}.dcm").write_bytes(data)
    records = cut_volumes(
        [folder], tmp_path / "out", label="no_tumor", source="mine", every_mm=9.0
    )
    assert {row.patient for row in records} == {"mine:series"}
    assert {row.plane for row in records} == {"axial", "coronal", "sagittal"}


def head_with_skull():
    """Draw rings of scalp (230), skull (5) and brain (120)."""
    picture = np.zeros((256, 256), np.uint8)
    for radius, grey in ((115, 230), (103, 5), (90, 120)):
        cv2.circle(picture, (128, 128), radius, grey, -1)
    return picture


def test_heads_are_shown_without_their_skull(tmp_path):
    head = np.stack([head_with_skull()] * 8, axis=-1).astype(np.float32)
    path = tmp_path / "one.nii.gz"
    nibabel.save(nibabel.Nifti1Image(head, np.diag([1.0, 1.0, 8.0, 1.0])), path)
    order = {"label": "no_tumor", "source": "mine", "every_mm": 20.0}
    whole = cut_volumes([path], tmp_path / "whole", **order)
    bare = cut_volumes([path], tmp_path / "bare", **order, stripped=True)
    axial = {row.path.name for row in bare if row.plane == "axial"}
    assert axial == {row.path.name for row in whole if row.plane == "axial"}
    for name in axial:
        before, after = (
            cv2.imread(str(tmp_path / kind / name), 0) for kind in ("whole", "bare")
        )
        # The scalp is the brightest of the drawn head, and outermost.
        assert (before > 220).mean() > 0.02
        assert (after > 220).mean() < 0.005


def test_what_is_no_scan_is_refused_by_name(tmp_path):
    bad = tmp_path / "bad.nii"
    bad.write_bytes(b"no scan")
    with pytest.raises(InputError, match=r"bad\.nii"):
        cut_volumes([bad], tmp_path, label="no_tumor", source="x", every_mm=5.0)
    flat = tmp_path / "flat.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4), np.float32), np.eye(4)), flat)
    with pytest.raises((DatasetError, InputError), match=r"flat\.nii"):
        cut_volumes([flat], tmp_path, label="no_tumor", source="x", every_mm=5.0)
    with pytest.raises(MissingFileError):
        cut_volumes(
            [tmp_path / "none.nii"], tmp_path, label="no_tumor", source="x", every_mm=5
        )
