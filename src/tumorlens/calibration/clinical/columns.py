"""Chooses clinical columns to learn from, and turns each into numbers.

Columns that name a person, or say nothing, are left out; each is explained in a
sentence that holds no value. Means, spreads and categories are taken from all
patients at hand, without a look at their classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tumorlens.data.manifest import COLUMNS
from tumorlens.errors import DatasetError
from tumorlens.inference.clinical import (
    CategoryColumn,
    Column,
    NumberColumn,
    category,
    read_number,
)

FEWEST = 5
"""Patients that a category, or the lack of a value, needs to be learned. What fewer
share could point to one of them, and would travel with the bundle."""

_IDENTIFYING = {
    *("id", "mrn", "ssn", "uid", "uuid", "barcode", "accession", "initials"),
    *("surname", "forename", "dob", "birthday", "birthdate", "address", "street"),
    *("phone", "telephone", "email", "zip", "zipcode", "postcode"),
}
"""Words in the names of columns that say who a patient is."""

_NAMES = {"name", "patientname", "firstname", "lastname", "fullname", "familyname"}
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|(19|20)\d{6}")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_MOSTLY = 0.8
"""Share of numbers from which on text in a column is taken for a slip."""

_LONG_NUMBER = 10_000
"""Least whole numbers that, each of them once, are taken for numbers of people."""

_SEX = {"sex", "gender"}

_AGE_BANDS = ((18.0, "under 18"), (40.0, "18 to 39"), (60.0, "40 to 59"))

_OLDEST = "60 and over"


@dataclass(frozen=True)
class ChosenColumns:
    """Columns to learn from, and why others are not.

    Parameters
    ----------
    columns
        At least one column.
    left_out
        A sentence for each column that is left out.
    missing
        Number of patients who lack each column.
    """

    columns: tuple[Column, ...]
    left_out: tuple[str, ...]
    missing: Mapping[str, int]


def choose_columns(
    names: Sequence[str], rows: Sequence[Mapping[str, str]], lines: Sequence[int]
) -> ChosenColumns:
    """Choose and describe the columns of a table.

    Parameters
    ----------
    names
        Names of the clinical columns.
    rows
        One for each patient: values by column, empty where missing.
    lines
        Numbers of the rows in their file, for messages.

    Raises
    ------
    DatasetError
        No column is left, or one holds text among its numbers.
    """
    columns: list[Column] = []
    left_out: list[str] = []
    missing: dict[str, int] = {}
    for name in names:
        values = [row[name] for row in rows]
        reason = _unusable(name, values)
        if reason:
            left_out.append(f"The column {name!r} is left out: {reason}")
            continue
        columns.append(_describe(name, values, lines))
        missing[name] = sum(not value for value in values)
    if not columns:
        raise DatasetError(
            "The table has no clinical column to learn from. " + " ".join(left_out),
            "Add columns that say something of the patients, such as age or sex.",
        )
    return ChosenColumns(tuple(columns), tuple(left_out), missing)


def _unusable(name: str, values: Sequence[str]) -> str:
    """Say why a column cannot be learned from; empty where it can."""
    if name.lower() in (*COLUMNS, "fold"):
        return "the manifest has a column of this name, which is no clinical one."
    if _names_people(name):
        return "by its name it says who the patient is."
    filled = [value for value in values if value]
    if not filled:
        return "it holds no value."
    kinds = {category(value) for value in filled}
    if len(kinds) == 1:
        return (
            "all its values are the same; where an empty cell means 'no', write 'no'."
        )
    if all(map(_DATE.fullmatch, filled)):
        return "it holds dates, which point to people; give an age or a duration."
    if any(map(_DECIMAL_COMMA.fullmatch, filled)):
        return "it has decimal commas; write decimals with a point."
    numbers = [read_number(value) for value in filled]
    share = sum(number is not None for number in numbers) / len(numbers)
    if share == 0.0 and len(kinds) == len(filled):
        return "each of its texts stands there once, as names and numbers of people do."
    if len(kinds) == len(filled) and all(map(_is_long, numbers)):
        return (
            "each of its whole numbers is long and stands there once, as numbers of "
            "people do; if it is measured, give it in a larger unit."
        )
    if share < _MOSTLY and max(Counter(map(category, filled)).values()) < FEWEST:
        return f"none of its categories has {FEWEST} patients."
    return ""


def _names_people(name: str) -> bool:
    # "PatientID" and "date of birth" become "patient id" and "date of birth".
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    parts = re.split(r"[^a-z]+", words.lower())
    return (
        bool(_IDENTIFYING & {*parts})
        or "".join(parts) in _NAMES
        or {"date", "birth"} <= {*parts}
    )


def _is_long(number: float | None) -> bool:
    return number is not None and number >= _LONG_NUMBER and number == int(number)


def _describe(name: str, values: Sequence[str], lines: Sequence[int]) -> Column:
    lacking = sum(not value for value in values)
    share = lacking / len(values) if lacking >= FEWEST else 0.0
    numbers = [read_number(value) for value in values if value]
    filled = np.array([number for number in numbers if number is not None])
    if len(filled) == len(numbers):
        return NumberColumn(name, float(filled.mean()), float(filled.std()), share)
    if len(filled) >= _MOSTLY * len(numbers):
        line = next(
            line
            for line, value in zip(lines, values, strict=True)
            if value and read_number(value) is None
        )
        raise DatasetError(
            f"The clinical column {name!r} holds text among its numbers (line {line}).",
            "Write a number with a point, or leave the cell empty.",
        )
    counts = Counter(category(value) for value in values if value)
    common = sorted(item for item, count in counts.items() if count >= FEWEST)
    shares = tuple(counts[item] / len(numbers) for item in common)
    return CategoryColumn(name, tuple(common), shares, share)


def groups_of_patients(rows: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Find the columns on sex and age, and name each row's group.

    Parameters
    ----------
    rows
        N of them: values by column, empty where missing.

    Returns
    -------
    dict
        N names by column, empty where there is no value. A column is on sex or
        age where its name says so (``age``, ``Age_years``, ``gender``); ages
        are in years.
    """
    groups: dict[str, list[str]] = {}
    for name in rows[0] if rows else ():
        words = set(re.split(r"[^a-z]+", name.lower()))
        group: Callable[[str], str]
        if words & _SEX:
            group = category
        elif "age" in words:
            group = _age_band
        else:
            continue
        groups[name] = [group(row[name]) for row in rows]
    return {name: parts for name, parts in groups.items() if len(set(parts) - {""}) > 1}


def _age_band(text: str) -> str:
    age = read_number(text)
    if age is None:
        return ""
    return next((name for below, name in _AGE_BANDS if age < below), _OLDEST)
