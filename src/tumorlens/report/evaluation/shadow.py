"""The page of a node in shadow mode: what it said, beside what turned out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tumorlens.report.page_parts import (
    Chart,
    Line,
    Section,
    Table,
    figure_text,
    name_text,
)
from tumorlens.taxonomy import Answer

_ANSWERS = {
    Answer.TUMOR: "Tumour",
    Answer.UNCERTAIN: "Unclear",
    Answer.LESION: "Lesion, no tumour",
    Answer.NO_TUMOR: "No tumour",
    Answer.NOT_BRAIN_MRI: "Not judged",
}
_READ_AS = (
    "Sensitivity is how many of the studies with a tumour were said to have one; "
    "specificity, how many of those without were called free of one. An unclear answer "
    "counts as neither found nor free. Studies that were not judged are left out of "
    "both, and counted as wrong in the rows that say so. A study has the answer of its "
    "series together, where they were judged so; else there is a tumour where one of "
    "them shows it. Intervals are of 95 %, over patients."
)
_LABELS_ARE_CHOSEN = (
    "Labels come later than findings, and not of every study. Those that were looked "
    "at again are no random part of all: read the figures with the number of labels."
)


def shadow_sections(
    figures: Mapping[str, Any],
    states: Mapping[str, int],
    labels: int,
    unmatched: int,
) -> list[Section]:
    """Show what was measured in shadow mode.

    Parameters
    ----------
    figures
        Figures of `tumorlens.evaluation.shadow.measure_shadow`.
    states
        Number of series by state in the queue.
    labels, unmatched
        Number of labels, and of those that belong to no study that was judged.

    Returns
    -------
    list of Section
        Sections for `render_evaluation`. They name no study and no patient.
    """
    return [
        _answer(figures, labels, unmatched),
        _labels(figures),
        _weeks(figures),
        _groups("sequences", "By sequence", "Series of", figures["by_sequence"]),
        _groups("scanners", "By scanner", "Studies from", figures["by_scanner"]),
        _refusals(figures, states),
    ]


def _answer(figures: Mapping[str, Any], labels: int, unmatched: int) -> Section:
    week, whole = figures["week"], figures["all"]
    rows = [
        ("Series", week["series"], whole["series"]),
        ("Series judged as a part", week["series_partial"], whole["series_partial"]),
        ("Series not judged", week["series_refused"], whole["series_refused"]),
        ("Studies", week["cases"], whole["cases"]),
        ("Patients", week["patients"], whole["patients"]),
        ("Studies with a label", week["labelled"], whole["labelled"]),
        ("with a tumour", week["tumor"], whole["tumor"]),
        ("without a tumour", week["free"], whole["free"]),
    ]
    rates = [
        ("Sensitivity", "sensitivity"),
        ("Specificity", "specificity"),
        ("Sensitivity, not judged counted as wrong", "sensitivity_of_all"),
        ("Specificity, not judged counted as wrong", "specificity_of_all"),
        ("Tumours found whose kind alone was named", "kind_named"),
        ("Tumours found whose kind was among those named", "kind_among_named"),
    ]
    columns = ("", figures["chosen_week"] or "The week", "Since the start")
    missing = (
        [f"{unmatched} of {labels} labels are of studies that were not judged here."]
        if unmatched
        else []
    )
    return Section(
        "week",
        "The week, and all weeks",
        (_READ_AS, _LABELS_ARE_CHOSEN, *missing),
        (
            Table(
                "Counts",
                columns,
                [(name, str(here), str(all_)) for name, here, all_ in rows],
            ),
            Table(
                "Rates [95 % interval over patients]",
                columns,
                [(name, _rate(week[key]), _rate(whole[key])) for name, key in rates],
            ),
        ),
    )


def _labels(figures: Mapping[str, Any]) -> Section:
    rows = [
        (_label_text(label), *(str(counts[answer.value]) for answer in _ANSWERS))
        for label, counts in figures["answers"].items()
    ]
    return Section(
        "labels",
        "Labels and answers",
        ("Studies since the start, by what turned out and by what was said.",)
        if rows
        else ("No label has come yet.",),
        (Table("", ("Label", *_ANSWERS.values()), rows),) if rows else (),
    )


def _weeks(figures: Mapping[str, Any]) -> Section:
    weeks = figures["weeks"]
    rows = [
        (
            name,
            str(item["series"]),
            str(item["series_refused"]),
            str(item["cases"]),
            str(item["labelled"]),
            _rate(item["sensitivity"]),
            _rate(item["specificity"]),
        )
        for name, item in weeks.items()
    ]
    columns = (
        *("Week", "Series", "Not judged", "Studies", "With label"),
        *("Sensitivity", "Specificity"),
    )
    lines = list(_lines(list(weeks.values())))
    charts = (
        Chart(
            "Rates by week, with intervals over patients",
            "Week, counted from the first",
            "Rate",
            lines,
            y_range=(0.0, 1.0),
        ),
    )
    return Section(
        "weeks",
        "Week by week",
        (
            "A study belongs to the week in which its last image came, whenever its "
            "label did.",
        ),
        (Table("", columns, rows),),
        charts if lines else (),
    )


def _lines(weeks: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    for title in ("Sensitivity", "Specificity"):
        known = [
            (float(place), item[title.lower()])
            for place, item in enumerate(weeks, start=1)
            if item[title.lower()] is not None
        ]
        if known:
            yield Line(
                title,
                [place for place, _ in known],
                [figure["value"] for _, figure in known],
                "points",
                [figure["low"] for _, figure in known],
                [figure["high"] for _, figure in known],
            )


def _groups(
    name: str, title: str, heading: str, groups: Mapping[str, Mapping[str, Any]]
) -> Section:
    rows = [
        (
            group,
            str(item["cases"]),
            str(item["answers"][Answer.NOT_BRAIN_MRI.value]),
            str(item["tumor"]),
            _rate(item["sensitivity"]),
            str(item["free"]),
            _rate(item["specificity"]),
        )
        for group, item in groups.items()
    ]
    columns = (
        *(heading, "All", "Not judged", "With a tumour", "Sensitivity"),
        *("Without", "Specificity"),
    )
    words = {
        "sequences": "Each series by itself, against its study's label: a tumour need "
        "not show in every sequence.",
        "scanners": "As the headers name them.",
    }
    return Section(name, title, (words[name],), (Table("", columns, rows),))


def _refusals(figures: Mapping[str, Any], states: Mapping[str, int]) -> Section:
    return Section(
        "refusals",
        "What was not judged",
        (),
        (
            Table(
                "Series that were not judged, since the start",
                ("Why", "Series"),
                [(name, str(n)) for name, n in figures["refusals"].items()],
            ),
            Table(
                "Series by state in the queue; failed are those given up",
                ("State", "Series"),
                [(name, str(n)) for name, n in sorted(states.items())],
            ),
            Table(
                "Versions of the model",
                ("Version", "Series"),
                [(name, str(n)) for name, n in figures["models"].items()],
            ),
        ),
    )


def _label_text(label: str) -> str:
    words = {
        "tumor": "tumour, kind not known",
        "other": "another kind of tumour",
        "vascular": "vascular lesion",
    }
    return words.get(label, name_text(label))


def _rate(figure: Mapping[str, float] | None) -> str:
    return figure_text(figure, percent=True)
