"""Audit of a data set: leaks, copies, wrong labels, dead files, and a summary.

The findings are leaks between splits, copies, contradicting labels, unreadable files.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.duplicates import (
    Fingerprint,
    Pair,
    copies,
    groups,
    measured_pairs,
    take_fingerprints,
)
from tumorlens.data.manifest import Record, class_names
from tumorlens.taxonomy import CLASSES


@dataclass(frozen=True)
class Summary:
    """Sizes, greys and numbers of the pictures of one source and class.

    Parameters
    ----------
    source, label
        Empty where unknown.
    pictures, patients
        Numbers of either; patients that are not named do not count.
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
    """Result of an audit.

    Parameters
    ----------
    pictures
        Number of pictures that were read.
    findings
        Findings; those that invalidate come first.
    summaries
        Summaries, one for each source and class.
    """

    pictures: int
    findings: tuple[Finding, ...]
    summaries: tuple[Summary, ...]

    @property
    def clean(self) -> bool:
        """True where no finding invalidates an evaluation, and patients are named.

        Where they are not, nobody can tell whether one is on both sides of a split.
        """
        unnamed = any(finding.code == UNKNOWN_PATIENTS for finding in self.findings)
        return not (self.invalid or unnamed)

    @property
    def invalid(self) -> bool:
        """True where a finding makes an evaluation worthless."""
        return any(finding.invalidates for finding in self.findings)

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
    findings = find_all(records, [r for r, _ in readable], [p for _, p in readable])
    return Audit(
        len(records),
        tuple(arrange([unreadable(problems), *findings])),
        tuple(_summaries(readable)),
    )


def _summaries(readable: list[tuple[Record, Fingerprint]]) -> Iterable[Summary]:
    own = [record for record, _ in readable]
    rows = defaultdict(list)
    for record, item in readable:
        rows[record.source, record.label].append((record, item))
    order: list[str | None] = [*(class_names(own) or CLASSES), None]
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


COLORFUL = 0.02
"""Mean spread of the colour channels from which a picture counts as colour."""

UNKNOWN_PATIENTS = "unknown_patients"
"""Code of the finding that pictures name no patient."""

TELLING = 0.8
"""Area under the ROC curve from which a property that has nothing to do with the
anatomy tells a class from the others."""
FEWEST_TO_TELL = 10
"""Pictures with a class, and without, that such a figure needs."""

