"""CSV rows keep the order that was promised."""

from __future__ import annotations

from dataclasses import replace

from tumorlens.inference.slice.results import Failure, Prediction
from tumorlens.report.slice.table import CSV_COLUMNS, csv_row

PROMISED = (
    "file,slice,status,predicted,decision,p_glioma,p_meningioma,p_pituitary,"
    "p_no_tumor,p_tumor,domain_score,box_x0,box_y0,box_x1,box_y1,ms"
)


def test_the_columns_are_the_promised_ones() -> None:
    assert ",".join(CSV_COLUMNS) == PROMISED


def test_every_cell_of_a_prediction(prediction: Prediction) -> None:
    assert ",".join(csv_row(prediction)) == (
        "scan 1.png,0,ok,glioma,glioma,0.750000,0.125000,0.062500,0.062500,"
        "0.937500,0.970000,50,10,70,20,12.35"
    )


def test_no_box_leaves_four_empty_cells(prediction: Prediction) -> None:
    bare = replace(prediction, explanation=replace(prediction.explanation, box=None))
    assert csv_row(bare)[11:] == ["", "", "", "", "12.35"]


def test_a_failure_is_a_row_with_its_code() -> None:
    row = csv_row(Failure("b.png", "damaged_file", "Broken.", "Copy it again."))
    assert len(row) == len(CSV_COLUMNS)
    assert row[0] == "b.png"
    assert row[2] == "damaged_file"
    assert not any(row[3:])
