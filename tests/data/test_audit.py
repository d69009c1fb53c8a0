"""An audit finds what falsifies an evaluation, and only that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.samples.heads import draw_person
from tumorlens.data.audit import Audit, Finding, audit
from tumorlens.data.manifest import Record
from tumorlens.taxonomy import TumorClass


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Six heads of six patients, three in training and three in test."""
    made = []
    for row in range(6):
        path = tmp_path / f"{row}.png"
        cv2.imwrite(str(path), draw_person(row, 128))
        made.append(
            Record(
                path,
                TumorClass.GLIOMA if row % 2 else TumorClass.NO_TUMOR,
                patient=f"p{row}",
                split="train" if row < 3 else "test",
                source="drawn",
            )
        )
    return made


def mirrored_copy(record: Record, path: Path) -> Path:
    picture = cv2.imread(str(record.path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    cv2.imwrite(str(path), cv2.resize(picture[:, ::-1], (110, 110)))
    return path


def found(result: Audit, code: str) -> Finding | None:
    return next((item for item in result.findings if item.code == code), None)


def test_a_sound_set_is_clean(records: list[Record]) -> None:
    result = audit(records)
    assert result.clean
    assert result.findings == ()
    assert result.pictures == 6


def test_an_unreadable_picture_is_named(records: list[Record]) -> None:
    records[2].path.write_bytes(b"no picture")
    records[4].path.unlink()
    result = audit(records)
    finding = found(result, "unreadable")
    assert not result.clean
    assert finding is not None
    assert finding.count == 2
    assert "2.png" in finding.examples[0]
    assert "4.png" in finding.examples[1]


@pytest.mark.parametrize("measured", [True, False])
def test_copies_that_train_only_are_no_leak(
    records: list[Record], tmp_path: Path, measured: bool
) -> None:
    """The tops of two heads look alike, and nothing is tested on them."""
    copy = mirrored_copy(records[0], tmp_path / "copy.png")
    records[0] = replace(records[0], train_only=True)
    records[3] = replace(records[3], path=copy, train_only=not measured, label=None)
    result = audit(records)
    for code in ("copies_across_splits", "copies_across_patients"):
        assert (found(result, code) is not None) is measured


def test_a_patient_in_two_splits_is_a_leak(records: list[Record]) -> None:
    records[3] = replace(records[3], patient="p0")
    result = audit(records)
    finding = found(result, "patients_across_splits")
    assert not result.clean
    assert finding is not None
    assert finding.examples == ("p0 (test, train)",)


def test_a_patient_in_two_folds_is_a_leak(records: list[Record]) -> None:
    folded = [replace(item, split="", fold=row % 2) for row, item in enumerate(records)]
    folded[1] = replace(folded[1], patient="p0")
    assert found(audit(folded), "patients_across_splits") is not None


def test_a_mirrored_copy_in_another_split_is_a_leak(
    records: list[Record], tmp_path: Path
) -> None:
    copy = mirrored_copy(records[0], tmp_path / "copy.jpg")
    records.append(replace(records[0], path=copy, split="test", patient="p9"))
    result = audit(records)
    assert not result.clean
    finding = found(result, "copies_across_splits")
    assert finding is not None
    assert "0.png" in finding.examples[0]
    assert "copy.jpg" in finding.examples[0]
    near = found(result, "near_duplicates")
    assert near is not None
    assert "mirrored" in near.examples[0]
    assert found(result, "copies_across_patients") is not None


def test_a_copy_in_the_same_split_is_only_noted(
    records: list[Record], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(records[0].path.read_bytes())
    records.append(replace(records[0], path=copy))
    result = audit(records)
    assert result.clean
    finding = found(result, "exact_duplicates")
    assert finding is not None
    assert (finding.count, "same file" in finding.examples[0]) == (1, True)


def test_copies_with_other_labels_contradict(
    records: list[Record], tmp_path: Path
) -> None:
    copy = mirrored_copy(records[0], tmp_path / "copy.jpg")
    records.append(
        replace(records[0], path=copy, patient="", label=TumorClass.PITUITARY)
    )
    result = audit(records)
    assert found(result, "conflicting_labels") is not None
    assert not result.clean


def test_neighbours_at_a_tumours_edge_do_not_contradict(
    records: list[Record], tmp_path: Path
) -> None:
    copy = mirrored_copy(records[0], tmp_path / "copy.jpg")
    records.append(replace(records[0], path=copy, label=TumorClass.GLIOMA))
    assert found(audit(records), "conflicting_labels") is None


def test_blank_pictures_are_noted_and_are_no_copies(records: list[Record]) -> None:
    for row, grey in ((0, 9), (3, 0), (4, 9)):
        cv2.imwrite(str(records[row].path), np.full((64, 64), grey, np.uint8))
    result = audit(records)
    finding = found(result, "blank")
    assert finding is not None
    assert finding.count == 3
    assert result.findings == (finding,)


def test_colour_is_noted(records: list[Record]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    cv2.imwrite(str(records[0].path), picture)
    assert found(audit(records), "colour") is not None


def test_a_missing_outline_and_missing_names_are_found(records: list[Record]) -> None:
    records[0] = replace(records[0], mask=records[0].path.with_name("none.png"))
    records[1] = replace(records[1], patient="")
    result = audit(records)
    assert found(result, "missing_masks") is not None
    assert found(result, "unknown_patients") is not None


def test_a_set_that_names_no_patients_is_not_called_clean(
    records: list[Record],
) -> None:
    result = audit([replace(row, patient="") for row in records])
    assert not result.clean
    # What is not known is no error: the exit status stays 0.
    assert not result.invalid


def test_the_summary_counts(records: list[Record]) -> None:
    none, glioma = sorted(audit(records).summaries, key=lambda item: item.label)[::-1]
    assert (none.label, none.pictures, none.patients) == ("no_tumor", 3, 3)
    assert none.splits == {"test": 1, "train": 2}
    assert glioma.sizes == (("128x128", 3),)
    assert glioma.low < glioma.median < glioma.high


def test_the_json_holds_all(records: list[Record]) -> None:
    records[3] = replace(records[3], patient="p0")
    told = json.loads(json.dumps(audit(records).to_json()))
    assert told["schema"] == "tumorlens-audit/1"
    assert told["clean"] is False
    assert told["findings"][0]["code"] == "patients_across_splits"
    assert sum(item["pictures"] for item in told["summaries"]) == 6


def test_one_thread_finds_the_same_as_many(records: list[Record]) -> None:
    records[3] = replace(records[3], patient="p0")
    assert audit(records, threads=1) == audit(records, threads=3)


def pictures(
    tmp_path: Path, tumors: list[NDArray[np.uint8]], others: list[NDArray[np.uint8]]
) -> list[Record]:
    """Write pictures, each of a patient; tumours first."""
    made = []
    for row, picture in enumerate([*tumors, *others]):
        label = TumorClass.GLIOMA if row < len(tumors) else TumorClass.NO_TUMOR
        path = tmp_path / f"{row}.png"
        cv2.imwrite(str(path), picture)
        made.append(Record(path, label, f"patient {row}", source="drawn"))
    return made


CODES = ("class_by_format", "class_by_size", "class_by_brightness")


def warned(records: list[Record]) -> set[str]:
    return {code for code in CODES if found(audit(records), code) is not None}


def test_a_class_of_one_size_among_all_sizes_is_told(tmp_path: Path) -> None:
    """The mean size is the same, so that only the size itself tells."""
    tumors = [draw_person(row, 128) for row in range(24)]
    others = [draw_person(row, 128 + 8 * (row % 2 * 2 - 1)) for row in range(24, 48)]
    records = pictures(tmp_path, tumors, others)
    assert "class_by_size" in warned(records)
    finding = found(audit(records), "class_by_size")
    assert finding is not None
    assert not finding.invalidates
    assert "glioma against the others: AUROC" in finding.examples[0]


def test_a_bright_class_is_told(tmp_path: Path) -> None:
    tumors = [draw_person(row, 128) for row in range(12)]
    others = [draw_person(row, 128) // 2 for row in range(12, 24)]
    assert warned(pictures(tmp_path, tumors, others)) == {"class_by_brightness"}


def test_a_dark_class_among_three_is_told(tmp_path: Path) -> None:
    heads = [draw_person(row, 128) for row in range(36)]
    dark = [head // 2 for head in heads[:12]]
    records = pictures(tmp_path, dark, heads[12:])
    for row in range(12, 24):
        records[row] = replace(records[row], label=TumorClass.MENINGIOMA)
    finding = found(audit(records), "class_by_brightness")
    assert finding is not None
    assert [item.split()[0] for item in finding.examples] == ["glioma"]


def test_a_class_in_a_format_of_its_own_is_told(tmp_path: Path) -> None:
    records = pictures(
        tmp_path,
        [draw_person(row, 128) for row in range(24)],
        [draw_person(row, 128) for row in range(24, 48)],
    )
    assert warned(records) == set()
    for row, record in enumerate(records[:24]):
        picture = cv2.imread(str(record.path), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        path = record.path.with_suffix(".bmp")
        cv2.imwrite(str(path), picture)
        records[row] = replace(record, path=path)
    assert warned(records) == {"class_by_format"}


def test_sizes_that_occur_once_tell_nothing(tmp_path: Path) -> None:
    tumors = [draw_person(row, 100 + 2 * row) for row in range(14)]
    others = [draw_person(row, 101 + 2 * (row - 14)) for row in range(14, 28)]
    assert "class_by_size" not in warned(pictures(tmp_path, tumors, others))


def test_too_few_pictures_tell_nothing(tmp_path: Path) -> None:
    tumors = [draw_person(row, 128) for row in range(9)]
    others = [draw_person(row, 64) // 2 for row in range(9, 30)]
    assert warned(pictures(tmp_path, tumors, others)) == set()


def test_one_case_is_counted_as_one(records: list[Record]) -> None:
    records[2].path.write_bytes(b"no picture")
    one = found(audit(records), "unreadable")
    assert one is not None and one.message == "1 picture cannot be read."
    records[4].path.write_bytes(b"no picture")
    two = found(audit(records), "unreadable")
    assert two is not None and two.message == "2 pictures cannot be read."
