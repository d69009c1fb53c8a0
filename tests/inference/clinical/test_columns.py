"""A clinical table is read, or refused without a word about anybody in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tumorlens.errors import InputError, MissingFileError
from tumorlens.inference.clinical.columns import (
    is_missing,
    read_clinical_table,
    read_number,
)


@pytest.fixture
def write(tmp_path: Path):
    def go(text: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return go


def test_rows_are_found_by_patient(write) -> None:
    table = read_clinical_table(write("\ufeffPatient,age, sex\np1,54,F\np2,,\n\n"))
    assert table.columns == ("age", "sex")
    assert table.place_of_patient("p1") == 0
    assert table.rows[0] == {"age": "54", "sex": "F"}
    assert table.place_of_patient("p3") is None
    assert table.place_of_patient("p2") is None, "a row without a value is none"


def test_rows_are_found_by_file_folder_and_archive(write, tmp_path: Path) -> None:
    table = read_clinical_table(
        write("file,age\na/b.png,1\na,2\nscan.zip,3\n" + str(tmp_path / "c.png,4\n"))
    )
    ages = {
        name: table.rows[place]["age"]
        for name in ("a/b.png", "a/x.png", "a/deep/y.png", "scan.zip#7", "c.png")
        if (place := table.place_of_file(tmp_path / name)) is not None
    }
    assert list(ages.values()) == ["1", "2", "2", "3", "4"]
    assert table.place_of_file(tmp_path / "ab.png") is None
    assert table.place_of_file(tmp_path / "a.png") is None


def test_a_relative_path_is_looked_up_from_where_one_stands(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_clinical_table(write("file,age\na.png,1\n"))
    monkeypatch.chdir(tmp_path)
    assert table.place_of_file("a.png") == 0


@pytest.mark.parametrize(
    "text", ["", "NA", "n/a", "[Not Available]", "unknown", "NaN", " - ", "None", "?"]
)
def test_what_says_that_nothing_is_known(text: str) -> None:
    assert is_missing(text)


@pytest.mark.parametrize("text", ["0", "no", "none known", "N"])
def test_what_says_something(text: str) -> None:
    assert not is_missing(text)


@pytest.mark.parametrize("text", ["1_000", "1e400", "inf", "nan", "54 y", "1,5", ""])
def test_what_is_no_number(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("patient,age\n", "no rows"),
        ("age,sex\n54,F\n", "no column 'patient' or 'file'"),
        ("patient;age\np1;54\n", "no column 'patient' or 'file'"),
        ("patient\np1\n", "no clinical column"),
        ("patient,age,\np1,54,1\n", "column 3 has no name"),
        ("patient,age,Age\np1,54,1\n", "two columns 'age'"),
        ("patient,age\nsecret,54\nsecret,55\n", "lines 2 and 3 name the same patient"),
        ("patient,age\np1,54\n,55\n", "line 3: the row does not say whose"),
        ("patient,age\np1,54,3\n", "line 2: 3 values for 2 columns"),
        ("patient,age\np1\n", "line 2: 1 values for 2 columns"),
        ('patient,age\np1,"54\n', "cannot be read as CSV"),
        (b"patient,age\np1,\xff\n", "not UTF-8"),
        ("patient," + ",".join(map(str, range(201))) + "\n", "202 columns"),
    ],
)
def test_what_cannot_be_used_is_named(write, text: str | bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_clinical_table(write(text))
    assert "table.csv" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.hint


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="none.csv"):
        read_clinical_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_clinical_table(tmp_path)
