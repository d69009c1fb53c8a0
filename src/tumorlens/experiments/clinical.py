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

from tumorlens.calibration.clinical import (
    FEWEST,
    ChosenColumns,
    ClinicalData,
    ClinicalFit,
    choose_columns,
    deal_folds,
    fit_clinical,
    groups_of_patients,
)
from tumorlens.data.manifest import Record, read_manifest
from tumorlens.errors import DatasetError, OutputError, TrainingError
from tumorlens.evaluation.clinical import (
    PERMUTATIONS,
    ClinicalJudges,
    leak_sentence,
    leak_warnings,
    measure_clinical,
    measure_subgroups,
)
from tumorlens.evaluation.leakage import check_held_out
from tumorlens.evaluation.scored_slices import score_records
from tumorlens.experiments.cross_validation import held_out_by_folds
from tumorlens.experiments.evaluation import in_classes_of
from tumorlens.imaging.formats import display_name
from tumorlens.inference.bundle.bundle import (
    CLINICAL_FILE,
    FACTS_FILE,
    MODEL_FILE,
    Bundle,
    attach_file,
    load_bundle,
)
from tumorlens.inference.bundle.facts import FLOAT32
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.clinical import (
    CategoryColumn,
    ClinicalModel,
    ClinicalTable,
    encode,
    read_clinical_table,
)
from tumorlens.inference.slice.decision import (
    calibrated_probabilities,
    class_view,
    pool_evidence,
)
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.taxonomy import ClassName, clear_places

_BY_FOLDS = (
    "The image of each patient was judged by a network that trained without them; "
    "only the few numbers that calibrate it were fitted on all of them together."
)

REPORT_SCHEMA = "tumorlens-clinical-report/1"

FOLDS = 5


@dataclass(frozen=True)
class ImageSide:
    """Outputs of the image model for N labelled slices.

    Parameters
    ----------
    records
        N records.
    probabilities
        Shape (N, C), calibrated.
    statement
        Statement whether these are held out, in full sentences.
    classes
        The bundle's C classes, in the order of probabilities.
    """

    records: tuple[Record, ...]
    probabilities: NDArray[np.float64]
    statement: str
    classes: Sequence[ClassName]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, shape (N,)."""
        return np.array(
            [self.classes.index(row.label) for row in self.records if row.label],
            np.int64,
        )

    def take(self, kept: Sequence[bool]) -> ImageSide:
        """Keep some slices, by N of true and false."""
        return ImageSide(
            tuple(compress(self.records, kept)),
            self.probabilities[np.array(kept, bool)],
            self.statement,
            self.classes,
        )


def image_by_folds(
    folder: Path, records: Sequence[Record], bundle: Bundle
) -> ImageSide:
    """Take what the networks of a cross-validation said.

    Parameters
    ----------
    folder
        Folder of the cross-validation.
    records
        Rows of its manifest.
    bundle
        The bundle whose calibration turns raw outputs into probabilities.

    Raises
    ------
    TrainingError
        No fold is complete there, or its pictures are others.
    """
    held_out = held_out_by_folds(folder, records)
    pooled = np.zeros_like(held_out.logits)
    if held_out.evidence is not None:
        cells = bundle.calibration.evidence_cells
        pooled = pool_evidence(held_out.evidence, cells, clear_places(bundle.classes))
    head = bundle.sequence_head
    shares = None
    if head is not None and held_out.sequence is not None:
        shares = head.probabilities(held_out.sequence)
    probabilities = class_view(
        calibrated_probabilities(held_out.logits, pooled, bundle.calibration, shares),
        bundle.classes,
    )
    return ImageSide(held_out.records, probabilities, _BY_FOLDS, bundle.classes)


def image_by_bundle(
    bundle: Bundle,
    records: Sequence[Record],
    known: Sequence[Record],
    say: Callable[[str], None] = print,
) -> ImageSide:
    """Let a bundle judge the labelled patients who did not train it.

    Parameters
    ----------
    bundle
        Names those who trained it.
    records
        Rows to be predicted.
    known
        All of the manifest, to look for copies of what trained the bundle.
    say
        Receives lines of progress.

    Raises
    ------
    DatasetError
        Nobody is left.
    """
    named = bundle.provenance.get("patients")
    trained = set(named.get("train", ())) - {""} if isinstance(named, dict) else set()
    usable_records = [
        row for row in records if row.label and row.patient not in trained
    ]
    count = len({row.patient for row in records} & trained)
    if count:
        say(f"{count} patients with a row trained the network; they are left out.")
    if not usable_records:
        raise DatasetError(
            "Every patient with a row trained the network, or is kept for the test.",
            "Give --calibrate-on a cross-validation, in which everybody is held out.",
        )
    say(f"Judging {len(usable_records)} slices by {bundle.name} {bundle.version}.")
    statement = check_held_out(bundle, usable_records, known)["statement"]
    scored_slices = score_records(
        load_classifier(bundle.folder, precision=FLOAT32), usable_records, say=say
    )
    return ImageSide(
        *(tuple(scored_slices.records), scored_slices.probabilities, statement),
        bundle.classes,
    )


@dataclass(frozen=True)
class JoinedSlices:
    """N labelled slices, each with its row.

    Parameters
    ----------
    side
        Outputs of the image model for them.
    places
        N numbers of rows of the table.
    counts
        Numbers of ``patients`` with a row, and those ``without_row``, by class.
    """

    side: ImageSide
    places: tuple[int, ...]
    counts: Mapping[str, Mapping[str, int]]

    def firsts(self) -> list[int]:
        """Position of each patient's first slice."""
        positions: dict[str, int] = {}
        for position, record in enumerate(self.side.records):
            positions.setdefault(record.group, position)
        return list(positions.values())


