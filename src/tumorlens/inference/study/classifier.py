"""A study: every series judged by its sequence, all of them together."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError, SeveralPeopleError
from tumorlens.imaging.dicom.header import patient_of, text
from tumorlens.imaging.study import MRSequence, Series, Study, stacks_of
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import SequenceSum
from tumorlens.inference.classifier import Classifier
from tumorlens.inference.series.by_slices import (
    Progress,
    prediction_of,
    see_slices,
    stated_sequence,
)
from tumorlens.inference.series.classifier import load_series_classifier
from tumorlens.inference.series.decision import SeenSlices, SeriesPrediction
from tumorlens.inference.slice.decision import LIKELIER
from tumorlens.inference.slice.prediction import SequenceEstimate
from tumorlens.inference.slice.session import AUTO
from tumorlens.inference.study.combination import (
    Match,
    Part,
    choose_grid,
    choose_sum,
    combine,
    cut_at,
    match,
)
from tumorlens.inference.study.results import StudyPrediction, StudySeries
from tumorlens.taxonomy import Answer

DRAWN = "It holds a few whole numbers alone, as an outline that somebody drew does."
NOT_MEASURED = "The model was not measured on {sequence}."
NO_WEIGHT = (
    "The model has not learned what {sequence} is worth beside the other sequences."
)
NOT_KNOWN = "Nobody says of which sequence it is."
REFUSED = "It is unlike the brain MRI that the model knows."
EMPTY = "Nothing in it could be judged."

LEARNED = (
    "{names} were weighed together, place by place. Measured slice by slice in "
    "{patients} patients with several sequences, inside hospitals that the weights had "
    "not seen, these told a tumour from none with an AUROC of {auroc}."
)
LEARNED_UNMEASURED = (
    "{names} were weighed together, place by place, as learned from {patients} "
    "patients."
)
EQUAL = (
    "{names} were weighed alike: the model has not learned what each of them is worth "
    "beside the others."
)
ONE_ALONE = "Only {name} counts in this finding."
MISSING = "There was no {names}, which would have counted."
BY_SERIES = (
    "How often the finding for a whole study is right has not been measured; any rates "
    "stated here are those of single series."
)
CONTRADICTED = (
    "{name} by itself shows signs of a tumour, and does not count with the others."
)
OUTVOTED = (
    "{name} by itself shows a tumour, and the sequences together do not. How much each "
    "is worth was learned from gliomas; another tumour may show in one sequence alone."
)
_LEVELS = 12
"""Different values up to which whole numbers look like labels."""


@dataclass(frozen=True)
class JudgedSeries:
    """One series that the network has seen.

    Parameters
    ----------
    series, seen
        What was judged, and what is kept of its slices.
    sequence
        Which MR sequence it is of, and who says so.
    alone
        Prediction for it alone.
    match
        How it comes onto the common grid of a study.
    """

    series: Series
    seen: SeenSlices
    sequence: SequenceEstimate
    alone: SeriesPrediction
    match: Match


class StudyClassifier:
    """Judges all series of one study together.

    Made by `load_study_classifier`. Safe to use from several threads.

    Parameters
    ----------
    model
        A model of slices.
    """

    def __init__(self, model: Classifier) -> None:
        self._model = model

    @property
    def bundle(self) -> Bundle:
        """The model's facts."""
        return self._model.bundle

    def predict(
        self,
        study: Study | Sequence[Series],
        operating_point: str | None = None,
        progress: Progress | None = None,
        trust_names: bool = True,
        seen: Mapping[int, SeriesPrediction] | None = None,
    ) -> StudyPrediction:
        """Judge the series of one study.

        Parameters
        ----------
        study
            All series of one person's visit, at least one, each of several slices; or
            what `read` gave, of which single pictures are left out.
        operating_point
            A name from the bundle; by default the bundle's own choice.
        progress
            Called with the number of slices done and of all slices to judge.
        trust_names
            See `check_one_person`.
        seen
            Predictions of `SeriesClassifier` by place among the series, at the same
            operating point: those series need not be judged again, unless they have
            to be cut anew.

        Returns
        -------
        StudyPrediction
            One finding on the slices of one of the series, and what each series adds.
            Series of sequences that the model was not measured on do not count.

        Raises
        ------
        SeveralPeopleError
            The series are of several people or visits.
        InputError
            There are single pictures alone, or no series is of a sequence that the
            model was measured on.
        SettingError
            The operating point is not in the bundle.
        """
        start = time.perf_counter()
        point = self._model.point(operating_point)
        series = stacks_of(study).series if isinstance(study, Study) else study
        if any(len(item.slices) < 2 for item in series):
            raise InputError(
                "A study is of series of several slices; single pictures were given.",
                "Judge pictures by themselves, or give whole series.",
            )
        stated = [stated_sequence(item) for item in series]
        reasons = [self._not_judged(*pair) for pair in zip(series, stated, strict=True)]
        scans = [
            item
            for item, reason in zip(series, reasons, strict=True)
            if reason != DRAWN
        ]
        check_one_person(scans, trust_names)
        chosen = [row for row, reason in enumerate(reasons) if not reason]
        if not chosen:
            raise self._nothing_to_judge(stated)
        grid = chosen[
            choose_grid(
                [series[row] for row in chosen],
                [stated[row].sequence or row for row in chosen],
                self._grid_candidates([stated[row].sequence for row in chosen]),
            )
        ]
        matches = {row: match(series[grid], series[row]) for row in chosen}
        judged = self._judge(series, matches, point, progress, seen or {})
        return self._summed_up(series, stated, reasons, judged, grid, point, start)

    def _not_judged(self, series: Series, stated: SequenceEstimate) -> str:
        """Say why a series need not be judged; empty where it has to be."""
        if _is_drawn(series):
            return DRAWN
        # Where pixels tell the sequence, a file's name alone is not believed.
        told = stated.header or (
            stated.file_name if self.bundle.sequence_head is None else None
        )
        if told is None or told in self.bundle.known_sequences:
            return ""
        return NOT_MEASURED.format(sequence=told.value)

    def _nothing_to_judge(self, stated: Sequence[SequenceEstimate]) -> InputError:
        there = dict.fromkeys(
            "an unknown sequence" if item.sequence is None else item.sequence.value
            for item in stated
        )
        known = ", ".join(item.value for item in self.bundle.known_sequences)
        return InputError(
            f"The study holds {', '.join(there)}; the model was measured on {known}.",
            "Add a series of such a sequence.",
        )

    def _grid_candidates(self, sequences: Sequence[MRSequence | None]) -> list[int]:
        """List what the grid is chosen from: what counts, if there is any."""
        known = [item for item in sequences if item in self.bundle.known_sequences]
        if not known:
            return list(range(len(sequences)))
        counting = choose_sum(self.bundle.study_model, known)[0].sequences
        return [row for row, item in enumerate(sequences) if item in counting]

    def _judge(
        self,
        series: Sequence[Series],
        matches: Mapping[int, Match],
        point: str,
        progress: Progress | None,
        seen: Mapping[int, SeriesPrediction],
    ) -> dict[int, JudgedSeries]:
        known = {
            row: kept
            for row, placed in matches.items()
            if row in seen
            and not placed.is_cut_anew
            and (kept := seen[row].seen) is not None
        }
        waiting = {
            row: placed.series or series[row]
            for row, placed in matches.items()
            if row not in known
        }
        total = sum(len(item.slices) for item in waiting.values())
        done = 0

        def report(count: int, _: int) -> None:
            if progress is not None:
                progress(done + count, total)

        judged: dict[int, JudgedSeries] = {}
        for row, placed in matches.items():
            start = time.perf_counter()
            item = placed.series or series[row]
            if row in known:
                slices = known[row]
            else:
                slices = see_slices(self._model, item, point, report)
                done += len(item.slices)
            estimate = slices.estimated_sequence(stated_sequence(series[row]))
            alone = prediction_of(
                [(item, slices)],
                self.bundle,
                point,
                start,
                precision=self._model.precision,
            )
            alone = replace(alone, sequence=estimate.sequence)
            judged[row] = JudgedSeries(item, slices, estimate, alone, placed)
        return judged

    def _summed_up(
        self,
        series: Sequence[Series],
        stated: Sequence[SequenceEstimate],
        reasons: Sequence[str],
        judged: Mapping[int, JudgedSeries],
        grid: int,
        point: str,
        start: float,
    ) -> StudyPrediction:
        votes = self._votes(judged, grid)
        grid_series = judged[votes.grid].series
        combined = judged[votes.grid].alone
        odds: Mapping[MRSequence | None, NDArray[np.float64]] = {}
        if votes.rows:
            voters = [judged[row] for row in votes.rows]
            parts = [
                Part(item.sequence.sequence, item.series, item.seen) for item in voters
            ]
            combination = combine(grid_series, parts, self.bundle.study_model)
            known = judged[votes.grid].sequence.sequence
            if known not in self.bundle.known_sequences:
                known = None
            view = (replace(grid_series, sequence=known), combination.seen)
            combined = prediction_of(
                [view], self.bundle, point, start, precision=self._model.precision
            )
            odds = combination.odds
        estimates = {
            row: judged[row].sequence if row in judged else stated[row]
            for row in range(len(series))
        }
        missing = self._missing([item.sequence for item in estimates.values()])
        combined = self._explained(combined, judged, votes, missing)
        combined = self._unless_contradicted(combined, judged, votes, point)
        there = {key: _over(odds[key], combined.run) for key in odds}
        rows = []
        for row, item in enumerate(series):
            counts, sequence = row in votes.rows, estimates[row].sequence
            rows.append(
                StudySeries(
                    source=item.slices[0].source,
                    slices=len(item.slices),
                    sequence=estimates[row],
                    prediction=judged[row].alone if row in judged else None,
                    counts=counts,
                    reason=votes.why.get(row, reasons[row]),
                    is_cut_anew=row in judged and judged[row].match.is_cut_anew,
                    slice_p_tumor=_shares(odds[sequence]) if counts else (),
                    p_tumor_there=there[sequence] if counts else None,
                )
            )
        return StudyPrediction(
            combined=replace(combined, seconds=time.perf_counter() - start),
            grid=votes.grid,
            grid_series=grid_series,
            series=tuple(rows),
            weights=votes.weights if len(odds) > 1 else None,
            is_learned=votes.is_learned,
            missing=missing,
            shown_by=_shown_by(combined, there, votes.weights),
            seconds=time.perf_counter() - start,
            pictures=_pictures(combined, judged, votes),
        )

    def _votes(self, judged: Mapping[int, JudgedSeries], grid: int) -> _Votes:
        """Say which series count, how, and why others do not.

        Raises
        ------
        InputError
            The pixels of all are of sequences that the model was not measured on.
        """
        why = {
            row: self._no_vote(item) or item.match.reason
            for row, item in judged.items()
        }
        rows = [row for row in judged if not why[row]]
        if not rows:
            # Where none lies on the grid, the first that could count stands alone.
            able = [row for row, item in judged.items() if not self._no_vote(item)]
            if not able:
                if not any(why[row] in (REFUSED, EMPTY) for row in judged):
                    raise self._nothing_to_judge(
                        [item.sequence for item in judged.values()]
                    )
                shown = [row for row in judged if why[row] in (REFUSED, EMPTY)]
                return _Votes(shown[0], (), why)
            grid, rows = able[0], able[:1]
            why[grid] = ""
        known = [
            item for row in rows if (item := judged[row].sequence.sequence) is not None
        ]
        if not known:
            # One series of which nobody knows the sequence may still stand alone.
            why |= dict.fromkeys(rows[1:], NOT_KNOWN)
            return _Votes(grid, tuple(rows[:1]), why)
        weights, is_learned = choose_sum(self.bundle.study_model, known)
        for row in rows:
            sequence = judged[row].sequence.sequence
            if sequence is None:
                why[row] = NOT_KNOWN
            elif sequence not in weights.sequences:
                why[row] = NO_WEIGHT.format(sequence=sequence.value)
        rows = [row for row in rows if not why[row]]
        return _Votes(grid, tuple(rows), why, weights, is_learned)

    def _no_vote(self, item: JudgedSeries) -> str:
        """Say why a series would not count wherever it lay; empty where it would."""
        sequence = item.sequence.sequence
        if item.alone.not_judged is not None:
            return EMPTY
        if item.alone.is_refused:
            return REFUSED
        if sequence is not None and sequence not in self.bundle.known_sequences:
            return NOT_MEASURED.format(sequence=sequence.value)
        return ""

    def _missing(self, there: Sequence[MRSequence | None]) -> tuple[MRSequence, ...]:
        """List the sequences that could have counted, and were not there."""
        model = self.bundle.study_model
        could = self.bundle.known_sequences
        if model is not None:
            could = tuple(
                dict.fromkeys(key for item in model.sums for key in item.sequences)
            )
        return tuple(item for item in could if item not in there)

    def _explained(
        self,
        combined: SeriesPrediction,
        judged: Mapping[int, JudgedSeries],
        votes: _Votes,
        missing: Sequence[MRSequence],
    ) -> SeriesPrediction:
        """Add to the reasons what holds for a study."""
        reasons = list(combined.reasons)
        names = list(dict.fromkeys(_name(judged[row]) for row in votes.rows))
        if len(names) > 1 and votes.weights is not None:
            reasons.append(self._standing(names, votes.weights, votes.is_learned))
            reasons.append(BY_SERIES)
        elif names:
            reasons.append(ONE_ALONE.format(name=names[0]))
        if missing and names:
            words = " and no ".join(item.value for item in missing)
            reasons.append(MISSING.format(names=words))
        disagreements = (item.sequence.disagreement for item in judged.values())
        reasons += [text for text in disagreements if text is not None]
        return replace(combined, reasons=tuple(dict.fromkeys(reasons)))

    def _unless_contradicted(
        self,
        combined: SeriesPrediction,
        judged: Mapping[int, JudgedSeries],
        votes: _Votes,
        point: str,
    ) -> SeriesPrediction:
        """Never call a study free of tumour that one series alone would call one.

        The weights come from gliomas: another tumour may show in one sequence alone.
        One that could not be matched was not outvoted, and already holds it back where
        it would not be clear itself.
        """
        if combined.finding not in (Answer.NO_TUMOR, Answer.LESION):
            return combined
        threshold = self.bundle.series_points[point].threshold
        for row, item in judged.items():
            p_tumor = item.alone.p_tumor
            if self._no_vote(item) or p_tumor is None:
                continue
            if row in votes.rows:
                text, bar = OUTVOTED, max(threshold, LIKELIER)
            else:
                text, bar = CONTRADICTED, threshold
            if p_tumor >= bar:
                return _held_back(combined, text.format(name=_name(item)))
        return combined

    def _standing(
        self, names: Sequence[str], weights: SequenceSum, is_learned: bool
    ) -> str:
        """Say how sequences were weighed, and what is known of it."""
        joined = f"{', '.join(names[:-1])} and {names[-1]}"
        model = self.bundle.study_model
        if not is_learned or model is None:
            return EQUAL.format(names=joined)
        if weights.auroc is None:
            return LEARNED_UNMEASURED.format(names=joined, patients=model.patients)
        rate = weights.auroc
        return LEARNED.format(
            names=joined,
            patients=model.patients,
            auroc=f"{rate.value:.2f} ({rate.low:.2f} to {rate.high:.2f})",
        )


