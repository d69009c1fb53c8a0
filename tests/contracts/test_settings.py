"""The table of settings, and the names of all errors."""

from __future__ import annotations

from typing import Any

from tests.contracts.conftest import Compare
from tumorlens import errors
from tumorlens.settings import NODE_LIMITS, SETTINGS, Setting


def test_settings(compare: Compare) -> None:
    compare("settings", {name: _facts(row) for name, row in SETTINGS.items()})


def test_limits_of_the_node(compare: Compare) -> None:
    compare("node-limits", {name: _facts(row) for name, row in NODE_LIMITS.items()})


def _facts(row: Setting) -> dict[str, Any]:
    return {
        "option": row.option,
        "environment": row.environment,
        "kind": row.kind,
        "default": row.default,
        "low": row.low,
        "high": row.high,
    }


def test_errors_and_their_codes(compare: Compare) -> None:
    found: dict[str, Any] = {}
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            parents = [item.__name__ for item in value.__mro__[1:-2]]
            found[name] = {"code": getattr(value, "code", None), "is a": parents}
    assert found
    compare("errors", found)
