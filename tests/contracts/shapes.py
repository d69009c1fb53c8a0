"""The shape of JSON without its values, and how two differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_NAMES = {str: "text", bool: "boolean", int: "integer", float: "number"}
_INTERVAL = {"value", "low", "high"}


def shape(*documents: Any) -> dict[str, str]:
    """Say which keys documents have, and of which types.

    Parameters
    ----------
    documents
        Of the same kind, as `json.loads` gives them.

    Returns
    -------
    dict
        Types by path, such as ``[].box.x0: integer``. A key that only some of the
        objects have ends in ``?``; several types stand with bars between. Objects of
        a value with its interval stand in one line.
    """
    types: dict[str, set[str]] = {}
    _add(list(documents), "", types)
    return {path: "|".join(sorted(kinds)) for path, kinds in types.items()}


def _add(values: list[Any], path: str, types: dict[str, set[str]]) -> None:
    objects = [
        value for value in values if isinstance(value, dict) and set(value) != _INTERVAL
    ]
    lists = [value for value in values if isinstance(value, list)]
    kinds = {_kind(value) for value in values}
    items = [item for value in lists for item in value]
    # What stands below it tells that it is an object or a list.
    if not kinds <= {"object", "list"} or not (any(objects) or items):
        types[path or "."] = kinds
    for key in dict.fromkeys(key for item in objects for key in item):
        found = [item[key] for item in objects if key in item]
        sometimes = "?" if len(found) < len(objects) else ""
        _add(found, f"{path}.{key}{sometimes}".removeprefix("."), types)
    if items:
        _add(items, f"{path}[]", types)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "value with low and high" if set(value) == _INTERVAL else "object"
    if isinstance(value, list):
        return "list"
    return _NAMES[type(value)]


def differences(recorded: Any, found: Any) -> list[str]:
    """Say line by line what is gone, new, or changed.

    Parameters
    ----------
    recorded, found
        Plain JSON.
    """
    before, after = dict(_leaves(recorded)), dict(_leaves(found))
    lines = [f"  gone: {key} = {before[key]}" for key in before if key not in after]
    lines += [f"  new: {key} = {after[key]}" for key in after if key not in before]
    lines += [
        f"  changed: {key} was {before[key]}, is {after[key]}"
        for key in before
        if key in after and before[key] != after[key]
    ]
    return lines


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path} > {key}" if path else key)
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from _leaves(item, f"{path}[{place}]")
    else:
        yield path, repr(value)
