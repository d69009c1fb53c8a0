"""What was measured, beside what, and whether that is what was asked."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.slice.session import available_cores, processor_facts

MEGABYTE = 1e6

_PACKAGES = (
    "tumorlens",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "onnxruntime",
    "flask",
    "waitress",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
)


@dataclass(frozen=True)
class Amount:
    """A measured value.

    Parameters
    ----------
    value, unit
        The median, where it was measured several times.
    low, high
        The quartiles; None where it was measured once.
    """

    value: float
    unit: str
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """Write value, unit and quartiles."""
        text = f"{short(self.value)} {self.unit}"
        if self.low is None or self.high is None:
            return text
        return f"{text} ({short(self.low)} to {short(self.high)})"


@dataclass(frozen=True)
class Asked:
    """A bound on ``ours`` or on the ``ratio``.

    Parameters
    ----------
    what
        ``ours`` or ``ratio``.
    bound
        At most this, or at least this.
    at_least
        Which of the two.
    """

    what: str
    bound: float
    at_least: bool = False

    def __str__(self) -> str:
        """Write the bound in words."""
        sign = "at least" if self.at_least else "at most"
        return f"{self.what} {sign} {self.bound:g}"


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Parameters
    ----------
    name
        What was measured.
    ours
        How TumorLens does.
    beside, beside_name
        What it is compared with; None and empty where there is nothing.
    ratio, reads
        How the two compare, and how to say it: 1.3 "times as long".
    asked
        What the figure has to be; None where nothing was asked.
    """

    name: str
    ours: Amount
    beside_name: str = ""
    beside: Amount | None = None
    ratio: float | None = None
    reads: str = ""
    asked: Asked | None = None

    @property
    def met(self) -> bool | None:
        """Whether it is what was asked; None where nothing was."""
        if self.asked is None:
            return None
        value = self.ratio if self.asked.what == "ratio" else self.ours.value
        if value is None:
            return None
        at_least = self.asked.at_least
        return value >= self.asked.bound if at_least else value <= self.asked.bound

    def cells(self) -> tuple[str, ...]:
        """Return the row's texts, in the order of the table's columns."""
        return (
            self.name,
            str(self.ours),
            f"{self.beside_name}: {self.beside}" if self.beside else "",
            "" if self.ratio is None else f"{short(self.ratio)} {self.reads}",
            "" if self.asked is None else str(self.asked),
            {True: "yes", False: "no", None: ""}[self.met],
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        asked = self.asked
        return {
            "name": self.name,
            "ours": vars(self.ours),
            "beside_name": self.beside_name,
            "beside": None if self.beside is None else vars(self.beside),
            "ratio": self.ratio,
            "ratio_reads": self.reads,
            "asked": None if asked is None else str(asked),
            "met": self.met,
            "cells": list(self.cells()),
        }


COLUMNS = ("Figure", "Ours", "Beside it", "Ratio", "Asked", "Met")

Measure: TypeAlias = Callable[..., Iterator[Figure | str]]
"""Takes a bundle first; yields figures, and sentences on what was left out."""


def times(
    name: str,
    ours: Amount,
    beside_name: str,
    beside: Amount,
    reads: str,
    asked: Asked | None = None,
) -> Figure:
    """Compare: a ratio "as fast" is beside to ours for durations, else ours to it."""
    durations = ours.unit in ("ms", "s")
    ratio = ours.value / beside.value
    if reads == "times as fast" and durations:
        ratio = 1.0 / ratio
    return Figure(name, ours, beside_name, beside, ratio, reads, asked)


def short(value: float) -> str:
    """Write three figures or so."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def show(groups: Sequence[tuple[str, Sequence[Figure]]]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    # A pipe has no width of its own; the table has to stay whole in a file.
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table(*COLUMNS)
    for topic, figures in groups:
        table.add_section()
        table.add_row(f"[bold]{topic}[/bold]")
        for figure in figures:
            table.add_row(*figure.cells())
    console.print(table)


def machine(model: Path) -> dict[str, Any]:
    """Return what a reader must know of the machine; nothing that names it."""
    bundle = load_bundle(model)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": processor_facts().get("model name") or platform.processor(),
        "cores": available_cores(),
        "logical_processors": len(os.sched_getaffinity(0)),
        "memory_gb": round(
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1
        ),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "model": f"{bundle.name} {bundle.version}",
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