@dataclass(frozen=True)
class _Votes:
    """Which series count (`rows`), on which grid, how; and why others do not."""

    grid: int
    rows: tuple[int, ...]
    why: dict[int, str]
    weights: SequenceSum | None = None
    is_learned: bool = False


def load_study_classifier(
    bundle: str | Path | None = None,
    threads: int | None = None,
    precision: str = AUTO,
) -> StudyClassifier:
    """Load a model, ready to judge studies.

    Parameters
    ----------
    bundle
        Folder of a model bundle of slices; by default the one that is shipped.
    threads
        Threads of one forward pass; by default one for each physical core.
    precision
        See `load_classifier`.

    Raises
    ------
    BundleError
        The bundle is missing, foreign or damaged.
    InputError
        The model takes whole volumes alone.
    SettingError
        `threads` is less than 1, or the bundle has no such graph.

    Examples
    --------
    >>> import tumorlens
    >>> classifier = tumorlens.load_study_classifier()
    >>> study = tumorlens.read("folder/")                        # doctest: +SKIP
    >>> prediction = classifier.predict(study)                   # doctest: +SKIP
    >>> prediction.combined.decision, prediction.shown_by        # doctest: +SKIP
    """
    model = load_series_classifier(bundle, threads, precision=precision)
    return StudyClassifier(model.slice_classifier())


