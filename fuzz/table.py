"""What came of the files of all formats: as a table, and as JSON to go on from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fuzz.campaign import ROOT, Campaign


class Run(NamedTuple):
    """The files that one engine made of one format.

    Parameters
    ----------
    format, engine
        Their names.
    files
        How many were read.
    seconds
        Wall time; runs beside it take of the same processors.
    outcomes
        ``ok`` and the codes of errors, with counts; not of guided files.
    failures
        Saved files that broke a promise, from the root of the project.
    """

    format: str
    engine: str
    files: int
    seconds: float
    outcomes: dict[str, int]
    failures: list[str]

    @classmethod
    def of(cls, found: Campaign, seconds: float) -> Run:
        """Put down a campaign, and how long it took."""
        failures = [str(path.relative_to(ROOT)) for path in found.failures]
        seen = dict(found.seen.most_common())
        return cls(
            found.name, found.engine, found.files, round(seconds, 1), seen, failures
        )

    def line(self) -> str:
        """Say in a line what came of it."""
        told = ", ".join(f"{name} {count}" for name, count in self.outcomes.items())
        said = f"{self.format}, {self.engine}: {self.files} files"
        return f"{said} in {self.seconds:.0f} s{f' ({told})' if told else ''}"


def table(runs: Iterable[Run]) -> str:
    """Make a Markdown table, a row for each format and engine, and the sum."""
    rows = [
        "| Format | Engine | Files | Read | Refused | Broke a promise | Seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    total = [0, 0, 0.0]
    for run in runs:
        read = run.outcomes.get("ok", 0)
        refused = sum(run.outcomes.values()) - read - run.outcomes.get("fault", 0)
        refused -= run.outcomes.get("died", 0)
        known = (f"{read:,}", f"{refused:,}") if run.outcomes else ("", "")
        broke = len(run.failures)
        rows.append(
            f"| {run.format} | {run.engine} | {run.files:,} | {known[0]} | {known[1]} "
            f"| {broke} | {run.seconds:.0f} |"
        )
        total = [total[0] + run.files, total[1] + broke, total[2] + run.seconds]
    rows.append(f"| all | | {total[0]:,} | | | {total[1]} | {total[2]:.0f} |")
    return "\n".join(rows)


def save(path: Path, count: int, seed: int, runs: Iterable[Run]) -> None:
    """Write all runs, so that `load` gives them again."""
    document = {"count": count, "seed": seed, "runs": [run._asdict() for run in runs]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load(path: Path, count: int, seed: int) -> list[Run]:
    """Return the runs of a file; none where it is missing or of other files."""
    if not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if (document["count"], document["seed"]) != (count, seed):
        return []
    return [Run(**item) for item in document["runs"]]
