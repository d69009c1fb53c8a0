"""What `tumorlens predict` shows in the terminal: rows, and how far it is."""

from __future__ import annotations

import shutil
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from tumorlens.inference.slice.results import Failure, Prediction
from tumorlens.taxonomy import INFO, Verdict, decision_title

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_NARROWEST = 16
_REST = "  {decision:<34} {tumor:>7}  {predicted:<24} {domain:>6}"
_REST_WIDTH = len(_REST.format(decision="", tumor="", predicted="", domain=""))


class Screen:
    """Prints a row for each result as it comes, with a bar below on a terminal.

    Parameters
    ----------
    total
        How many files there are.
    rows
        Whether to print rows; errors are printed in any case.
    """

    def __init__(self, total: int, rows: bool) -> None:
        self._rows = rows
        self._total = total
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._notes: tuple[str, ...] = ()
        columns = shutil.get_terminal_size((120, 24)).columns
        self._width = max(_NARROWEST, columns - _REST_WIDTH - 1)
        self._shorten = sys.stdout.isatty()

    def __enter__(self) -> Self:
        """Start the bar and print the heads of the columns."""
        # Imported only where a bar is shown: rich takes a while to load.
        if self._total > 1 and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("Reading", total=self._total)
        if self._rows:
            self._line(
                "File",
                decision="Decision",
                tumor="Tumour",
                predicted="Most probable",
                domain="Domain",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, result: Prediction | Failure) -> None:
        """Print one result."""
        if isinstance(result, Failure):
            if self._rows:
                self._line(result.source, decision=f"failed: {result.code}")
            click.echo(f"Error: {result.message} {result.hint}".rstrip(), err=True)
        elif self._rows:
            self._show_prediction(result)
        first = isinstance(result, Failure) or result.index == 0
        if self._bar is not None and self._task is not None and first:
            self._bar.advance(self._task)

    def _show_prediction(self, result: Prediction) -> None:
        decision = result.decision
        name = result.source
        if result.index > 0:
            name = f"{name} slice {result.index + 1}"
        share = decision.probabilities[decision.predicted]
        tumor = f"{decision.p_tumor:.1%}"
        predicted = f"{INFO[decision.predicted].title} {share:.1%}"
        # What the model does not know it cannot call free of tumour, not even here.
        if decision.label is Verdict.NOT_BRAIN_MRI:
            tumor = predicted = "-"
        self._line(
            name,
            decision=decision_title(decision.label),
            tumor=tumor,
            predicted=predicted,
            domain=f"{decision.domain_score:.2f}",
        )
        # Of a file of many slices they are said once.
        for note in result.notes if result.notes != self._notes else ():
            click.echo(f"  Note: {note}")
        self._notes = result.notes if result.index else result.notes

    def _line(self, name: str, decision: str, **cells: str) -> None:
        if self._shorten and len(name) > self._width:
            name = "…" + name[1 - self._width :]
        empty = {"tumor": "", "predicted": "", "domain": ""}
        rest = _REST.format(decision=decision, **(empty | cells))
        click.echo(f"{name:<{self._width}}{rest}".rstrip())