def join_table(
    table: ClinicalTable,
    records: Sequence[Record],
    bundle: Bundle,
    calibrate_on: Path | None,
    include_flagged: bool,
    say: Callable[[str], None] = print,
) -> JoinedSlices:
    """Keep labelled slices that have a row, of classes with enough patients.

    Parameters
    ----------
    table
        A slice's row is its patient's; where the table has none, its file's.
    records
        Rows of the manifest.
    bundle, calibrate_on, include_flagged
        The same as in `ClinicalConfig`.
    say
        Receives lines of progress.

    Raises
    ------
    DatasetError
        No row fits the manifest, or fewer than two classes have enough
        patients who are held out.
    """
    usable = [
        row
        for row in records
        if (include_flagged or not row.flag) and not row.train_only
    ]
    has_row = {row for row in usable if _place(table, row) is not None}
    if not has_row:
        key = "patient" if table.by_patient else "file"
        raise DatasetError(
            f"No {key} of {display_name(table.path)} is in the manifest.",
            f"Write each {key} in the table as the manifest does.",
        )
    if calibrate_on is not None:
        everybody = image_by_folds(calibrate_on, records, bundle)
        side = everybody.take([row in has_row for row in everybody.records])
    else:
        usable = [row for row in usable if row.split != "test"]
        usable_records = [row for row in usable if row in has_row]
        side = image_by_bundle(bundle, usable_records, records, say)
    without_row = [row for row in usable if row not in has_row]
    counts = _count(side.records, without_row, bundle.classes)
    enough = _classes_with_enough(counts, say)
    side = side.take([str(row.label) in enough for row in side.records])
    places = [_place(table, row) for row in side.records]
    return JoinedSlices(
        side, tuple(place for place in places if place is not None), counts
    )


def _place(table: ClinicalTable, record: Record) -> int | None:
    place = table.place_of_patient(record.patient) if record.patient else None
    return table.place_of_file(record.path) if place is None else place


def _count(
    with_row: Sequence[Record],
    without: Sequence[Record],
    classes: Sequence[ClassName],
) -> dict[str, dict[str, int]]:
    patients = [
        Counter(label for label, _ in {(row.label, row.group) for row in rows})
        for rows in (with_row, without)
    ]
    return {
        name.value: {"patients": patients[0][name], "without_row": patients[1][name]}
        for name in classes
        if patients[0][name] + patients[1][name]
    }


def _classes_with_enough(
    counts: Mapping[str, Mapping[str, int]], say: Callable[[str], None]
) -> list[str]:
    people = {name: patients["patients"] for name, patients in counts.items()}
    enough = [name for name, count in people.items() if count >= FEWEST]
    if len(enough) < 2:
        stated = ", ".join(f"{name} {count}" for name, count in people.items())
        raise DatasetError(
            f"Columns are learned where two classes or more have {FEWEST} patients "
            f"with a row whom the network has not trained on; there are: {stated}.",
            "Give a table of more patients, or --calibrate-on a cross-validation, in "
            "which every patient is held out.",
        )
    for name, count in people.items():
        if name not in enough:
            say(
                f"Only {count} patients of the class '{name}' have a row; its "
                f"probability stays what the image says, as {FEWEST} are needed."
            )
    return enough


