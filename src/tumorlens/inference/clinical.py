"""Clinical columns and the model that weighs them beside the image.

A table is read and checked, and a row becomes numbers; training and serving share the
one way. What stands in a table is about people: no message names a value or a patient.

The model is a multinomial logistic regression whose offset is the image's calibrated
log-probability. Where the columns and the image are independent within each class, this
is Bayes' rule: log p(class | image, columns) = log p(class | image)
+ log p(columns | class) + a constant.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import BundleError, InputError, MissingFileError
from tumorlens.imaging.formats import display_name
from tumorlens.inference.bundle.bundle import CLINICAL_FILE, Bundle
from tumorlens.inference.bundle.facts import Reader
from tumorlens.inference.slice.decision import (
    ClinicalUse,
    apply_point_and_rules,
    by_class,
    prediction_set,
    softmax,
)
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.taxonomy import CLASSES, DECIDED, ClassName, Lesion, OwnClass

PATIENT, FILE = "patient", "file"
"""The columns that say whose row it is, in any mixture of cases."""

MAX_BYTES = 32 * 2**20
"""A hundred thousand patients with forty columns fit."""
MAX_COLUMNS = 200

_MISSING = {
    *("", "-", "--", "?", ".", "na", "n/a", "n.a.", "nan", "nil", "null", "none"),
    *("missing", "unknown", "not available", "not applicable", "not reported"),
    *("not evaluated", "not recorded"),
}

_LARGEST = 1e15
"""Nothing clinical is larger; sums of squares stay finite, and NaN is not below."""

Row = Mapping[str, str]
"""Values by column; empty text where there is none."""


@dataclass(frozen=True)
class ClinicalTable:
    """A table of clinical columns.

    Parameters
    ----------
    path
        Path of the CSV.
    columns
        Names of the clinical columns: all but those that say whose row it is.
    rows
        Values by column, stripped; empty where missing.
    lines
        Lines of the rows in the file, from 1, for messages.
    by_patient, by_file
        Number of the row by patient, and by absolute path; empty where the
        table has no such column.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...] = field(repr=False)
    lines: tuple[int, ...] = field(repr=False)
    by_patient: Mapping[str, int] = field(repr=False)
    by_file: Mapping[str, int] = field(repr=False)

    def place_of_patient(self, patient: str) -> int | None:
        """Return the number of a patient's row; None where there is none."""
        return self._known(self.by_patient.get(patient))

    def place_of_file(self, path: str | Path) -> int | None:
        """Return the number of a file's row; None where there is none.

        Parameters
        ----------
        path
            Path of a picture, or of one in an archive (``scan.zip#3``). A row that
            names a folder or an archive speaks of all that it holds; the row
            nearest to the file counts.
        """
        place = _absolute(path)
        archive, _, number = place.rpartition("#")
        names = [place, *([archive] if number.isdecimal() else [])]
        names += [str(parent) for parent in PurePath(place).parents]
        known = next((name for name in names if name in self.by_file), None)
        return None if known is None else self._known(self.by_file[known])

    def _known(self, place: int | None) -> int | None:
        """Take a row without a single value for none."""
        if place is None or not any(self.rows[place].values()):
            return None
        return place


def is_missing(text: str) -> bool:
    """Tell whether a cell says that nothing is known, as ``NA`` or ``[unknown]``."""
    return text.strip().strip("[]()").strip().lower() in _MISSING


