"""A table of clinical columns is learned on top of a bundle, and judged."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.engine.bundle import Bundle, attach_file, load_bundle
from tumorlens.engine.bundle_json import FACTS_FILE
from tumorlens.engine.clinical import CLINICAL_FILE, ClinicalModel
from tumorlens.engine.clinical_columns import CategoryColumn, encode
from tumorlens.engine.clinical_table import ClinicalTable, read_clinical_table
from tumorlens.errors import DatasetError, OutputError
from tumorlens.learn.clinical_columns import FEWEST, Chosen, choose_columns
from tumorlens.learn.clinical_fit import (
    ClinicalData,
    ClinicalFit,
    deal_folds,
    fit_clinical,
)
from tumorlens.learn.clinical_groups import groups_of_patients
from tumorlens.learn.clinical_image import ImageSide, image_by_bundle, image_by_folds
from tumorlens.learn.evaluation.clinical import (
    PERMUTATIONS,
    Judges,
    leak_sentence,
    leak_warnings,
    measure_clinical,
    measure_subgroups,
)
from tumorlens.learn.manifest import Record, read_manifest
from tumorlens.report.report import RESEARCH_USE
from tumorlens.taxonomy import CLASSES

REPORT_SCHEMA = "tumorlens-clinical-report/1"
FOLDS = 5


@dataclass(frozen=True)
class ClinicalOrder:
    """What is to be learned from a table.

    Parameters
    ----------
    table
        CSV; see `tumorlens.engine.clinical_table`.
    manifest
        Labelled pictures of the table's patients.
    bundle
        Folder of the bundle to build on.
    out
        Folder that gets the bundle with its clinical model.
    calibrate_on
        Folder of a cross-validation on the same manifest: what its networks
        say of patients they never saw is the image side. By default the
        bundle judges the patients who did not train it.
    include_flagged
        Also use rows that the manifest flags.
    permutations
        See `tumorlens.learn.evaluation.clinical.measure_clinical`.
    """

    table: Path
    manifest: Path
    bundle: Path
    out: Path
    calibrate_on: Path | None = None
    include_flagged: bool = False
    permutations: int = PERMUTATIONS


@dataclass(frozen=True)
class _Joined:
    """Labelled slices that have a row of the table."""

    side: ImageSide
    places: tuple[int, ...]
    counts: Mapping[str, Mapping[str, int]]


def add_clinical(
    order: ClinicalOrder, say: Callable[[str], None] = print
) -> tuple[Bundle, dict[str, Any]]:
    """Learn what a table's columns add to a bundle, and measure it.

    Parameters
    ----------
    order
        What to do.
    say
        Receives lines of progress.

    Returns
    -------
    bundle
        As written, with the clinical model.
    report
        Plain JSON: the figures of `measure_clinical`, ``model``, ``slices``,
        ``patients``, ``classes`` (patients by class), ``columns``,
        ``left_out`` and ``warnings`` (sentences), ``image_side`` (a sentence
        on how far the image's word is held out), ``subgroups`` and
        ``model_weights``. It holds no value of any patient.

    Raises
    ------
    InputError, DatasetError
        The table or the manifest cannot be used.
    TrainingError
        The cross-validation is of another manifest.
    """
    bundle = load_bundle(order.bundle)
    table = read_clinical_table(order.table)
    joined = _join(order, bundle, table, say)
    firsts = _first_of_each(joined.side.records)
    people = [joined.places[row] for row in firsts]
    chosen = choose_columns(
        table.columns,
        [table.rows[place] for place in people],
        [table.lines[place] for place in people],
    )
    for sentence in chosen.left_out:
        say(sentence)
    data = _data(joined, table, chosen)
    warnings = [
        leak_sentence(name, *found)
        for name, found in leak_warnings(data, _places(chosen)).items()
    ]
    for sentence in warnings:
        say(f"Warning: {sentence}")
    say(f"Learning {', '.join(column.name for column in chosen.columns)}.")
    judges = Judges.of(data)
    fitted = fit_clinical(data)
    point = bundle.operating_points[bundle.default_operating_point]
    rows = [table.rows[place] for place in joined.places]
    report = {
        "schema": REPORT_SCHEMA,
        "model": {"name": bundle.name, "version": bundle.version},
        "slices": len(data.labels),
        "patients": len(firsts),
        "image_side": joined.side.statement,
        "classes": joined.counts,
        "columns": _describe(chosen),
        "left_out": list(chosen.left_out),
        "warnings": warnings,
        "operating_point": bundle.default_operating_point,
        **measure_clinical(data, judges, point.threshold, order.permutations, say),
        "subgroups": measure_subgroups(data, judges, groups_of_patients(rows), FEWEST),
        "research_use_only": RESEARCH_USE,
    }
    model = _model(chosen, fitted, report)
    report["model_weights"] = {
        "features": list(model.features),
        "classes": [name.value for name in model.classes],
        "weights": model.weights.tolist(),
        "image_weight": model.image_weight,
        "temperature": model.temperature,
        "penalty": fitted.penalty,
    }
    return _write(bundle, model, order.out), report


def _join(
    order: ClinicalOrder,
    bundle: Bundle,
    table: ClinicalTable,
    say: Callable[[str], None],
) -> _Joined:
    """Keep labelled slices with a row, of classes with enough patients."""
    records = read_manifest(order.manifest)
    usable = [row for row in records if order.include_flagged or not row.flag]
    if not any(_place(table, row) is not None for row in usable):
        key = "patient" if table.by_patient else "file"
        raise DatasetError(
            f"No {key} of {order.table} is in {order.manifest}.",
            f"Write each {key} in the table as the manifest does.",
        )
    if order.calibrate_on is not None:
        side = image_by_folds(order.calibrate_on, records, bundle)
        wanted = set(usable)
        side = side.take([row in wanted for row in side.records])
    else:
        side = image_by_bundle(bundle, usable, lambda row: _has_row(table, row), say)
    places = [_place(table, row) for row in side.records]
    known = [place is not None for place in places]
    at_hand = (
        usable
        if order.calibrate_on is not None
        else [row for row in usable if row.split != "test"]
    )
    counts = _count(
        list(compress(side.records, known)),
        [row for row in at_hand if row.label and not _has_row(table, row)],
    )
    enough = {name for name, item in counts.items() if item["patients"] >= FEWEST}
    for name in sorted(set(counts) - enough):
        say(
            f"{counts[name]['patients']} patients of the class '{name}' have a row; "
            f"the columns are not learned for it, which needs {FEWEST}."
        )
    if len(enough) < 2:
        raise DatasetError(
            f"Columns are learned where two classes or more have {FEWEST} patients "
            f"with a row whom the image's network has not trained on; here "
            f"{len(enough)} {'has' if len(enough) == 1 else 'have'}.",
            "Give a table of more patients, or --calibrate-on a cross-validation, in "
            "which every patient is held out.",
        )
    kept = [
        row.label in enough and here
        for row, here in zip(side.records, known, strict=True)
    ]
    found = tuple(
        place
        for place, keep in zip(places, kept, strict=True)
        if keep and place is not None
    )
    return _Joined(side.take(kept), found, counts)


def _place(table: ClinicalTable, record: Record) -> int | None:
    found = table.place_of_patient(record.patient) if record.patient else None
    return table.place_of_file(record.path) if found is None else found


def _has_row(table: ClinicalTable, record: Record) -> bool:
    return _place(table, record) is not None


def _count(
    with_row: Sequence[Record], without: Sequence[Record]
) -> dict[str, dict[str, int]]:
    """By class: patients with a row, and without."""
    found = [
        Counter(label for label, _ in {(row.label, row.group) for row in rows})
        for rows in (with_row, without)
    ]
    return {
        name.value: {"patients": found[0][name], "without_row": found[1][name]}
        for name in CLASSES
        if found[0][name] + found[1][name]
    }


def _first_of_each(records: Sequence[Record]) -> list[int]:
    """Position of each patient's first slice."""
    firsts: dict[str, int] = {}
    for row, record in enumerate(records):
        firsts.setdefault(record.group, row)
    return list(firsts.values())


def _data(joined: _Joined, table: ClinicalTable, chosen: Chosen) -> ClinicalData:
    side = joined.side
    patients = np.unique([row.group for row in side.records], return_inverse=True)[1]
    labels = side.labels
    folds = [row.fold for row in side.records]
    known = [fold for fold in folds if fold is not None]
    features = np.stack(
        [encode(chosen.columns, table.rows[place]).features for place in joined.places]
    )
    return ClinicalData(
        side.probabilities,
        features,
        labels,
        np.asarray(patients, np.int64),
        # The manifest's folds may keep whole hospitals apart.
        np.array(known, np.int64)
        if len(known) == len(folds) and len(set(known)) > 1
        else deal_folds(labels, np.asarray(patients, np.int64), FOLDS),
    )


def _places(chosen: Chosen) -> dict[str, slice]:
    """By column: which of the features are its."""
    found, start = {}, 0
    for column in chosen.columns:
        stop = start + len(column.features)
        found[column.name] = slice(start, stop)
        start = stop
    return found


def _describe(chosen: Chosen) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "kind": "category" if isinstance(column, CategoryColumn) else "number",
            "missing": chosen.missing[column.name],
            "categories": list(column.categories)
            if isinstance(column, CategoryColumn)
            else [],
        }
        for column in chosen.columns
    ]


def _model(
    chosen: Chosen, fitted: ClinicalFit, report: Mapping[str, Any]
) -> ClinicalModel:
    bias: NDArray[np.float64] = fitted.bias
    return ClinicalModel(
        columns=chosen.columns,
        classes=tuple(CLASSES[row] for row in fitted.classes),
        image_weight=fitted.image_weight,
        bias=tuple(map(float, bias)),
        weights=fitted.weights,
        temperature=fitted.temperature,
        learned_on={
            key: report[key] for key in ("slices", "patients", "image_side", "warnings")
        },
    )


def _write(bundle: Bundle, model: ClinicalModel, out: Path) -> Bundle:
    """Put the model into a copy of the bundle, or into the bundle where it lies."""
    text = json.dumps(model.to_json(), indent=1, allow_nan=False) + "\n"
    try:
        if out.resolve() != bundle.folder.resolve():
            out.mkdir(parents=True, exist_ok=True)
            for name in (*bundle.files, FACTS_FILE):
                shutil.copyfile(bundle.folder / name, out / name)
        return attach_file(out, CLINICAL_FILE, text.encode())
    except OSError as error:
        raise OutputError(f"{out} cannot be written to: {error}.") from error