@dataclass(frozen=True)
class ClinicalConfig:
    """Settings of a clinical model that is learned from a table.

    Parameters
    ----------
    table
        CSV; see `tumorlens.inference.clinical`.
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
        True to use rows that the manifest flags, too.
    permutations
        Number of permutations; see `tumorlens.evaluation.clinical`.
    """

    table: Path
    manifest: Path
    bundle: Path
    out: Path
    calibrate_on: Path | None = None
    include_flagged: bool = False
    permutations: int = PERMUTATIONS


def add_clinical(
    config: ClinicalConfig, say: Callable[[str], None] = print
) -> tuple[Bundle, dict[str, Any]]:
    """Learn what a table's columns add to a bundle, and measure it.

    Parameters
    ----------
    config
        Settings of the clinical model.
    say
        Receives lines of progress.

    Returns
    -------
    bundle
        The bundle as written, with the clinical model.
    report
        Plain JSON: the figures of `measure_clinical`, ``model``, ``slices``,
        ``patients``, ``classes`` (patients by class), ``columns``,
        ``left_out`` and ``warnings`` (sentences), ``image_side`` (a sentence
        on how far the image's word is held out), ``subgroups`` and
        ``model_weights``. It holds no value of any patient.

    Raises
    ------
    InputError, DatasetError
        The table or the manifest cannot be used, or its classes are not the bundle's.
    TrainingError
        The cross-validation is of another manifest, or `out` holds a bundle of
        another network.
    """
    bundle = load_bundle(config.bundle)
    _check_out(config.out, bundle)
    table = read_clinical_table(config.table)
    joined = join_table(
        table,
        in_classes_of(bundle, read_manifest(config.manifest, may_be_own=True)),
        bundle,
        config.calibrate_on,
        config.include_flagged,
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
        leak_sentence(name, *class_and_area)
        for name, class_and_area in leak_warnings(data, _places(chosen)).items()
    ]
    for sentence in warnings:
        say(f"Warning: {sentence}")
    say(f"Learning {', '.join(column.name for column in chosen.columns)}.")
    judges = ClinicalJudges.of(data)
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
        **measure_clinical(data, judges, point.threshold, config.permutations, say),
        "subgroups": measure_subgroups(data, judges, groups_of_patients(rows), FEWEST),
        "research_use_only": RESEARCH_USE,
    }
    model = _model(chosen, fitted, bundle.classes, report)
    report["model_weights"] = {
        "features": list(model.features),
        "classes": [name.value for name in model.classes],
        "weights": model.weights.tolist(),
        "image_weight": model.image_weight,
        "temperature": model.temperature,
        "penalty": fitted.penalty,
    }
    return _write(bundle, model, config.out), report


def _data(
    joined: JoinedSlices, table: ClinicalTable, chosen: ChosenColumns
) -> ClinicalData:
    side = joined.side
    patients = np.unique([row.group for row in side.records], return_inverse=True)[1]
    labels = side.labels
    folds = [row.fold for row in side.records]
    known_folds = [fold for fold in folds if fold is not None]
    features = np.stack(
        [encode(chosen.columns, table.rows[place]).features for place in joined.places]
    )
    return ClinicalData(
        side.probabilities,
        features,
        labels,
        np.asarray(patients, np.int64),
        # The manifest's folds may keep whole hospitals apart.
        np.array(known_folds, np.int64)
        if len(known_folds) == len(folds) and len(set(known_folds)) > 1
        else deal_folds(labels, np.asarray(patients, np.int64), FOLDS),
        side.classes,
    )


def _places(chosen: ChosenColumns) -> dict[str, slice]:
    """Find the features of each column, by its name."""
    places, start = {}, 0
    for column in chosen.columns:
        stop = start + len(column.features)
        places[column.name] = slice(start, stop)
        start = stop
    return places


def _describe(chosen: ChosenColumns) -> list[dict[str, Any]]:
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
    chosen: ChosenColumns,
    fitted: ClinicalFit,
    classes: Sequence[ClassName],
    report: Mapping[str, Any],
) -> ClinicalModel:
    bias: NDArray[np.float64] = fitted.bias
    return ClinicalModel(
        columns=chosen.columns,
        classes=tuple(classes[row] for row in fitted.classes),
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
