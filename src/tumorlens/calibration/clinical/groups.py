"""Groups of patients by sex and age, in which a model has to be as good."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from tumorlens.inference.clinical.columns import category, read_number

_SEX = {"sex", "gender"}
_AGE_BANDS = ((18.0, "under 18"), (40.0, "18 to 39"), (60.0, "40 to 59"))
_OLDEST = "60 and over"


def groups_of_patients(rows: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Find the columns on sex and age, and name each row's group.

    Parameters
    ----------
    rows
        N of them: values by column, empty where missing.

    Returns
    -------
    dict
        By column: N names, empty where there is no value. A column is on sex or
        age where its name says so (``age``, ``Age_years``, ``gender``); ages
        are in years.
    """
    found: dict[str, list[str]] = {}
    for name in rows[0] if rows else ():
        words = set(re.split(r"[^a-z]+", name.lower()))
        group: Callable[[str], str]
        if words & _SEX:
            group = category
        elif "age" in words:
            group = _age_band
        else:
            continue
        found[name] = [group(row[name]) for row in rows]
    return {name: parts for name, parts in found.items() if len(set(parts) - {""}) > 1}


def _age_band(text: str) -> str:
    age = read_number(text)
    if age is None:
        return ""
    return next((name for below, name in _AGE_BANDS if age < below), _OLDEST)