_NAMED = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Parameters
    ----------
    code
        Code of the finding, for machines.
    invalidates
        Whether figures measured on the set as it stands cannot be trusted.
    message
        One sentence for people, with the number of cases.
    examples
        The first cases; each names its files or its patient.
    count
        Number of cases.
    """

    code: str
    invalidates: bool
    message: str
    examples: tuple[str, ...]
    count: int


def part_of(record: Record) -> str:
    """Name the part that must stay apart from others: the split, or the fold."""
    return f"fold {record.fold}" if record.fold is not None else record.split


def _finding(
    code: str, invalidates: bool, what: str, examples: Iterable[str]
) -> Finding:
    cases = list(examples)
    return Finding(
        code,
        invalidates,
        what.format(count=f"{len(cases):,}"),
        tuple(cases[:_NAMED]),
        len(cases),
    )


def unreadable(problems: list[str]) -> Finding:
    """Count the pictures that could not be read, given a sentence for each."""
    return _finding("unreadable", True, "{count} pictures cannot be read.", problems)


def arrange(findings: Iterable[Finding]) -> list[Finding]:
    """Drop checks that found nothing; put first what invalidates."""
    present = [finding for finding in findings if finding.count]
    return sorted(present, key=lambda finding: not finding.invalidates)


def find_all(
    records: Sequence[Record],
    readable: Sequence[Record],
    prints: Sequence[Fingerprint],
) -> list[Finding]:
    """Run every check that needs no more than records and fingerprints.

    Parameters
    ----------
    records
        The whole set.
    readable, prints
        The records whose picture could be read, and their fingerprints.
    """
    copy_groups = _Copies(readable, prints, copies(prints))
    return [
        copy_groups.across_splits(),
        copy_groups.conflicting(),
        copy_groups.across_patients(),
        copy_groups.exact(),
        copy_groups.near(),
        _patients_across(records),
        _missing_masks(records),
        _blank(readable, prints),
        _colour(readable, prints),
        _unnamed_patients(records),
        *_given_away(readable, prints),
    ]


@dataclass(frozen=True)
class _Copies:
    """Checks over pictures that are copies of one another."""

    records: Sequence[Record]
    prints: Sequence[Fingerprint]
    pairs: list[Pair]

    def across_splits(self) -> Finding:
        # A copy of a copy crosses splits too, so whole groups are looked at.
        return _finding(
            "copies_across_splits",
            True,
            "{count} groups of copies lie in more than one split: "
            "what is tested was seen in training.",
            self._groups_that_differ(part_of),
        )

    def conflicting(self) -> Finding:
        return _finding(
            "conflicting_labels",
            True,
            "{count} pairs of copies have different labels.",
            (self._words(pair) for pair in self.pairs if self._contradict(pair)),
        )

    def across_patients(self) -> Finding:
        return _finding(
            "copies_across_patients",
            False,
            "{count} groups of copies are listed under different patients.",
            self._groups_that_differ(lambda record: record.patient),
        )

    def exact(self) -> Finding:
        return _finding(
            "exact_duplicates",
            False,
            "{count} pictures equal an earlier one pixel by pixel.",
            (self._words(pair) for pair in self.pairs if self._exact(pair)),
        )

    def near(self) -> Finding:
        return _finding(
            "near_duplicates",
            False,
            "{count} pairs of pictures are nearly equal "
            "(neighbours in a series, or copies that were changed).",
            (self._words(pair) for pair in self.pairs if not self._exact(pair)),
        )

    def _exact(self, pair: Pair) -> bool:
        one, other = self.prints[pair.first], self.prints[pair.second]
        return one.pixels_digest == other.pixels_digest

    def _contradict(self, pair: Pair) -> bool:
        one, other = self.records[pair.first], self.records[pair.second]
        if one.label is None or other.label is None or one.label == other.label:
            return False
        # Within one series a tumour ends between two slices that are alike.
        neighbours = bool(one.patient) and one.patient == other.patient
        return self._exact(pair) or not neighbours

    def _groups_that_differ(self, value: Callable[[Record], str]) -> Iterator[str]:
        members = defaultdict(list)
        group_numbers = groups(
            len(self.records), measured_pairs(self.pairs, self.records)
        )
        for record, group in zip(self.records, group_numbers, strict=True):
            members[group].append(record)
        for same in members.values():
            # One of each kind is enough to show the case.
            kinds = {value(record): record for record in reversed(same)}
            kinds.pop("", None)
            if len(kinds) > 1:
                yield ", ".join(
                    f"{record.path} ({kind})"
                    for kind, record in list(kinds.items())[:4]
                )

    def _words(self, pair: Pair) -> str:
        one, other = self.records[pair.first], self.records[pair.second]
        likeness = f"{pair.similarity:.3f}"
        if self._exact(pair):
            first, second = self.prints[pair.first], self.prints[pair.second]
            same_file = first.bytes_digest == second.bytes_digest
            likeness = "same file" if same_file else "same pixels"
        mirrored = ", mirrored" if pair.mirrored else ""
        labels = ", ".join(str(record.label or "no label") for record in (one, other))
        return f"{one.path}, {other.path} ({likeness}{mirrored}; {labels})"


def _patients_across(records: Sequence[Record]) -> Finding:
    parts = defaultdict(set)
    for record in records:
        if record.patient and part_of(record):
            parts[record.patient].add(part_of(record))
    return _finding(
        "patients_across_splits",
        True,
        "{count} patients are in more than one split.",
        (
            f"{patient} ({', '.join(sorted(splits))})"
            for patient, splits in sorted(parts.items())
            if len(splits) > 1
        ),
    )


def _missing_masks(records: Sequence[Record]) -> Finding:
    return _finding(
        "missing_masks",
        True,
        "{count} outlines are listed but missing.",
        (str(item.mask) for item in records if item.mask and not item.mask.is_file()),
    )


def _blank(records: Sequence[Record], prints: Sequence[Fingerprint]) -> Finding:
    rows = zip(records, prints, strict=True)
    return _finding(
        "blank",
        False,
        "{count} pictures show nothing.",
        (str(record.path) for record, item in rows if item.blank),
    )


def _colour(records: Sequence[Record], prints: Sequence[Fingerprint]) -> Finding:
    rows = zip(records, prints, strict=True)
    return _finding(
        "colour",
        False,
        "{count} pictures have colours; an MRI has none.",
        (str(record.path) for record, item in rows if item.colorfulness > COLORFUL),
    )


def _unnamed_patients(records: Sequence[Record]) -> Finding:
    return _finding(
        UNKNOWN_PATIENTS,
        False,
        "{count} pictures name no patient: a split can only keep their copies "
        "together.",
        (str(record.path) for record in records if not record.patient),
    )


def _given_away(
    records: Sequence[Record], prints: Sequence[Fingerprint]
) -> Iterator[Finding]:
    """Look for properties of the files that tell a class by themselves."""
    shown = [row.label or row.lesion for row in records]
    brightness = {
        name: np.array([getattr(item, name) for item in prints], np.float64)
        for name in ("low", "median", "high")
    }
    sizes = [f"{item.width}x{item.height}" for item in prints]
    formats = [row.path.suffix.lower() for row in records]
    halves = np.array(
        [hashlib.sha256(row.group.encode()).digest()[0] % 2 for row in records]
    )
    for code, what, scores_of in (
        (
            "class_by_format",
            "the file format",
            lambda is_class: [_cross_fitted(formats, is_class, halves)],
        ),
        (
            "class_by_size",
            "the size in pixels",
            lambda is_class: [_cross_fitted(sizes, is_class, halves)],
        ),
        ("class_by_brightness", "the brightness", lambda _: brightness.values()),
    ):
        yield _finding(
            code,
            False,
            f"{{count}} classes are told by {what} alone: a model may learn that "
            "instead of the anatomy.",
            _told_classes(shown, scores_of),
        )


def _told_classes(
    shown: Sequence[str],
    scores_of: Callable[[NDArray[np.bool_]], Iterable[NDArray[np.float64]]],
) -> Iterator[str]:
    labels = np.array(shown)
    for name in sorted(set(shown) - {""}):
        is_class = labels == name
        if min(is_class.sum(), (~is_class).sum()) < FEWEST_TO_TELL:
            continue
        best = max(_separation(scores, is_class) for scores in scores_of(is_class))
        if best > TELLING:
            yield f"{name} against the others: AUROC {best:.2f}"


def _separation(scores: NDArray[np.float64], is_class: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, in the better direction (ties count half)."""
    values, ranks = np.unique(scores, return_inverse=True)
    inside = np.bincount(ranks[is_class], minlength=len(values))
    outside = np.bincount(ranks[~is_class], minlength=len(values))
    below = np.cumsum(outside) - outside / 2.0
    area = float((inside * below).sum() / (inside.sum() * outside.sum()))
    return max(area, 1.0 - area)


def _cross_fitted(
    kinds: Sequence[str], is_class: NDArray[np.bool_], halves: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Give each picture its kind's share of the class in the other half of patients.

    Among its own it would be told by any kind that occurs once.
    """
    names, places = np.unique(np.array(kinds), return_inverse=True)
    scores = np.zeros(len(kinds))
    for half in (0, 1):
        other = halves != half
        everyone = np.bincount(places[other], minlength=len(names))
        own = np.bincount(places[other & is_class], minlength=len(names))
        # A kind that is new to the other half says nothing: the share of all.
        share = is_class[other].mean() if other.any() else 0.5
        scores[~other] = ((own + share) / (everyone + 1.0))[places[~other]]
    return scores