def read_number(text: str) -> float | None:
    """Read a number of a sensible size; None where the text is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    # Python takes 1_000 for a number, and 1e400 for an infinite one.
    return value if abs(value) <= _LARGEST and "_" not in text else None


def read_clinical_table(path: Path) -> ClinicalTable:
    """Read a table of clinical columns.

    Parameters
    ----------
    path
        A CSV in UTF-8 with a heading. A column ``patient`` or ``file`` says
        whose row it is; files are relative to the table's folder or absolute,
        and may be folders or archives. Each patient and file has one row.

    Raises
    ------
    MissingFileError
        There is no such file.
    InputError
        It cannot be used; names the line and the column, never a value.
    """
    shown = display_name(path)
    names, numbered = _read_rows(path, shown)
    keys = {name: name.lower() for name in names if name.lower() in (PATIENT, FILE)}
    if not keys:
        raise InputError(
            f"{shown}, line 1: there is no column 'patient' or 'file' that says whose "
            f"row it is, only {', '.join(map(repr, names))}.",
            "Add one; columns are parted by commas.",
        )
    columns = tuple(name for name in names if name not in keys)
    if not columns:
        raise InputError(
            f"{shown} has no clinical column.", "Add columns, for example 'age'."
        )
    index: dict[str, dict[str, int]] = {PATIENT: {}, FILE: {}}
    rows: list[Row] = []
    lines: list[int] = []
    for line, cells in numbered:
        for name, key in keys.items():
            value = cells[name]
            if not value:
                continue
            whose = value if key == PATIENT else _absolute(path.parent / value)
            if whose in index[key]:
                first = lines[index[key][whose]]
                raise InputError(
                    f"{shown}: the lines {first} and {line} name the same {key}.",
                    f"Keep one row for each {key}.",
                )
            index[key][whose] = len(rows)
        if not any(cells[name] for name in keys):
            raise InputError(
                f"{shown}, line {line}: the row does not say whose it is.",
                f"Fill the column {' or '.join(map(repr, keys))}.",
            )
        rows.append(
            {name: "" if is_missing(cells[name]) else cells[name] for name in columns}
        )
        lines.append(line)
    return ClinicalTable(
        path, columns, tuple(rows), tuple(lines), index[PATIENT], index[FILE]
    )


def _read_rows(
    path: Path, shown: str
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(
                f"{shown} is larger than {MAX_BYTES // 2**20} MB.",
                "Give a table with one row a patient.",
            )
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            heading = [name.strip() for name in next(reader, [])]
            cells = [
                (reader.line_num, [cell.strip() for cell in row])
                for row in reader
                if any(cell.strip() for cell in row)
            ]
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no table at {shown}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown} is not UTF-8 text (byte {error.start}).",
            "Save the table as CSV in UTF-8.",
        ) from error
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{shown} cannot be read as CSV: {reason}.", "Check the file."
        ) from error
    _check_heading(heading, shown)
    if not cells:
        raise InputError(f"{shown} has no rows.", "Add one row for each patient.")
    for line, row in cells:
        if len(row) != len(heading):
            raise InputError(
                f"{shown}, line {line}: {len(row)} values for {len(heading)} columns.",
                "Quote values that hold commas, and write decimals with a point.",
            )
    return heading, [
        (line, dict(zip(heading, row, strict=True))) for line, row in cells
    ]


def _check_heading(names: list[str], shown: str) -> None:
    if not any(names):
        raise InputError(f"{shown} is empty.", "Add a heading and rows.")
    if "" in names:
        raise InputError(
            f"{shown}, line 1: column {names.index('') + 1} has no name.",
            "Name every column.",
        )
    lower = [name.lower() for name in names]
    twice = next((name for name in names if lower.count(name.lower()) > 1), None)
    if twice is not None:
        raise InputError(
            f"{shown}, line 1: there are two columns {twice!r}.", "Keep one of them."
        )
    if len(names) > MAX_COLUMNS:
        raise InputError(
            f"{shown} has {len(names)} columns, more than {MAX_COLUMNS}.",
            "Keep those that may tell something.",
        )


def _absolute(path: str | Path) -> str:
    # `resolve` would follow links: a set made of links keeps its own names.
    return display_name(os.path.abspath(str(path).replace("\\", "/")))  # noqa: PTH100


FURTHEST = 3.0
"""Standard deviations from the mean at which a number is cut off: an age in months
or a slip of the pen must not carry a decision away."""


class State(StrEnum):
    """State of a value once it was turned into numbers."""

    USED = "used"
    MISSING = "missing"
    UNKNOWN = "unknown"
    """A category that was not learned."""
    OUTSIDE = "outside"
    """A number far from those that were learned, and cut off."""


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, standardised.

    Parameters
    ----------
    name
        Name in the table's heading.
    center, scale
        Mean and standard deviation of the patients it was learned from.
    missing_share
        Share of these who lacked it, 0 to 1; 0 where too few did to learn what
        its lack says, and there is no indicator of it.
    """

    name: str
    center: float
    scale: float
    missing_share: float

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the numbers it becomes."""
        return (self.name, *_indicator(self))

    def encode(self, text: str) -> tuple[list[float], State]:
        """Turn a value into numbers, 0 for an average patient.

        Parameters
        ----------
        text
            Empty where missing.

        Raises
        ------
        InputError
            It is no number.
        """
        if not text:
            return [0.0, *_lacking(self, True)], State.MISSING
        value = read_number(text)
        if value is None:
            raise InputError(
                f"The clinical column {self.name!r} holds text where the model has "
                "learned numbers.",
                "Write a number with a point, or leave the cell empty.",
            )
        far = (value - self.center) / self.scale
        state = State.USED if abs(far) <= FURTHEST else State.OUTSIDE
        return [
            float(np.clip(far, -FURTHEST, FURTHEST)),
            *_lacking(self, False),
        ], state


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories: an indicator for each, less its share.

    Parameters
    ----------
    name
        Name in the table's heading.
    categories
        Categories in lower case, in order.
    shares
        Share of each among the patients who have a value, 0 to 1.
    missing_share
        See `NumberColumn`.
    """

    name: str
    categories: tuple[str, ...]
    shares: tuple[float, ...]
    missing_share: float

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the numbers it becomes."""
        own = (f"{self.name}: {item}" for item in self.categories)
        return (*own, *_indicator(self))

    def encode(self, text: str) -> tuple[list[float], State]:
        """Turn a value into numbers, 0 for an average patient.

        Parameters
        ----------
        text
            Text in any mixture of cases; empty where missing.
        """
        word = category(text)
        state = State.USED if word in self.categories else State.UNKNOWN
        values = [0.0] * len(self.categories)
        if state is State.USED:
            values = [
                (word == item) - share
                for item, share in zip(self.categories, self.shares, strict=True)
            ]
        if not word:
            return [*values, *_lacking(self, True)], State.MISSING
        return [*values, *_lacking(self, False)], state


Column = NumberColumn | CategoryColumn


def category(text: str) -> str:
    """Write a category in the one way in which it is compared."""
    return " ".join(text.split()).casefold()


def _indicator(column: Column) -> tuple[str, ...]:
    return (f"{column.name}: missing",) if column.missing_share else ()


def _lacking(column: Column, missing: bool) -> list[float]:
    return [missing - column.missing_share] if column.missing_share else []


@dataclass(frozen=True)
class Encoded:
    """A patient's values as numbers.

    Parameters
    ----------
    features
        Shape (F,), float64.
    states
        State by column.
    """

    features: NDArray[np.float64]
    states: Mapping[str, State]

    def of_state(self, state: State) -> tuple[str, ...]:
        """Return the names of the columns whose value became this."""
        return tuple(name for name, item in self.states.items() if item is state)


def encode(columns: Sequence[Column], row: Mapping[str, Any]) -> Encoded:
    """Turn a patient's values into numbers.

    Parameters
    ----------
    columns
        Columns that were learned.
    row
        Values by column, in any mixture of cases: text, numbers, or None.
        Columns that it lacks are missing; columns that were not learned do not
        count.

    Raises
    ------
    InputError
        There is text where a number is needed.
    """
    given = {category(name): value for name, value in row.items()}
    features: list[float] = []
    states = {}
    for column in columns:
        value = given.get(category(column.name))
        values, states[column.name] = column.encode(_text(value))
        features += values
    return Encoded(np.array(features, np.float64), states)


def _text(value: object) -> str:
    text = "" if value is None else str(value).strip()
    return "" if is_missing(text) else text


def column_to_json(column: Column) -> dict[str, Any]:
    """Turn a column into a JSON object."""
    if isinstance(column, NumberColumn):
        return {
            "name": column.name,
            "kind": "number",
            "center": column.center,
            "scale": column.scale,
            "missing_share": column.missing_share,
        }
    return {
        "name": column.name,
        "kind": "category",
        "categories": list(column.categories),
        "shares": list(column.shares),
        "missing_share": column.missing_share,
    }


def read_column(facts: Reader) -> Column:
    """Read what `column_to_json` wrote.

    Raises
    ------
    BundleError
        A fact is not what it has to be.
    """
    name, kind = facts.text("name"), facts.text("kind")
    missing = facts.share("missing_share")
    if kind == "number":
        scale = facts.number("scale")
        if scale <= 0.0:
            facts.refuse("scale", "a number above 0")
        return NumberColumn(name, facts.number("center"), scale, missing)
    if kind != "category":
        facts.refuse("kind", "'number' or 'category'")
    categories = facts.strings("categories")
    return CategoryColumn(
        name, categories, facts.numbers("shares", len(categories)), missing
    )


FORMAT = "tumorlens-clinical/1"
LEAST_PROBABILITY = 1e-6
"""Below this the image's probability of a class counts as this, so that columns can
still speak."""


@dataclass(frozen=True)
class ClinicalModel:
    """Weights that move the image's log-probabilities by a patient's columns.

    Parameters
    ----------
    columns
        Columns in order; they become F numbers.
    classes
        K of them, that it was learned on. The probability of the others stays
        what the image says.
    image_weight
        Factor on the image's log-probabilities.
    bias
        K summands.
    weights
        Shape (F, K), float64.
    temperature
        Number above 0 by which the sum is divided.
    learned_on
        Free facts: of how many patients, and how.
    """

    columns: tuple[Column, ...]
    classes: tuple[ClassName, ...]
    image_weight: float
    bias: tuple[float, ...]
    weights: NDArray[np.float64]
    temperature: float
    learned_on: Mapping[str, Any]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the F numbers."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def bundle_classes(self) -> Sequence[ClassName]:
        """All N classes of the bundle, in the order of its probabilities."""
        first = self.classes[0]
        return first.siblings if isinstance(first, OwnClass) else CLASSES

    def fuse(
        self, probabilities: NDArray[np.float64], features: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Move the image's probabilities by the columns.

        Parameters
        ----------
        probabilities
            Shape (N, C): of the image, calibrated, for the C `bundle_classes`.
        features
            Shape (N, F), from `encode`.

        Returns
        -------
        ndarray
            Shape (N, C), float64; rows sum to 1.
        """
        kept = [self.bundle_classes.index(name) for name in self.classes]
        scores = self.image_weight * image_scores(probabilities)[:, kept]
        scores += np.asarray(self.bias) + features @ self.weights
        fused = np.array(probabilities, np.float64)
        share = fused[:, kept].sum(axis=1, keepdims=True)
        fused[:, kept] = share * softmax(scores / self.temperature)
        return fused

    def to_json(self) -> dict[str, Any]:
        """Return the model as a JSON object."""
        return {
            "format": FORMAT,
            "columns": [column_to_json(column) for column in self.columns],
            "classes": [name.value for name in self.classes],
            "image_weight": self.image_weight,
            "bias": list(self.bias),
            "weights": self.weights.tolist(),
            "temperature": self.temperature,
            "learned_on": dict(self.learned_on),
        }

    @classmethod
    def read(
        cls,
        document: Mapping[str, Any],
        where: str,
        bundle_classes: Sequence[ClassName] = CLASSES,
    ) -> Self:
        """Read what `to_json` returned.

        Parameters
        ----------
        document
            Plain JSON.
        where
            File that it stands in, for messages.
        bundle_classes
            All classes of the bundle that it belongs to.

        Raises
        ------
        BundleError
            A fact is not what it has to be.
        """
        facts = Reader(document, where)
        if facts.text("format") != FORMAT:
            facts.refuse("format", f"{FORMAT!r}; upgrade TumorLens")
        columns = tuple(read_column(item) for item in facts.items("columns"))
        known = {str(name): name for name in bundle_classes}
        classes = facts.strings("classes")
        if not set(classes) <= set(known) or len(set(classes)) < max(2, len(classes)):
            facts.refuse("classes", f"two or more of {list(known)}")
        count = sum(len(column.features) for column in columns)
        rows = facts.rows("weights", count, len(classes))
        temperature = facts.number("temperature")
        if temperature <= 0.0:
            facts.refuse("temperature", "a number above 0")
        return cls(
            columns,
            tuple(known[name] for name in classes),
            facts.number("image_weight"),
            facts.numbers("bias", len(classes)),
            np.array(rows, np.float64).reshape(count, len(classes)),
            temperature,
            dict(facts.object("learned_on").fields),
        )

    def check_table(self, table: ClinicalTable) -> None:
        """Make sure that a table can be used, before any work is done.

        Raises
        ------
        InputError
            None of the model's columns is there, or text stands for a number.
        """
        shown = display_name(table.path)
        self.check_names(table.columns, shown)
        for line, row in zip(table.lines, table.rows, strict=True):
            try:
                encode(self.columns, row)
            except InputError as error:
                raise InputError(
                    f"{shown}, line {line}: {error.message}", error.hint
                ) from error

    def check_names(self, given: Iterable[str], whose: str) -> None:
        """Make sure that one of the columns at least is given.

        Parameters
        ----------
        given
            Names of columns.
        whose
            What gives them, for the message.

        Raises
        ------
        InputError
            None is.
        """
        names = [column.name for column in self.columns]
        if not set(map(category, names)) & set(map(category, given)):
            raise InputError(
                f"{whose} has none of the model's clinical columns "
                f"({', '.join(names)}), only {', '.join(given)}.",
                "Name the columns as in the table that the model learned from.",
            )


