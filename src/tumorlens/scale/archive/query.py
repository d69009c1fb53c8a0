"""Questions to an archive's results: rows are counted by month, scanner, series ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.acero as acero
import pyarrow.compute as pc
import pyarrow.dataset as ds

from tumorlens.errors import MissingFileError, SettingError
from tumorlens.imaging.formats import display_name
from tumorlens.scale.archive.parquet import ROW_SCHEMA, read_facts
from tumorlens.taxonomy import Verdict

SCHEMA = "tumorlens-query/1"
MEASURES = ("rows", "slices", "failed", "series", "mean_p_tumor", "max_p_tumor")
"""What is told of each group, in this order, after the columns that name it."""

_SERIES = "series"
_SERIES_COUNT = "series_count"
_OK = "ok"


@dataclass(frozen=True)
class QueryResult:
    """Groups of rows.

    Parameters
    ----------
    by
        The columns that name a group.
    groups
        For each group its values of these columns and its `MEASURES`. `series` is
        the number of series, unless it names the group.
    """

    by: tuple[str, ...]
    groups: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"schema": SCHEMA, "by": list(self.by), "groups": self.groups}


def query_archive(
    folder: Path,
    by: Sequence[str],
    where: Mapping[str, str],
    min_p_tumor: float | None = None,
) -> QueryResult:
    """Count the rows of an archive's results.

    Rows are streamed: memory grows with the groups alone. The results may be those of
    a run that still goes on.

    Parameters
    ----------
    folder
        DEST of a run.
    by
        Columns whose values make groups, at least one.
    where
        Only rows with these values, by column; an empty value for empty cells.
    min_p_tumor
        Only slices whose probability of any tumour is at least this; none that the
        model takes for no brain MRI.

    Returns
    -------
    QueryResult
        Sorted by the columns of `by`; where single series or files are listed, by
        the highest probability of a tumour.

    Raises
    ------
    MissingFileError
        The folder holds no results.
    InputError
        They are of another version.
    SettingError
        There is no such column, or a value does not fit it.
    """
    for name in (*by, *where):
        if name not in ROW_SCHEMA.names:
            raise SettingError(
                f"There is no column {name!r}.",
                f"The columns are {', '.join(ROW_SCHEMA.names)}.",
            )
    dataset = _dataset(folder)
    is_ok = pc.field("status") == _OK
    is_known = pc.field("decision") != Verdict.NOT_BRAIN_MRI.value
    projection = {
        **{name: pc.field(name) for name in by},
        "is_slice": is_ok.cast(pa.int64()),
        "is_failed": (~is_ok).cast(pa.int64()),
        "series_": pc.field(_SERIES),
        # What the model does not know has no probability that means anything.
        "p_": pc.if_else(is_known, pc.field("p_tumor"), pc.scalar(None)),
    }
    condition = _condition(where, min_p_tumor)
    steps = [
        acero.Declaration("scan", acero.ScanNodeOptions(dataset)),
        *(
            []
            if condition is None
            else [acero.Declaration("filter", acero.FilterNodeOptions(condition))]
        ),
        acero.Declaration(
            "project",
            acero.ProjectNodeOptions(list(projection.values()), list(projection)),
        ),
        acero.Declaration(
            "aggregate",
            acero.AggregateNodeOptions(
                [
                    ("is_slice", "hash_count", None, "rows"),
                    ("is_slice", "hash_sum", None, "slices"),
                    ("is_failed", "hash_sum", None, "failed"),
                    ("series_", "hash_count_distinct", None, _SERIES_COUNT),
                    ("p_", "hash_mean", None, "mean_p_tumor"),
                    ("p_", "hash_max", None, "max_p_tumor"),
                ],
                keys=list(by),
            ),
        ),
    ]
    table = acero.Declaration.from_sequence(steps).to_table()
    measures = {_SERIES: _SERIES_COUNT}
    names = [*by, *(name for name in MEASURES if name not in by)]
    groups = [
        {name: row[name if name in by else measures.get(name, name)] for name in names}
        for row in table.to_pylist()
    ]
    groups.sort(key=lambda group: tuple(_sortable(group[name]) for name in by))
    if _SERIES in by or "file" in by:
        groups.sort(key=lambda group: -(group["max_p_tumor"] or 0.0))
    return QueryResult(tuple(by), groups)


def _dataset(folder: Path) -> ds.Dataset:
    name = display_name(folder)
    files = sorted(
        path
        for path in folder.glob("**/*.parquet")
        if not any(
            part.startswith(("_", ".")) for part in path.relative_to(folder).parts
        )
    )
    if not files:
        raise MissingFileError(
            f"{name} holds no results.", "Give the --out of a `tumorlens batch`."
        )
    read_facts(files[0])
    return ds.dataset([str(file) for file in files], schema=ROW_SCHEMA)


def _condition(where: Mapping[str, str], min_p_tumor: float | None) -> Any:  # noqa: ANN401
    conditions = [_is_value(name, value) for name, value in where.items()]
    if min_p_tumor is not None:
        conditions += [
            pc.field("p_tumor") >= float(min_p_tumor),
            pc.field("decision") != Verdict.NOT_BRAIN_MRI.value,
        ]
    condition = None
    for item in conditions:
        condition = item if condition is None else condition & item
    return condition


def _is_value(name: str, value: str) -> Any:  # noqa: ANN401 - pyarrow's own expression
    column = pc.field(name)
    if not value:
        return column.is_null()
    try:
        return column == pa.scalar(value).cast(ROW_SCHEMA.field(name).type)
    except pa.ArrowInvalid as error:
        raise SettingError(
            f"{value!r} is no value of the column {name}.", "Give a number."
        ) from error


def _sortable(value: object) -> tuple[bool, object]:
    return value is not None, value if value is not None else ""
