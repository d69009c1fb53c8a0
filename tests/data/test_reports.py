"""Reports are labelled where their words leave no doubt, and read where they do."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tumorlens.data.reports import (
    Reason,
    Report,
    label_report,
    measure_labels,
    parse_finding,
    read_answers,
    read_reports,
    write_labels,
    write_reading_list,
)
from tumorlens.errors import DatasetError, MissingFileError
from tumorlens.taxonomy import Lesion, TumorClass

FOLDER = Path(__file__).parent / "reports"


def held_out(name: str) -> list[Report]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return [
            Report(f"{name}:{number}", row["text"], row["label"])
            for number, row in enumerate(csv.DictReader(file), 2)
        ]


@pytest.mark.parametrize("name", ["held_out.csv", "held_out_long.csv"])
def test_labels_are_those_of_sentences_written_before_the_rules(name):
    reports = held_out(name)
    labels = {item.id: label_report(item.text) for item in reports}
    figures = measure_labels(reports, labels)
    assert figures["right"]["value"] >= 0.95, figures["wrong"]
    assert figures["read"]["value"] >= 0.85, figures["wrong"]
    assert figures["sure"]["value"] >= 0.7


@pytest.mark.parametrize(
    ("text", "finding", "reason"),
    [
        ("No meningioma.", "no_tumor", Reason.EXCLUDED),
        ("Meningioma, no oedema.", "meningioma", Reason.STATED),
        ("No change of the known meningioma.", "meningioma", Reason.STATED),
        ("Das Meningeom ist nicht größenprogredient.", "meningioma", Reason.STATED),
        ("No haemorrhage but a glioma.", "glioma", Reason.STATED),
        ("Keine Blutung, aber ein Gliom.", "glioma", Reason.STATED),
        (
            "FLAIR lesion without enhancement, consistent with glioma.",
            "glioma",
            "stated",
        ),
        ("No suspicious mass.", "no_tumor", Reason.EXCLUDED),
        ("A glioma was excluded.", "no_tumor", Reason.EXCLUDED),
        ("Ein Meningeom ist nicht abgrenzbar.", "no_tumor", Reason.EXCLUDED),
        ("Possible glioma.", "glioma", Reason.UNCERTAIN),
        ("Glioma cannot be excluded.", "glioma", Reason.UNCERTAIN),
        ("Glioma is not excluded.", "glioma", Reason.UNCERTAIN),
        ("Glioma with possible haemorrhage.", "glioma", Reason.STATED),
        ("Ein Gliom ist nicht auszuschließen.", "glioma", Reason.UNCERTAIN),
        ("V.a. Gliom.", "glioma", Reason.UNCERTAIN),
        ("Gliom versus Lymphom.", None, Reason.UNCERTAIN),
        ("Glioma. Meningioma.", None, Reason.SEVERAL),
        ("Glioma with haemorrhage.", "glioma", Reason.STATED),
        ("Possible stroke.", "vascular", Reason.UNCERTAIN),
        ("Hirnblutung links.", "vascular", Reason.STATED),
        ("A mass is seen.", None, Reason.UNNAMED),
        ("Unremarkable ventricles. Hyperintense area.", None, Reason.UNNAMED),
        ("No mass effect.", None, Reason.SILENT),
        ("The father had a glioma. Normal MRI.", "no_tumor", Reason.EXCLUDED),
        ("Z. n. Resektion eines Meningeoms.", "meningioma", Reason.TREATED),
        ("Paraganglioma of the skull base.", "other", Reason.STATED),
        ("Gliosis.", None, Reason.SILENT),
        ("Adenoma of the parotid gland.", None, Reason.SILENT),
        ("Sella: adenoma of 8 mm.", "pituitary", Reason.STATED),
        ("Considerable oedema around the meningioma.", "meningioma", Reason.STATED),
        ("Tumor 1.8 cm. Impression: Glioma.", "glioma", Reason.STATED),
        ("", None, Reason.SILENT),
    ],
)
def test_words_around_a_finding_decide(text, finding, reason):
    label = label_report(text)
    assert label.reason == reason
    if finding is not None or label.is_sure:
        assert label.finding == finding
    assert label.is_sure is (reason in (Reason.STATED, Reason.EXCLUDED))


def test_what_was_asked_is_no_finding():
    for heading in ("Indication", "CLINICAL HISTORY", "Fragestellung"):
        text = f"{heading}: Meningioma. Findings: No tumour."
        assert label_report(text).finding is TumorClass.NO_TUMOR
    text = "Befund: Kein Tumor.\nVoruntersuchung: Gliom 2019."
    assert label_report(text).finding is TumorClass.NO_TUMOR


def test_the_impression_goes_before_the_findings():
    text = "Findings: Possible meningioma or artefact. Impression: Meningioma."
    assert label_report(text).is_sure
    conflict = label_report("Findings: There is a glioma. Impression: Meningioma.")
    assert conflict.reason is Reason.CONFLICT
    silent = label_report("Findings: There is a glioma. Impression: See above.")
    assert (silent.finding, silent.is_sure) == (TumorClass.GLIOMA, True)
    doubted = label_report("Findings: There is a glioma. Impression: Glioma versus MS.")
    assert doubted.reason is Reason.UNCERTAIN


def write_list(path: Path, rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_people_answer_what_the_rules_leave_open(tmp_path):
    source = write_list(
        tmp_path / "reports.csv",
        [
            ("id", "text"),
            ("1", "Glioma."),
            ("2", "Possible meningioma.\nSecond line"),
            ("3", "A mass."),
            ("4", "Acute stroke."),
        ],
    )
    reports = read_reports(source)
    labels = {item.id: label_report(item.text) for item in reports}
    out, todo = tmp_path / "labels.csv", tmp_path / "read.csv"
    assert write_labels(out, labels, {}) == 2
    assert write_reading_list(todo, reports, labels, {}) == 2
    with todo.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["2", "3"]
    assert rows[0]["proposed"] == "meningioma"
    assert rows[0]["text"] == "Possible meningioma.\nSecond line"
    rows[0] |= {"answer": "Meningeoma", "reader": "A. B."}
    rows[1] |= {"answer": "exclude"}
    with todo.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(DatasetError, match="'Meningeoma' for 2 is no finding"):
        read_answers(todo)
    todo.write_text(todo.read_text().replace("Meningeoma", "Meningioma"))
    answers = read_answers(todo)
    assert answers == {"2": (TumorClass.MENINGIOMA, "A. B."), "3": (None, "")}
    assert write_labels(out, labels, answers) == 3
    assert write_reading_list(todo, reports, labels, answers) == 0
    assert out.read_text().splitlines() == [
        "id,label,lesion,by,reason",
        "1,glioma,,rules,stated",
        "2,meningioma,,A. B.,read",
        "4,,vascular,rules,stated",
    ]


def test_rules_are_measured_beside_people():
    reports = [
        Report("1", "", "glioma"),
        Report("2", "", "glioma"),
        Report("3", "", "no_tumor"),
        Report("4", "", "read"),
        Report("5", "", "read"),
        Report("6", ""),
    ]
    texts = ("Glioma.", "No tumour.", "No tumour.", "Possible glioma.", "Glioma.", "")
    labels = {str(number): label_report(text) for number, text in enumerate(texts, 1)}
    figures = measure_labels(reports, labels)
    assert figures["reports"] == 5
    assert figures["sure"]["value"] == 0.8
    assert figures["right"]["value"] == 0.5
    assert figures["read"]["value"] == 0.5
    assert figures["wrong"] == ["2", "5"]
    glioma = figures["findings"]["glioma"]
    assert (glioma["count"], glioma["found"]["value"]) == (2, 0.5)
    assert glioma["precision"]["value"] == 0.5
    with pytest.raises(DatasetError, match="No report says"):
        measure_labels(reports[-1:], labels)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("name", "text"), ("1", "a")], "no column 'id', only name, text"),
        ([("id", "text"), ("1", "a"), ("1", "b")], "report 2: the id '1'"),
        ([("id", "text"), ("", "a")], "report 1: the id '' is empty"),
        ([("id", "text")], "no rows"),
    ],
)
def test_a_list_that_cannot_be_is_refused(rows, why, tmp_path):
    with pytest.raises(DatasetError, match=why):
        read_reports(write_list(tmp_path / "reports.csv", rows))
    with pytest.raises(MissingFileError):
        read_reports(tmp_path / "none.csv")


def test_findings_are_read_in_their_spellings():
    assert parse_finding(" Vascular ") is Lesion.VASCULAR
    assert parse_finding("no tumor") is TumorClass.NO_TUMOR
    assert parse_finding("read") is None
