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
from tumorlens.scale.archive.parquet import CLASSES_FACT, read_facts, row_schema
from tumorlens.taxonomy import CLASSES, OwnClass, Verdict

SCHEMA = "tumorlens-query/1"
MEASURES = ("rows", "slices", "failed", "series", "mean_p_tumor", "max_p_tumor")
"""What is told of each group, in this order, after the columns that name it."""

HISTOGRAM_BINS = 20
"""Bins of the probability of any tumour, from 0 to 1."""

COUNTED_BY = (
    *("month", "scanner", "decision", "sequence", "plane", "field_strength"),
    "status",
)
"""What an overview counts decisions by."""

_PATH = ("month", "scanner", "decision")
"""What one opens on the way down to a series."""

_SERIES = "series"
_SERIES_COUNT = "series_count"
_OK = "ok"
# What the model does not know has no probability that means anything.
_P_TUMOR = pc.if_else(
    pc.field("decision") != Verdict.NOT_BRAIN_MRI.value,
    pc.field("p_tumor"),
    pc.scalar(None),
)


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
    dataset = _dataset(folder)
    _check_columns((*by, *where), dataset.schema)
    condition = _condition(where, min_p_tumor, dataset.schema)
    is_ok = pc.field("status") == _OK
    projection = {
        **{name: pc.field(name) for name in by},
        "is_slice": is_ok.cast(pa.int64()),
        "is_failed": (~is_ok).cast(pa.int64()),
        "series_": pc.field(_SERIES),
        "p_": _P_TUMOR,
    }
    table = _grouped(
        dataset,
        condition,
        projection,
        by,
        [
            ("is_slice", "hash_count", None, "rows"),
            ("is_slice", "hash_sum", None, "slices"),
            ("is_failed", "hash_sum", None, "failed"),
            ("series_", "hash_count_distinct", None, _SERIES_COUNT),
            ("p_", "hash_mean", None, "mean_p_tumor"),
            ("p_", "hash_max", None, "max_p_tumor"),
        ],
    )
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


@dataclass(frozen=True)
class ArchiveOverview:
    """What a page shows of an archive.

    Parameters
    ----------
    totals
        ``rows``, ``slices``, ``failed`` and ``series``.
    counts
        Groups of a column and the decision, by each of `COUNTED_BY`.
    histogram
        Slices by the probability of any tumour, `HISTOGRAM_BINS` numbers; those that
        the model takes for no brain MRI are not in it.
    series
        The series with the highest probabilities of each month, scanner and decision,
        in this order: ``month``, ``scanner``, ``decision``, ``series`` (a file where
        none is stated), ``slices`` of that decision, and of the slice with the highest
        probability ``file``, ``slice``, ``p_tumor`` and ``maps``.
    left_out
        How many series `series` leaves out, by month, scanner and decision.
    """

    totals: Mapping[str, int]
    counts: Mapping[str, list[dict[str, Any]]]
    histogram: tuple[int, ...]
    series: list[dict[str, Any]]
    left_out: Mapping[tuple[Any, ...], int]


def archive_overview(
    folder: Path,
    where: Mapping[str, str],
    min_p_tumor: float | None = None,
    listed: int = 10,
) -> ArchiveOverview:
    """Count an archive's results for a page, and pick series to look at.

    Rows are streamed; memory grows with the number of series.

    Parameters
    ----------
    folder, where, min_p_tumor
        See `query_archive`.
    listed
        Series to list of each month, scanner and decision.

    Raises
    ------
    MissingFileError, InputError, SettingError
        See `query_archive`.
    """
    counts = {
        name: query_archive(
            folder, tuple(dict.fromkeys((name, "decision"))), where, min_p_tumor
        ).groups
        for name in COUNTED_BY
    }
    dataset = _dataset(folder)
    condition = _condition(where, min_p_tumor, dataset.schema)
    is_judged = pc.field("status") == _OK
    chosen = is_judged if condition is None else is_judged & condition
    series, left_out = _top_series(dataset, chosen, listed)
    totals = _totals(dataset, condition)
    return ArchiveOverview(
        totals, counts, _histogram(dataset, chosen), series, left_out
    )


def _totals(dataset: ds.Dataset, chosen: Any) -> dict[str, int]:  # noqa: ANN401
    is_ok = pc.field("status") == _OK
    table = _grouped(
        dataset,
        chosen,
        {
            "all_": pc.scalar(1),
            "is_slice": is_ok.cast(pa.int64()),
            "is_failed": (~is_ok).cast(pa.int64()),
            "series_": pc.field(_SERIES),
        },
        ["all_"],
        [
            ("is_slice", "hash_count", None, "rows"),
            ("is_slice", "hash_sum", None, "slices"),
            ("is_failed", "hash_sum", None, "failed"),
            ("series_", "hash_count_distinct", None, "series"),
        ],
    )
    names = ("rows", "slices", "failed", "series")
    return {
        name: sum(int(row[name] or 0) for row in table.to_pylist()) for name in names
    }


