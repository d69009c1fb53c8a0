"""Predictions and failures as rows of a CSV table."""

from __future__ import annotations

from tumorlens.inference.slice.results import Failure, Prediction
from tumorlens.report.slice.document import prediction_to_json
from tumorlens.taxonomy import CLASSES

CSV_COLUMNS: tuple[str, ...] = (
    "file",
    "slice",
    "status",
    "predicted",
    "decision",
    *(f"p_{name}" for name in CLASSES),
    "p_tumor",
    "domain_score",
    "box_x0",
    "box_y0",
    "box_x1",
    "box_y1",
    "ms",
)
"""The columns, in their fixed order."""


def csv_row(result: Prediction | Failure) -> list[str]:
    """Turn a result into the cells of one row, in the order of `CSV_COLUMNS`.

    Parameters
    ----------
    result
        A prediction, whose `status` is ``ok``; or a failure, whose `status` is
        its code and whose other cells but `file` are empty.

    Returns
    -------
    list of str
        Probabilities and the domain score with six decimals, 0 to 1; the box in
        pixels, empty where there is none; ms with two decimals.
    """
    if isinstance(result, Failure):
        row = {"file": result.source, "status": result.code}
        return [row.get(column, "") for column in CSV_COLUMNS]
    document = prediction_to_json(result)
    box = document["box"]
    return [
        document["file"],
        str(document["slice"]),
        document["status"],
        document["predicted"],
        document["decision"],
        *(f"{value:.6f}" for value in document["probabilities"].values()),
        f"{document['p_tumor']:.6f}",
        f"{document['domain_score']:.6f}",
        *(["", "", "", ""] if box is None else map(str, box.values())),
        f"{document['ms']:.2f}",
    ]
