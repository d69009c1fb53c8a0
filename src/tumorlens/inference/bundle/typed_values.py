"""Read typed values out of a JSON object, or say which one is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from tumorlens.errors import BundleError

_LARGEST = 1e300
"""Keeps out infinities, NaN and whole numbers that no float can hold."""


@dataclass(frozen=True)
class Reader:
    """A JSON object whose values are checked as they are read.

    Parameters
    ----------
    fields
        The object.
    where
        Its place, for messages: the file, then the keys that lead here.

    Every method raises `BundleError` where the value is not of its kind.
    """

    fields: Mapping[str, Any]
    where: str

    def refuse(self, key: str, wanted: str) -> NoReturn:
        """Say that a value is not what it has to be."""
        if key not in self.fields:
            raise BundleError(f"{self.where} has no {key!r} ({wanted}).")
        value = str(self.fields[key])[:80]
        raise BundleError(f"{self.where}: {key!r} is {value!r}, not {wanted}.")

    def text(self, key: str) -> str:
        """Return text that is not empty."""
        value = self.fields.get(key)
        if not isinstance(value, str) or not value:
            self.refuse(key, "text")
        return value

    def number(self, key: str) -> float:
        """Return a finite number."""
        value = self.fields.get(key)
        if value is None or not _is_number(value):
            self.refuse(key, "a number")
        return float(value)

    def share(self, key: str) -> float:
        """Return a number in [0, 1]."""
        value = self.number(key)
        if not 0.0 <= value <= 1.0:
            self.refuse(key, "a number from 0 to 1")
        return value

    def whole(self, key: str, least: int) -> int:
        """Return a whole number of at least `least`."""
        value = self.fields.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self.refuse(key, f"a whole number from {least}")
        return value

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """Return a list of `count` finite numbers."""
        value = self.fields.get(key)
        if (
            not isinstance(value, list)
            or len(value) != count
            or not all(map(_is_number, value))
        ):
            self.refuse(key, f"a list of {count} numbers")
        return tuple(float(item) for item in value)

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.fields.get(key)
        if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
            self.refuse(key, "a list of texts")
        return tuple(value)

    def rows(self, key: str, count: int, width: int) -> list[list[float]]:
        """Return `count` lists of `width` finite numbers each."""
        value = self.fields.get(key)
        if (
            not isinstance(value, list)
            or len(value) != count
            or not all(isinstance(row, list) and len(row) == width for row in value)
            or not all(_is_number(item) for row in value for item in row)
        ):
            self.refuse(key, f"{count} lists of {width} numbers")
        return [[float(item) for item in row] for row in value]

    def items(self, key: str) -> Iterator[Reader]:
        """Go through a list of objects."""
        value = self.fields.get(key)
        if not isinstance(value, list) or not all(isinstance(x, dict) for x in value):
            self.refuse(key, "a list of objects")
        for place, item in enumerate(value):
            yield Reader(item, f"{self.where}: {key}[{place}]")

    def object(self, key: str) -> Reader:
        """Return an object, as a reader of its own."""
        value = self.fields.get(key)
        if not isinstance(value, dict):
            self.refuse(key, "an object")
        return Reader(value, f"{self.where}: {key}")

    def objects(self, key: str) -> Iterator[tuple[str, Reader]]:
        """Go through an object whose values are objects."""
        inner = self.object(key)
        for name in inner.fields:
            yield name, inner.object(name)


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -_LARGEST < value < _LARGEST
    )
