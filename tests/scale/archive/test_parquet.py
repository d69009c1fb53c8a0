"""The columns of the results, and that readers of Parquet understand them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.samples.archives import archive_rows, draw_pictures
from tumorlens.cli.main import main
from tumorlens.errors import InputError, OutputError
from tumorlens.report.slice.document import CSV_COLUMNS

pa = pytest.importorskip("pyarrow", reason="the extra 'archive' is not installed")

import pyarrow.parquet as pq  # noqa: E402 - where it is installed

from tumorlens.scale.archive import parquet  # noqa: E402


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """Results of a small run, in three parts."""
    folder = tmp_path_factory.mktemp("results")
    pictures = draw_pictures(folder / "pictures", 3)
    more = ["--model", str(tiny_bundle), "--part-size", "1", "--threads", "1"]
    assert main(["batch", str(pictures), "--out", str(folder / "out"), *more]) == 0
    return folder / "out"


def test_the_columns_are_those_of_predict_and_more_at_the_end() -> None:
    assert tuple(parquet.ROW_SCHEMA.names[: len(CSV_COLUMNS)]) == CSV_COLUMNS
    assert parquet.ROW_SCHEMA.names[len(CSV_COLUMNS) :] == [
        "study",
        "series",
        "month",
        "manufacturer",
        "scanner",
        "field_strength",
        "plane",
        "model",
        "operating_point",
        "maps",
        "dicom",
        "dicom_status",
    ]


def test_cells_keep_their_values_to_the_last_digit() -> None:
    cells = ["" for _ in CSV_COLUMNS]
    for name, cell in (("file", "a.png"), ("slice", "3"), ("p_tumor", "0.123456")):
        cells[CSV_COLUMNS.index(name)] = cell
    row = parquet.prediction_cells(cells)
    assert row["file"] == "a.png"
    assert row["slice"] == 3
    assert f"{row['p_tumor']:.6f}" == "0.123456"
    assert row["box_x0"] is None


def test_every_part_has_every_column_and_says_what_it_is(results: Path) -> None:
    files = sorted(results.glob("**/*.parquet"))
    assert len(files) == 3
    for number, file in enumerate(files):
        schema = pq.read_schema(file)
        assert schema.equals(parquet.ROW_SCHEMA)
        facts = json.loads(schema.metadata[parquet.METADATA_KEY])
        assert facts["schema"] == "tumorlens-archive/1"
        assert facts["part"] == number
        assert facts["slices"] == 1
        assert facts["model"].startswith("tiny 0.0.1 (")


def test_pandas_reads_the_folder(results: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(results)
    assert list(frame["file"]) == [row["file"] for row in archive_rows(results)]


def test_polars_reads_the_folder(results: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(results / "**" / "*.parquet")
    assert list(frame["file"]) == [row["file"] for row in archive_rows(results)]


def test_duckdb_reads_the_folder(results: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    query = f"SELECT count(*) FROM '{results}/**/*.parquet' WHERE status = 'ok'"
    assert duckdb.sql(query).fetchone() == (3,)


def test_a_part_that_cannot_be_written_leaves_none(tmp_path: Path) -> None:
    table = parquet.table_of([{"file": "a", "status": "ok"}])
    (tmp_path / "_state").mkdir()
    (tmp_path / "00000").write_text("a file where the folder should be")
    place = tmp_path / "00000" / "part-00000000.parquet"
    with pytest.raises(OutputError, match=r"part-00000000\.parquet cannot be written"):
        parquet.write_part(table, place, tmp_path / "_state", {})
    assert not list(tmp_path.glob("**/*.parquet"))


def test_foreign_and_later_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="no Parquet file that can be read"):
        parquet.read_facts(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(InputError, match="of another program"):
        parquet.read_facts(path)
    told = {parquet.METADATA_KEY: b'{"schema": "tumorlens-archive/9"}'}
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(told), path)
    with pytest.raises(InputError, match="tumorlens-archive/9"):
        parquet.read_facts(path)


def test_a_folder_holds_a_thousand_parts() -> None:
    assert parquet.part_path(999) == Path("00000/part-00000999.parquet")
    assert parquet.part_path(1000) == Path("00001/part-00001000.parquet")
