"""What `import tumorlens` gives: names, signatures, attributes of what it returns."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tumorlens
from tests.contracts.conftest import Compare
from tumorlens import taxonomy

TEXTS = (str, bytes, int, float, bool, Path, type(None))


def test_names_and_signatures(compare: Compare) -> None:
    found = {name: _told(getattr(tumorlens, name)) for name in tumorlens.__all__}
    compare("python-api", found)


def test_attributes_of_what_is_returned(
    picture: Path,
    volume: Path,
    columns_bundle: Path,
    compare: Compare,
    tmp_path: Path,
) -> None:
    classifier = tumorlens.load_classifier(columns_bundle, threads=1)
    text = tmp_path / "text.png"
    text.write_text("no picture")
    study = tumorlens.read(volume)
    returned = [
        classifier.predict(picture, clinical={"age": 50, "sex": "F"}),
        *classifier.predict_many([text]),
        study,
        classifier.bundle,
        *classifier.predict_slices(study.series[0].slices[5:6]),
    ]
    # Of the bundle only its own attributes: what they hold is inside.
    known: dict[str, dict[str, Any]] = {}
    for value in returned:
        for item in _objects(value, deep=value is not classifier.bundle):
            told = _of_class(type(item))
            name = type(item).__name__
            assert known.setdefault(name, told) == told
    compare("python-attributes", known)


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "array", "study"])
def test_a_picture_may_be_given_as(
    kind: str, picture: Path, slices_bundle: Path
) -> None:
    given: dict[str, Any] = {
        "path": picture,
        "text": str(picture),
        "bytes": picture.read_bytes(),
        "array": np.zeros((64, 64), np.uint8),
        "study": tumorlens.read(picture),
    }
    classifier = tumorlens.load_classifier(slices_bundle, threads=1)
    assert isinstance(classifier.predict(given[kind]), tumorlens.Prediction)
    several = classifier.predict([given[kind]] * 2)
    assert isinstance(several, list)
    assert len(several) == 2


def test_classes_and_verdicts(compare: Compare) -> None:
    found = {
        name: _of_class(value)
        for name, value in vars(taxonomy).items()
        if isinstance(value, type) and value.__module__ == taxonomy.__name__
    }
    assert found
    compare("taxonomy", found)


def _told(value: Any) -> Any:
    if isinstance(value, type):
        return _of_class(value)
    return _signature(value) if callable(value) else type(value).__name__


def _of_class(kind: type) -> dict[str, Any]:
    """Say which public attributes a class has, and how its methods are called."""
    if issubclass(kind, enum.Enum):
        return {item.name: item.value for item in kind}
    told: dict[str, Any] = {}
    if dataclasses.is_dataclass(kind):
        for place, field in enumerate(dataclasses.fields(kind)):
            optional = (
                field.default is not dataclasses.MISSING
                or field.default_factory is not dataclasses.MISSING
            )
            told[field.name] = f"field {place}" + (", optional" if optional else "")
    for name, value in inspect.getmembers(kind):
        if name.startswith("_") or name in told:
            continue
        if issubclass(kind, str) and hasattr(str, name):
            continue
        if isinstance(value, property):
            told[name] = "property"
        elif callable(value):
            told[name] = _signature(value)
    return told


def _signature(value: Any) -> list[str]:
    """One line a parameter: types are for mypy, and may be written otherwise."""
    return [
        str(item.replace(annotation=inspect.Parameter.empty))
        + (", by name only" if item.kind is item.KEYWORD_ONLY else "")
        for item in inspect.signature(value).parameters.values()
    ]


def _objects(value: Any, deep: bool = True) -> Iterator[Any]:
    """Find every object of a class of TumorLens that a value holds."""
    if isinstance(value, enum.Enum):
        yield value
    elif isinstance(value, TEXTS):
        return
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _objects(key)
            yield from _objects(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _objects(item)
    elif type(value).__module__.partition(".")[0] == "tumorlens":
        yield value
        names = [name for name in dir(value) if not name.startswith("_")]
        for name in names if deep else ():
            with warnings.catch_warnings():
                # Old names go on working for one release.
                warnings.simplefilter("ignore", DeprecationWarning)
                attribute = getattr(value, name)
            if not callable(attribute):
                yield from _objects(attribute)
