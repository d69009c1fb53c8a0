"""Subgroups of a validation: each beside the others of its kind, and above a margin.

Tested in `tests/scale/validation/test_study.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from tumorlens.scale.federation.site_counts import as_part, ratio_figure
from tumorlens.scale.validation.protocol import Multiplicity, Protocol
from tumorlens.statistics import Figure

SITE = "federated_site"
"""The kind of subgroup that every validation has."""

RATIOS = {
    "sensitivity": "tumor_sensitivity",
    "specificity": "tumor_specificity",
    "accuracy": "accuracy",
}
_Z = NormalDist().inv_cdf(0.975)

Sums = list[float]
"""P, x, n, xx, xn, nn of `site_counts`, over patients."""


def adjusted_p_values(
    p_values: Sequence[float | None], method: Multiplicity
) -> list[float | None]:
    """Correct p values for their number.

    Parameters
    ----------
    p_values
        In the order of the protocol; None where nothing could be tested, which counts
        as a test that failed.
    method
        ``holm`` (1979) and ``bonferroni`` for any order; ``sequence`` tests each only
        where all before it are met, without further correction; ``none`` corrects
        nothing.

    Returns
    -------
    list
        To be compared with the error as it stands, in the same order.
    """
    count = len(p_values)
    filled = [1.0 if p is None else p for p in p_values]
    if method == "bonferroni":
        adjusted = [min(1.0, count * p) for p in filled]
    elif method == "sequence":
        adjusted = [max(filled[: place + 1]) for place in range(count)]
    elif method == "holm":
        adjusted, highest = [1.0] * count, 0.0
        for place, row in enumerate(sorted(range(count), key=filled.__getitem__)):
            highest = max(highest, min(1.0, (count - place) * filled[row]))
            adjusted[row] = highest
    else:
        adjusted = filled
    return [
        None if p is None else corrected
        for p, corrected in zip(p_values, adjusted, strict=True)
    ]


def p_above(figure: Figure | None, margin: float) -> float | None:
    """One-sided p of a figure above a margin, by its interval's width."""
    if figure is None:
        return None
    # The lower half is what is tested; at 1 the upper one has no width.
    error = (figure["value"] - figure["low"]) / _Z
    if error <= 0.0:
        return None
    return 1.0 - NormalDist().cdf((figure["value"] - margin) / error)


def subgroup_tests(
    protocol: Protocol, sites: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Compare every subgroup with the others of its kind, and with the margin.

    Parameters
    ----------
    protocol
        Its plan for subgroups says which figures, which margin and which correction.
    sites
        What `site_counts` made, by the site's name.

    Returns
    -------
    dict
        Plain JSON: the plan, and ``tests``, one for each subgroup and endpoint, with
        ``figure``, ``patients``, ``difference`` (figure minus that of the other
        subgroups of its kind, with its 95 % interval), ``p`` and ``adjusted_p`` of
        the difference (two-sided), and where the plan has a margin ``margin_p`` (one-
        sided), ``adjusted_margin_p`` and ``met``. The correction is over all
        subgroups of all kinds, for each endpoint by itself.
    """
    plan = protocol.subgroups
    kinds = _sums_by_kind(protocol, sites)
    tests: list[dict[str, Any]] = []
    for endpoint in plan.endpoints:
        family = [
            {"kind": kind, "name": name, "endpoint": endpoint, **_compared(parts, name)}
            for kind, by_endpoint in kinds.items()
            for parts in (by_endpoint[endpoint],)
            for name in parts
        ]
        _correct(family, "p", plan.multiplicity)
        if plan.margin is not None:
            for item in family:
                item["margin_p"] = p_above(item["figure"], plan.margin)
            _correct(family, "margin_p", plan.multiplicity)
            for item in family:
                corrected = item["adjusted_margin_p"]
                item["met"] = corrected is not None and corrected < protocol.alpha
        tests += family
    return {
        "endpoints": list(plan.endpoints),
        "margin": plan.margin,
        "multiplicity": plan.multiplicity,
        "alpha": protocol.alpha,
        "tests": tests,
    }


def _sums_by_kind(
    protocol: Protocol, sites: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, Sums]]]:
    """Gather sums by kind, endpoint and subgroup; those of a subgroup over sites."""
    parts_by_kind: dict[str, list[tuple[str, Mapping[str, Any]]]] = {
        SITE: [(name, as_part(counts["all"])) for name, counts in sites.items()]
    }
    for kind in protocol.groups:
        parts_by_kind[kind] = [
            part
            for counts in sites.values()
            for part in sorted(
                counts["groups"].get(kind, {"parts": {}})["parts"].items()
            )
        ]
    found: dict[str, dict[str, dict[str, Sums]]] = {}
    for kind, parts in parts_by_kind.items():
        found[kind] = {endpoint: {} for endpoint in protocol.subgroups.endpoints}
        for endpoint, by_name in found[kind].items():
            for name, part in parts:
                sums = part["ratios"].get(RATIOS[endpoint])
                if sums is not None:
                    before = by_name.get(name, [0.0] * len(sums))
                    by_name[name] = _added([before, sums])
    return found


def _added(rows: Sequence[Sums]) -> Sums:
    return [sum(column) for column in zip(*rows, strict=True)]


def _compared(parts: Mapping[str, Sums], name: str) -> dict[str, Any]:
    figure = ratio_figure(parts[name])
    others = [sums for other, sums in parts.items() if other != name]
    rest = ratio_figure(_added(others)) if others else None
    found: dict[str, Any] = {
        "figure": figure,
        "patients": round(parts[name][0]),
        "difference": None,
        "p": None,
    }
    if figure is None or rest is None:
        return found
    value = figure["value"] - rest["value"]
    # Patients in several subgroups, as of planes, make this too wide, never too narrow:
    # figures of the same patients rise and fall together.
    error = (_error(figure) ** 2 + _error(rest) ** 2) ** 0.5
    if error > 0.0:
        found["difference"] = {
            "value": value,
            "low": max(-1.0, value - _Z * error),
            "high": min(1.0, value + _Z * error),
        }
        found["p"] = 2.0 * (1.0 - NormalDist().cdf(abs(value) / error))
    return found


def _error(figure: Figure) -> float:
    """Take the wider half of the interval: at 0 and 1 the other has no width."""
    halves = (figure["value"] - figure["low"], figure["high"] - figure["value"])
    return max(halves) / _Z


def _correct(family: Sequence[dict[str, Any]], key: str, method: Multiplicity) -> None:
    corrected = adjusted_p_values([item[key] for item in family], method)
    for item, p in zip(family, corrected, strict=True):
        item[f"adjusted_{key}"] = p