def _is_drawn(series: Series) -> bool:
    """Tell an outline that somebody drew from a scan: a few whole numbers."""
    if series.headers or any(item.colorfulness > 0.0 for item in series.slices):
        return False
    values: set[float] = set()
    for item in series.slices:
        values.update(np.unique(item.pixels).tolist())
        if len(values) > _LEVELS:
            return False
    return all(float(value).is_integer() for value in values)


def _over(odds: NDArray[np.float64], run: tuple[int, int] | None) -> float | None:
    """Probability from the mean log-odds over a run; None where there is none."""
    if run is None or not np.isfinite(odds[slice(*run)]).any():
        return None
    return float(1.0 / (1.0 + np.exp(-np.nanmean(odds[slice(*run)]))))


def _shares(odds: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(
        None if np.isnan(item) else float(1.0 / (1.0 + np.exp(-item))) for item in odds
    )


def _shown_by(
    combined: SeriesPrediction,
    there: Mapping[MRSequence | None, float | None],
    weights: SequenceSum | None,
) -> tuple[MRSequence, ...]:
    if combined.finding in (Answer.NO_TUMOR, Answer.NOT_BRAIN_MRI):
        return ()
    counts = (
        dict(zip(weights.sequences, weights.weights, strict=True)) if weights else {}
    )
    adds = {
        key: counts.get(key, 1.0) * float(np.log(share / (1.0 - share)))
        for key, share in there.items()
        if key is not None and share is not None and LIKELIER <= share < 1.0
    }
    return tuple(sorted(adds, key=lambda key: -adds[key]))


def _name(item: JudgedSeries) -> str:
    sequence = item.sequence.sequence
    return "a series of unknown sequence" if sequence is None else sequence.value


def _pictures(
    combined: SeriesPrediction, judged: Mapping[int, JudgedSeries], votes: _Votes
) -> dict[MRSequence, NDArray[np.float32]]:
    """Show the most suspicious slice in each sequence that counts."""
    first: dict[MRSequence | None, int] = {}
    for row in votes.rows:
        first.setdefault(judged[row].sequence.sequence, row)
    if len(first) < 2 or not combined.key_slices:
        return {}
    item = judged[votes.grid].series.slices[combined.key_slices[0]]
    return {
        sequence: cut_at(item, judged[row].series)
        for sequence, row in first.items()
        if sequence is not None
    }


def _held_back(combined: SeriesPrediction, reason: str) -> SeriesPrediction:
    return replace(
        combined,
        finding=Answer.UNCERTAIN,
        kinds=(),
        reasons=(reason, *combined.reasons),
    )


_BIDS = {
    "person": re.compile(r"(?<![a-z0-9])sub-([a-z0-9]+)"),
    "visit": re.compile(r"(?<![a-z0-9])ses-([a-z0-9]+)"),
}
_NAMED_PERSON = re.compile(
    r"(?<![a-z0-9])(?:subject|subj|patient|pat|case|person)[-_ ]?(\d+)"
)
_NUMBER = re.compile(r"(?<![a-z0-9])([a-z]*\d{3,})(?![a-z0-9])")
_SETTING = re.compile(r"(?:tr|te|ti|fa|b|fov|s|se|p|e)?\d+")
"""Settings of a scan and numbers of series look like numbers of people."""
_SHORT = 4
"""Digits below which a bare number counts as that of a series."""

DICOM_PEOPLE = "The DICOM files are of {count} patients."
DICOM_VISITS = "The DICOM files are of {count} studies of one patient."
FILE_PEOPLE = "{one} and {other} look like files of two people."
FILE_VISITS = "{one} and {other} are of two visits."
ONE_STUDY = "Give the series of one study at a time."
BY_NAME = (
    "Give the files of one person at a time; if the names mislead, say that all are of "
    "one person."
)
MIXED = (
    "DICOM and other files were given, and nothing says that they are of one person."
)


def check_one_person(series: Sequence[Series], trust_names: bool = True) -> None:
    """Make sure that series are of one person and one visit.

    DICOM headers say so. Of other files the names are looked at: the words ``sub-``
    and ``ses-`` of BIDS, a number after a word such as patient or case, or any long
    number; files whose names hold none are taken to be of the same person.

    Parameters
    ----------
    series
        At least one.
    trust_names
        Whether the names of files that are no DICOM count; without them the caller
        vouches that all are of one person.

    Raises
    ------
    SeveralPeopleError
        They are of several people or visits. The message names files at most, never
        what a header says of the patient.
    """
    dicom = [item for item in series if item.headers]
    files = [item for item in series if not item.headers]
    _check_dicom(dicom)
    if not trust_names:
        return
    if dicom and files:
        raise SeveralPeopleError(MIXED, BY_NAME)
    _check_names([item.slices[0].source for item in files])


def _check_dicom(series: Iterable[Series]) -> None:
    people, visits = set(), set()
    for item in series:
        for header in item.headers:
            people.add(patient_of(header))
            visits.add(text(header, "StudyInstanceUID"))
    # A header that says nothing contradicts nobody.
    for names, words in ((people, DICOM_PEOPLE), (visits, DICOM_VISITS)):
        count = len(names - {""})
        if count > 1:
            raise SeveralPeopleError(words.format(count=count), ONE_STUDY)


def _check_names(names: Sequence[str]) -> None:
    for what, words in (("person", FILE_PEOPLE), ("visit", FILE_VISITS)):
        said = {name: _said(name, what) for name in names}
        known = [name for name in names if said[name]]
        for name in known[1:]:
            if said[name] != said[known[0]]:
                raise SeveralPeopleError(
                    words.format(one=known[0], other=name), BY_NAME
                )


def _said(name: str, what: str) -> frozenset[str]:
    """Take out of a path what names a person, or a visit."""
    lowered = name.lower()
    named = _BIDS[what].findall(lowered)
    if named or what == "visit":
        return frozenset(named)
    names = _NAMED_PERSON.findall(lowered) or [
        word for word in _NUMBER.findall(lowered) if not _is_setting(word)
    ]
    return frozenset(names)


def _is_setting(word: str) -> bool:
    if word.isdecimal():
        return len(word) < _SHORT
    return _SETTING.fullmatch(word) is not None