def image_scores(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the image's log-probabilities, bounded below, of the same shape."""
    return np.asarray(np.log(np.maximum(probabilities, LEAST_PROBABILITY)))


def load_clinical_model(bundle: Bundle) -> ClinicalModel:
    """Read the clinical model of a bundle.

    Parameters
    ----------
    bundle
        A verified one, among whose files is `CLINICAL_FILE`.

    Raises
    ------
    BundleError
        The file cannot be read.
    """
    path = bundle.folder / CLINICAL_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON.") from error
    if not isinstance(document, dict):
        raise BundleError(f"{path} holds no JSON object.")
    return ClinicalModel.read(document, str(path), bundle.classes)


NO_ROW = (
    "No clinical values are known for this picture; it is judged by the image alone."
)
WITH_COLUMNS = (
    "The probabilities count the clinical columns {names}; by the image alone the "
    "probability of a tumour is {alone:.1%}. Maps and outline are the image's alone."
)


def add_columns(
    prediction: Prediction,
    row: Mapping[str, Any] | None,
    model: ClinicalModel,
    bundle: Bundle,
) -> Prediction:
    """Decide anew by the image and a patient's columns together.

    Threshold, prediction set and rules are the bundle's: they speak of
    calibrated probabilities, and these are. A picture that is no brain MRI
    the model knows stays refused.

    Parameters
    ----------
    prediction
        Prediction by the image alone.
    row
        Values by column: text, numbers or None; None where nothing is known.
    model, bundle
        The clinical model, and the bundle that it belongs to.

    Raises
    ------
    InputError
        There is text where a number is needed, or none of the columns is given.
    """
    alone = prediction.decision
    if row is not None:
        model.check_names(row, "The patient's row")
    encoded = encode(model.columns, row or {})
    outside = encoded.of_state(State.OUTSIDE)
    use = ClinicalUse(
        used=encoded.of_state(State.USED) + outside,
        missing=encoded.of_state(State.MISSING),
        unknown=encoded.of_state(State.UNKNOWN),
        outside=outside,
        probabilities=alone.raw_probabilities,
        label=alone.label,
    )
    if alone.is_refused:
        return replace(prediction, clinical=use)
    if not use.used:
        return replace(prediction, clinical=use, notes=(*prediction.notes, NO_ROW))
    names = bundle.classes
    image = np.array([[alone.raw_probabilities[name] for name in names]])
    values = model.fuse(image, encoded.features[None])[0]
    decided = names if bundle.has_own_classes else DECIDED
    options = prediction_set(values, bundle.prediction_sets.thresholds, decided)
    outcome = apply_point_and_rules(
        values,
        options,
        bundle,
        alone.operating_point,
        (np.array(alone.slice_head), np.array(alone.evidence_head)),
        alone.brain_share,
        alone.other_lesions.get(Lesion.VASCULAR, 0.0),
    )
    note = WITH_COLUMNS.format(names=", ".join(use.used), alone=alone.raw_p_tumor)
    return replace(
        prediction,
        decision=replace(
            alone,
            raw_probabilities=by_class(values, names),
            finding=outcome.finding,
            kinds=outcome.kinds,
            prediction_set=options,
            reasons=outcome.reasons,
        ),
        clinical=use,
        notes=(*prediction.notes, note),
    )
