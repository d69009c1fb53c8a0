"""A data set is read, checked, written and summed up."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from tests.samples.dicom_files import saved, slice_file
from tests.samples.pictures import blank_png
from tumorlens.data.manifest import (
    Record,
    class_names,
    dicom_patient,
    manifest_digest,
    read_manifest,
    write_manifest,
)
from tumorlens.data.split import split_into_folds
from tumorlens.errors import DatasetError, MissingFileError, OutputError
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import Lesion, TumorClass


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"picture")
    return path


def csv_with(folder: Path, text: str, *files: str) -> Path:
    for file in files:
        touch(folder / file)
    path = folder / "set.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_become_records(tmp_path: Path) -> None:
    path = csv_with(
        tmp_path,
        "file,label,patient,mask,split,source,site,plane,flag,slice\n"
        "a/1.png,Glioma_Tumor,x:1,m/1.png,Training,x,DU,axial,,12\n"
        "a/2.png,notumor,,,val,x,,,ct,\n",
        "a/1.png",
        "a/2.png",
        "m/1.png",
    )
    first, second = read_manifest(path)
    assert first == Record(
        path=tmp_path / "a/1.png",
        label=TumorClass.GLIOMA,
        patient="x:1",
        mask=tmp_path / "m/1.png",
        split="train",
        source="x",
        site="DU",
        plane="axial",
        extra={"slice": "12"},
    )
    assert second.label is TumorClass.NO_TUMOR
    assert (second.mask, second.split, second.flag) == (None, "validation", "ct")


def test_absolute_paths_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    picture = touch(tmp_path / "elsewhere" / "1.png")
    path = csv_with(tmp_path / "set", f"\ufefffile,label\n{picture},glioma\n", "x")
    assert read_manifest(path)[0].path == picture


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("set.csv", "empty")),
        ("file,label\n", ("set.csv", "no rows")),
        ("picture,label\n1.png,glioma\n", ("line 1", "'file'", "picture")),
        ("file,label\n1.png,stroke\n", ("line 2", "'stroke'", "meningioma")),
        ("file,label\n1.png,glioma\n1.png,\n", ("line 3", "''")),
        ("file,label\n2.png,glioma\n", ("line 2", "'2.png'", "relative")),
        ("file,label,mask\n1.png,glioma,m.png\n", ("line 2", "mask", "'m.png'")),
        ("file,label,split\n1.png,glioma,dev\n", ("line 2", "'dev'", "validation")),
        ("file,label,fold\n1.png,glioma,-1\n", ("line 2", "'-1'", "0, 1")),
        ("file,label,train_only\n1.png,glioma,3\n", ("line 2", "'3'", "yes")),
        ("file,label,sequence\n1.png,glioma,X2\n", ("line 2", "'X2'", "FLAIR")),
        ("file,lesion\n1.png,cyst\n", ("line 2", "'cyst'", "vascular")),
        ("file,label,lesion\n1.png,glioma,other\n", ("line 2", "none of the four")),
        ("file,label\n1.png,glioma,x\n", ("line 2", "more values")),
        ("file,label\n,glioma\n", ("line 2", "'file' is empty")),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = csv_with(tmp_path, text, "1.png")
    with pytest.raises(DatasetError) as caught:
        read_manifest(path)
    for word in words:
        assert word in str(caught.value)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.csv"
    path.write_bytes(b"file,label\nf\xfc.png,glioma\n")
    with pytest.raises(DatasetError, match="UTF-8"):
        read_manifest(path)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.csv"):
        read_manifest(tmp_path / "none.csv")


def test_labels_and_files_may_be_missing_where_asked(tmp_path: Path) -> None:
    path = csv_with(tmp_path, "file\n1.png\n")
    (record,) = read_manifest(path, allow_unlabelled=True, must_exist=False)
    assert record.label is None


def test_a_wrong_label_is_refused_even_where_labels_may_miss(tmp_path: Path) -> None:
    path = csv_with(tmp_path, "file,label\n1.png,stroke\n", "1.png")
    with pytest.raises(DatasetError, match="stroke"):
        read_manifest(path, allow_unlabelled=True)


def test_a_tree_with_splits_is_read(tmp_path: Path) -> None:
    touch(tmp_path / "Training/glioma_tumor/b.JPG")
    touch(tmp_path / "Training/no_tumor/a.png")
    touch(tmp_path / "Testing/pituitary/a.png")
    touch(tmp_path / "Testing/pituitary/notes.txt")
    touch(tmp_path / "__MACOSX/Testing/a.png")
    touch(tmp_path / "README.md")
    found = {
        (record.path.relative_to(tmp_path).as_posix(), record.label, record.split)
        for record in read_manifest(tmp_path)
    }
    assert found == {
        ("Training/glioma_tumor/b.JPG", TumorClass.GLIOMA, "train"),
        ("Training/no_tumor/a.png", TumorClass.NO_TUMOR, "train"),
        ("Testing/pituitary/a.png", TumorClass.PITUITARY, "test"),
    }


def test_a_tree_of_one_level_is_read(tmp_path: Path) -> None:
    touch(tmp_path / "Meningioma/1.png")
    (record,) = read_manifest(tmp_path)
    assert (record.label, record.split) == (TumorClass.MENINGIOMA, "")


def test_folders_that_name_no_class_are_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "glioma/1.png")
    touch(tmp_path / "stroke/1.png")
    with pytest.raises(DatasetError, match="'stroke'"):
        read_manifest(tmp_path)


def test_a_class_folder_beside_splits_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "Training/glioma/1.png")
    touch(tmp_path / "extra/1.png")
    with pytest.raises(DatasetError, match="extra"):
        read_manifest(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no pictures"):
        read_manifest(tmp_path)


def test_whole_scans_and_archives_are_listed(tmp_path: Path) -> None:
    names = ("a.nii.gz", "b.NII.GZ", "c.nrrd", "d.zip", "e.nii")
    for name in names:
        touch(tmp_path / "glioma" / name)
    found = read_manifest(tmp_path)
    assert [record.path.name for record in found] == list(names)


def test_what_is_passed_over_is_told(tmp_path: Path) -> None:
    for name in ("README.md", "Training/x.png", "Training/glioma/deep/IM0001"):
        touch(tmp_path / name)
    touch(tmp_path / "Training/glioma/1.png")
    touch(tmp_path / "Training/glioma/.DS_Store")
    told: list[Path] = []
    assert len(read_manifest(tmp_path, report_skipped=told.extend)) == 1
    assert [path.name for path in told] == ["README.md", "x.png", "IM0001"]


def test_nothing_is_told_where_every_file_is_listed(tmp_path: Path) -> None:
    touch(tmp_path / "glioma/1.png")
    read_manifest(tmp_path, report_skipped=lambda files: pytest.fail(f"{files}"))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("a.mnc",), ("only a.mnc.", ".nii.gz")),
        (("a.mnc", "b.gz", "c", "d", "e"), ("a.mnc, b.gz, c and 2 more",)),
        ((), ("are empty",)),
    ],
)
def test_class_folders_without_a_file_to_read_are_named(
    tmp_path: Path, files: tuple[str, ...], words: tuple[str, ...]
) -> None:
    (tmp_path / "glioma").mkdir()
    touch(tmp_path / "README.md")
    for name in files:
        touch(tmp_path / "glioma" / name)
    with pytest.raises(DatasetError) as caught:
        read_manifest(tmp_path)
    for word in words:
        assert word in str(caught.value)
    assert "no pictures in folders named by class" not in str(caught.value)


def sample(folder: Path) -> list[Record]:
    return [
        Record(
            touch(folder / "images/ü, 1.png"),
            TumorClass.GLIOMA,
            patient="x:1",
            mask=touch(folder / "masks/1.png"),
            split="test",
            source="x",
            fold=2,
            extra={"slice": "7"},
        ),
        Record(
            touch(folder / "images/2.png"),
            None,
            train_only=True,
            extra={"use": "stack"},
        ),
    ]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    records = sample(tmp_path)
    write_manifest(records, tmp_path / "set.csv")
    again = read_manifest(tmp_path / "set.csv", allow_unlabelled=True)
    assert [replace(record, extra={}) for record in again] == [
        replace(record, extra={}) for record in records
    ]
    assert again[0].extra == {"slice": "7", "use": ""}


@pytest.mark.parametrize(
    ("word", "says"),
    [("", False), ("No", False), ("false", False), ("YES", True), ("true", True)],
)
def test_a_row_may_say_that_it_trains_only(
    tmp_path: Path, word: str, says: bool
) -> None:
    text = f"file,label,train_only\n1.png,glioma,{word}\n"
    (record,) = read_manifest(csv_with(tmp_path, text, "1.png"))
    assert record.train_only is says
    assert record.extra == {}


def test_a_column_that_no_row_needs_is_not_written(tmp_path: Path) -> None:
    write_manifest(
        [replace(row, train_only=False, fold=None) for row in sample(tmp_path)],
        tmp_path / "set.csv",
    )
    header = (tmp_path / "set.csv").read_text().splitlines()[0].split(",")
    assert not {"train_only", "fold"} & set(header)


def test_a_lesion_stands_where_no_class_does(tmp_path: Path) -> None:
    text = (
        "file,label,sequence,lesion,kind\n1.png,,T1C,other,schwannoma\n"
        "2.png,,flair,either,\n3.png,glioma,,,\n"
    )
    path = csv_with(tmp_path, text, "1.png", "2.png", "3.png")
    other, either, plain = read_manifest(path)
    assert other.findings == (Lesion.OTHER,)
    assert (other.sequence, other.kind) == (MRSequence.T1_CONTRAST, "schwannoma")
    assert either.findings == (TumorClass.NO_TUMOR, Lesion.VASCULAR)
    assert (plain.findings, plain.sequence) == ((TumorClass.GLIOMA,), None)
    write_manifest([other, either, plain], tmp_path / "again.csv")
    assert read_manifest(tmp_path / "again.csv") == [other, either, plain]


def test_a_set_can_move_with_its_manifest(tmp_path: Path) -> None:
    write_manifest(sample(tmp_path / "a"), tmp_path / "a/set.csv")
    (tmp_path / "a").rename(tmp_path / "b")
    records = read_manifest(tmp_path / "b/set.csv", allow_unlabelled=True)
    assert records[0].path == tmp_path / "b/images/ü, 1.png"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "file")
    with pytest.raises(OutputError, match=r"set\.csv"):
        write_manifest(sample(tmp_path), tmp_path / "file/set.csv")


def test_a_column_of_row_numbers_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = csv_with(tmp_path, ",file,label\n0,1.png,glioma\n", "1.png")
    (record,) = read_manifest(path)
    assert record.extra == {}


def test_the_digest_ignores_order_and_place(tmp_path: Path) -> None:
    records = sample(tmp_path / "a")
    assert manifest_digest(records) == manifest_digest(records[::-1])
    assert manifest_digest(records) == manifest_digest(sample(tmp_path / "b"))


@pytest.mark.parametrize(
    "change",
    [
        {"label": TumorClass.MENINGIOMA},
        {"patient": "x:2"},
        {"split": "train"},
        {"fold": 0},
        {"source": "y"},
        {"flag": "ct"},
        {"train_only": True},
        {"mask": None},
    ],
)
def test_the_digest_sees_every_change(
    tmp_path: Path, change: dict[str, object]
) -> None:
    first, second = sample(tmp_path)
    changed = replace(first, **change)  # type: ignore[arg-type]
    assert manifest_digest([first, second]) != manifest_digest([changed, second])


def test_the_digest_can_see_the_bytes(tmp_path: Path) -> None:
    records = sample(tmp_path)
    before = [manifest_digest(records, contents=flag) for flag in (False, True)]
    records[1].path.write_bytes(b"other")
    after = [manifest_digest(records, contents=flag) for flag in (False, True)]
    assert before[0] == after[0]
    assert before[1] != after[1]


OWN = "file,label,tumor\n1.png,metastasis,yes\n2.png,abscess,no\n3.png,healthy,no\n"


def test_a_manifest_may_have_classes_of_its_own(tmp_path: Path) -> None:
    path = csv_with(tmp_path, OWN, "1.png", "2.png", "3.png")
    records = read_manifest(path, may_be_own=True)
    classes = class_names(records)
    assert classes == ("metastasis", "abscess", "healthy")
    assert [item.is_tumor for item in classes] == [True, False, False]
    assert [row.findings for row in records] == [(name,) for name in classes]
    write_manifest(records, tmp_path / "again.csv")
    assert read_manifest(tmp_path / "again.csv", may_be_own=True) == records
    # Another process makes the same of them.
    sent = pickle.loads(pickle.dumps(records))
    assert sent == records and class_names(sent) == classes
    assert sent[2].label.is_tumor is False
    # What is a tumour is part of what a set is.
    other = read_manifest(
        csv_with(tmp_path, OWN.replace("abscess,no", "abscess,yes")), may_be_own=True
    )
    assert manifest_digest(other) != manifest_digest(records)


def test_classes_of_its_own_are_refused_where_the_four_are_meant(
    tmp_path: Path,
) -> None:
    path = csv_with(tmp_path, OWN, "1.png", "2.png", "3.png")
    with pytest.raises(DatasetError, match="metastasis, abscess, healthy"):
        read_manifest(path)


def test_the_four_classes_stay_what_they_are(tmp_path: Path) -> None:
    """A column that says of all of them what is known makes no classes of its own."""
    rows = "Glioma,yes\n#,meningioma,yes\n#,pituitary,yes\n#,notumor,no\n"
    text = f"file,label,tumor\n#,{rows}".replace("#", "1.png")
    records = read_manifest(csv_with(tmp_path, text, "1.png"))
    assert [row.label for row in records] == list(TumorClass)
    assert not class_names(records)
    # Two of them alone are classes of its own.
    two = "file,label,tumor\n1.png,glioma,yes\n1.png,no_tumor,no\n"
    records = read_manifest(csv_with(tmp_path, two), may_be_own=True)
    assert class_names(records) == ("glioma", "no_tumor")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("1.png,a,yes\n2.png,b,yes\n", "None of the classes a, b is no tumour"),
        ("1.png,a,no\n2.png,b,no\n", "None of the classes a, b is a tumour"),
        ("1.png,a,yes\n2.png,b,\n", "does not say whether 'b' is a tumour"),
        ("1.png,a,yes\n2.png,a,no\n", "line 3: the class 'a' is a tumour in some"),
        ("1.png,a,maybe\n2.png,b,no\n", "line 2: the column tumor says 'maybe'"),
        ("1.png,,yes\n2.png,b,no\n", "of the label ''"),
        ("1.png,tumor,yes\n2.png,b,no\n", "use for something else"),
        ("1.png,2 b,yes\n2.png,b,no\n", "'2 b' is not 1 to 40 letters"),
        ("1.png,no_tumor,yes\n2.png,b,no\n", "'no_tumor' is said to be a tumour"),
    ],
)
def test_classes_that_cannot_be_are_named(
    tmp_path: Path, rows: str, words: str
) -> None:
    path = csv_with(tmp_path, f"file,label,tumor\n{rows}", "1.png", "2.png")
    with pytest.raises(DatasetError) as caught:
        read_manifest(path, may_be_own=True)
    assert words in str(caught.value)


def test_a_lesion_does_not_go_with_classes_of_its_own(tmp_path: Path) -> None:
    text = "file,label,tumor,lesion\n1.png,a,yes,\n2.png,b,no,\n3.png,,,other\n"
    path = csv_with(tmp_path, text, "1.png", "2.png", "3.png")
    with pytest.raises(DatasetError, match="line 4: the column lesion"):
        read_manifest(path, may_be_own=True)


def written(path: Path, **tags: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved(slice_file(**tags)))
    return path


def test_slices_of_one_person_share_a_name_that_does_not_hold_the_id(tmp_path):
    one = dicom_patient(written(tmp_path / "1", PatientID="4711", position=0.0))
    two = dicom_patient(written(tmp_path / "2", PatientID=" 4711", position=6.0))
    other = dicom_patient(written(tmp_path / "3", PatientID="4712"))
    assert one == two != other
    assert one.startswith("dicom:") and "4711" not in one and "Secret" not in one


def test_one_id_of_two_hospitals_is_two_people(tmp_path):
    names = {
        dicom_patient(written(tmp_path / site, PatientID="1", IssuerOfPatientID=site))
        for site in ("north", "south")
    }
    assert len(names) == 2


def test_without_an_id_the_study_counts(tmp_path):
    one, two, other = (
        dicom_patient(written(tmp_path / str(row), PatientID="", StudyInstanceUID=uid))
        for row, uid in enumerate(("1.2.3", "1.2.3", "1.2.4"))
    )
    assert one == two != other
    assert dicom_patient(written(tmp_path / "none")) == ""


@pytest.mark.parametrize("data", [b"", blank_png(64), saved(slice_file())[:150]])
def test_what_tells_nothing_names_nobody(data, tmp_path):
    path = tmp_path / "slice.dcm"
    path.write_bytes(data)
    assert dicom_patient(path) == ""
    assert dicom_patient(tmp_path / "missing") == ""


def test_folders_of_dicom_are_dealt_by_patient(tmp_path):
    for patient in ("a", "b", "c", "d"):
        for row in range(5):
            label = "glioma" if row % 2 else "no_tumor"
            path = tmp_path / label / f"{patient}{row}.dcm"
            written(path, PatientID=patient, position=6.0 * row)
    records = read_manifest(tmp_path)
    assert len({record.patient for record in records}) == 4
    folds = {}
    for record in split_into_folds(records, 2):
        whose = str(read_study(record.path).series[0].headers[0].PatientID)
        folds.setdefault(whose, set()).add(record.fold)
    assert [len(found) for found in folds.values()] == [1, 1, 1, 1]
