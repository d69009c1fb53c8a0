"""Checks a data set, and sums up what it holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tumorlens.data.duplicates.copies import take_fingerprints
from tumorlens.data.duplicates.fingerprint import Fingerprint
from tumorlens.data.findings import Finding, arrange, find_all, part_of, unreadable
from tumorlens.data.manifest import Record
from tumorlens.taxonomy import CLASSES


@dataclass(frozen=True)
class Summary:
    """What the pictures of one source and class are like.

    Parameters
    ----------
    source, label
        Empty where unknown.
    pictures, patients
        How many; patients that are not named do not count.
    splits
        Pictures by split (or fold).
    sizes
        The commonest width and height in pixels, with their number.
    low, median, high
        Medians, over the pictures, of percentiles 1, 50 and 99 of the grey
        values.
    """

    source: str
    label: str
    pictures: int
    patients: int
    splits: dict[str, int]
    sizes: tuple[tuple[str, int], ...]
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Parameters
    ----------
    pictures
        How many were looked at.
    findings
        The ones that invalidate first.
    summaries
        By source and class.
    """

    pictures: int
    findings: tuple[Finding, ...]
    summaries: tuple[Summary, ...]

    @property
    def clean(self) -> bool:
        """Whether no finding invalidates an evaluation."""
        return not any(finding.invalidates for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return all as a JSON object (schema ``tumorlens-audit/1``)."""
        return {
            "schema": "tumorlens-audit/1",
            "pictures": self.pictures,
            "clean": self.clean,
            "findings": [
                {**vars(finding), "examples": list(finding.examples)}
                for finding in self.findings
            ],
            "summaries": [
                {**vars(summary), "sizes": dict(summary.sizes)}
                for summary in self.summaries
            ],
        }


def audit(
    records: Sequence[Record],
    *,
    threads: int = 2,
    progress: Callable[[int], None] = lambda done: None,
) -> Audit:
    """Check a data set.

    Parameters
    ----------
    records
        The set.
    threads
        Readers at work at a time.
    progress
        Called with the number of pictures read so far.
    """
    prints, problems = take_fingerprints(records, threads=threads, progress=progress)
    readable = [
        (record, item)
        for record, item in zip(records, prints, strict=True)
        if item is not None
    ]
    found = find_all(records, [r for r, _ in readable], [p for _, p in readable])
    return Audit(
        len(records),
        tuple(arrange([unreadable(problems), *found])),
        tuple(_summaries(readable)),
    )


def _summaries(readable: list[tuple[Record, Fingerprint]]) -> Iterable[Summary]:
    rows = defaultdict(list)
    for record, item in readable:
        rows[record.source, record.label].append((record, item))
    order = [*CLASSES, None]
    for source, label in sorted(rows, key=lambda key: (key[0], order.index(key[1]))):
        part = rows[source, label]
        sizes = Counter(f"{item.width}x{item.height}" for _, item in part)
        low, median, high = np.median(
            [(item.low, item.median, item.high) for _, item in part], axis=0
        ).tolist()
        splits = Counter(part_of(record) for record, _ in part)
        yield Summary(
            source=source,
            label=label or "",
            pictures=len(part),
            patients=len({record.patient for record, _ in part} - {""}),
            splits=dict(sorted(splits.items())),
            sizes=tuple(sizes.most_common(3)),
            low=low,
            median=median,
            high=high,
        )