def _histogram(dataset: ds.Dataset, chosen: Any) -> tuple[int, ...]:  # noqa: ANN401
    known = chosen & (pc.field("decision") != Verdict.NOT_BRAIN_MRI.value)
    place = pc.floor(pc.multiply(pc.field("p_tumor"), pa.scalar(float(HISTOGRAM_BINS))))
    table = _grouped(
        dataset, known, {"bin_": place}, ["bin_"], [("bin_", "hash_count", None, "n")]
    )
    bins = [0] * HISTOGRAM_BINS
    for row in table.to_pylist():
        if row["bin_"] is not None:
            bins[min(int(row["bin_"]), HISTOGRAM_BINS - 1)] += row["n"]
    return tuple(bins)


def _top_series(
    dataset: ds.Dataset,
    chosen: Any,  # noqa: ANN401 - pyarrow's own expression
    listed: int,
) -> tuple[list[dict[str, Any]], dict[tuple[Any, ...], int]]:
    name = pc.coalesce(pc.field(_SERIES), pc.field("file"))
    table = _grouped(
        dataset,
        chosen,
        {**{key: pc.field(key) for key in _PATH}, "name_": name, "p_": _P_TUMOR},
        [*_PATH, "name_"],
        [
            ("p_", "hash_max", None, "p_tumor"),
            ("name_", "hash_count", None, "slices"),
        ],
    )
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        groups.setdefault(tuple(row[key] for key in _PATH), []).append(row)
    picked: list[dict[str, Any]] = []
    left_out: dict[tuple[Any, ...], int] = {}
    for path, rows in sorted(
        groups.items(), key=lambda item: [*map(_sortable, item[0])]
    ):
        rows.sort(key=lambda row: (-(row["p_tumor"] or 0.0), row["name_"]))
        picked += rows[:listed]
        if len(rows) > listed:
            left_out[path] = len(rows) - listed
    slices = _best_slices(dataset, chosen, {row["name_"] for row in picked})
    return [
        {
            **{key: row[key] for key in _PATH},
            "series": row["name_"],
            "slices": row["slices"],
            "p_tumor": row["p_tumor"],
            **slices[row["decision"], row["name_"]],
        }
        for row in picked
    ], left_out


def _best_slices(
    dataset: ds.Dataset,
    chosen: Any,  # noqa: ANN401 - pyarrow's own expression
    names: set[str],
) -> dict[tuple[Any, str], dict[str, Any]]:
    """Find of each series and decision the slice with the highest probability."""
    name = pc.coalesce(pc.field(_SERIES), pc.field("file"))
    columns = {
        **{key: pc.field(key) for key in ("decision", "file", "slice", "maps")},
        "name_": name,
        "p_": pc.coalesce(pc.field("p_tumor"), pa.scalar(0.0)),
    }
    wanted = chosen & name.isin(pa.array(sorted(names), pa.string()))
    best: dict[tuple[Any, str], dict[str, Any]] = {}
    for batch in dataset.to_batches(columns=columns, filter=wanted):
        for row in batch.to_pylist():
            key = row["decision"], row["name_"]
            if key not in best or row["p_"] > best[key]["p_"]:
                best[key] = row
    return {
        key: {field: row[field] for field in ("file", "slice", "maps")}
        for key, row in best.items()
    }


def _grouped(
    dataset: ds.Dataset,
    chosen: Any,  # noqa: ANN401 - pyarrow's own expression
    columns: Mapping[str, Any],
    keys: Sequence[str],
    measures: Sequence[tuple[Any, ...]],
) -> pa.Table:
    """Stream rows into groups; all of them where none are chosen by a condition."""
    chosen = pc.scalar(True) if chosen is None else chosen
    steps = [
        acero.Declaration("scan", acero.ScanNodeOptions(dataset)),
        acero.Declaration("filter", acero.FilterNodeOptions(chosen)),
        acero.Declaration(
            "project", acero.ProjectNodeOptions(list(columns.values()), list(columns))
        ),
        acero.Declaration(
            "aggregate", acero.AggregateNodeOptions(list(measures), keys=list(keys))
        ),
    ]
    return acero.Declaration.from_sequence(steps).to_table()


def _check_columns(names: Sequence[str], schema: pa.Schema) -> None:
    for name in names:
        if name not in schema.names:
            raise SettingError(
                f"There is no column {name!r}.",
                f"The columns are {', '.join(schema.names)}.",
            )


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
    # A run has one model, so all its files have the columns of the first.
    own = tuple(map(OwnClass, read_facts(files[0]).get(CLASSES_FACT, ())))
    return ds.dataset([str(file) for file in files], schema=row_schema(own or CLASSES))


def _condition(
    where: Mapping[str, str], min_p_tumor: float | None, schema: pa.Schema
) -> Any:  # noqa: ANN401 - pyarrow's own expression
    conditions = [_is_value(schema.field(name), value) for name, value in where.items()]
    if min_p_tumor is not None:
        conditions += [
            pc.field("p_tumor") >= float(min_p_tumor),
            pc.field("decision") != Verdict.NOT_BRAIN_MRI.value,
        ]
    condition = None
    for item in conditions:
        condition = item if condition is None else condition & item
    return condition


def _is_value(field: pa.Field, value: str) -> Any:  # noqa: ANN401 - pyarrow's own
    column = pc.field(field.name)
    if not value:
        return column.is_null()
    try:
        return column == pa.scalar(value).cast(field.type)
    except pa.ArrowInvalid as error:
        raise SettingError(
            f"{value!r} is no value of the column {field.name}.", "Give a number."
        ) from error


def _sortable(value: object) -> tuple[bool, object]:
    return value is not None, value if value is not None else ""
