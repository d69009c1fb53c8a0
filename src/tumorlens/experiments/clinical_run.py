"""A table of clinical columns is learned on top of a bundle, and judged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.calibration.clinical.columns import FEWEST, Chosen, choose_columns
from tumorlens.calibration.clinical.fit import (
    ClinicalData,
    ClinicalFit,
    deal_folds,
    fit_clinical,
)
from tumorlens.calibration.clinical.groups import groups_of_patients
from tumorlens.data.manifest import read_manifest
from tumorlens.errors import OutputError, TrainingError
from tumorlens.evaluation.clinical.added_value import (
    PERMUTATIONS,
    InputKind,
    measure_clinical,
    measure_subgroups,
)
from tumorlens.evaluation.clinical.leaks import leak_sentence, leak_warnings
from tumorlens.experiments.clinical_join import Joined, join_table
from tumorlens.inference.bundle.bundle import (
    FACTS_FILE,
    MODEL_FILE,
    Bundle,
    attach_file,
    load_bundle,
)
from tumorlens.inference.clinical.columns import (
    CategoryColumn,
    ClinicalTable,
    encode,
    read_clinical_table,
)
from tumorlens.inference.clinical.model import CLINICAL_FILE, ClinicalModel
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.taxonomy import CLASSES

REPORT_SCHEMA = "tumorlens-clinical-report/1"
FOLDS = 5


@dataclass(frozen=True)
class ClinicalOrder:
    """What is to be learned from a table.

    Parameters
    ----------
    table
        CSV; see `tumorlens.inference.clinical.columns`.
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
        See `tumorlens.evaluation.clinical.added_value.measure_clinical`.
    """

    table: Path
    manifest: Path
    bundle: Path
    out: Path
    calibrate_on: Path | None = None
    include_flagged: bool = False
    permutations: int = PERMUTATIONS


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
        The cross-validation is of another manifest, or `out` holds a bundle of
        another network.
    """
    bundle = load_bundle(order.bundle)
    _check_out(order.out, bundle)
    table = read_clinical_table(order.table)
    joined = join_table(
        table,
        read_manifest(order.manifest),
        bundle,
        order.calibrate_on,
        order.include_flagged,
        say,
    )
    people = [joined.places[position] for position in joined.firsts()]
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
    judges = InputKind.of(data)
    fitted = fit_clinical(data)
    point = bundle.operating_points[bundle.default_operating_point]
    rows = [table.rows[place] for place in joined.places]
    report = {
        "schema": REPORT_SCHEMA,
        "model": {"name": bundle.name, "version": bundle.version},
        "slices": len(data.labels),
        "patients": len(people),
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


def _data(joined: Joined, table: ClinicalTable, chosen: Chosen) -> ClinicalData:
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


def _check_out(out: Path, bundle: Bundle) -> None:
    """Refuse to write over what somebody else's hours of training made."""
    if (out / FACTS_FILE).exists():
        there = load_bundle(out)
        if there.files[MODEL_FILE] != bundle.files[MODEL_FILE]:
            raise TrainingError(
                f"{out} already holds a bundle of another network, {there.version}.",
                "Give another folder with --out.",
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
