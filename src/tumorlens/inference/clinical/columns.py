"""Clinical values become numbers: one way for training and serving alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError
from tumorlens.inference.bundle.facts import Reader
from tumorlens.inference.clinical.table import is_missing, read_number

FURTHEST = 3.0
"""Standard deviations from the mean at which a number is cut off: an age in months
or a slip of the pen must not carry a decision away."""


class State(StrEnum):
    """What became of a value."""

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
        As the table's heading has it.
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
        As the table's heading has it.
    categories
        In lower case, in order.
    shares
        Of each among the patients who have a value, 0 to 1.
    missing_share
        As of `NumberColumn`.
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
            In any mixture of cases; empty where missing.
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
        By column.
    """

    features: NDArray[np.float64]
    states: Mapping[str, State]

    def of_state(self, state: State) -> tuple[str, ...]:
        """Names of the columns whose value became this."""
        return tuple(name for name, found in self.states.items() if found is state)


def encode(columns: Sequence[Column], row: Mapping[str, Any]) -> Encoded:
    """Turn a patient's values into numbers.

    Parameters
    ----------
    columns
        That were learned.
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
