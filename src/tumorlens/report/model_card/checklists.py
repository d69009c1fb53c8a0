"""Which items of two reporting checklists a model card answers, and where.

CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 6(4):e240300): the article
was not at hand. Items 34 to 44 were first written down from a copy that others had
filled in. Numbers and topics of all 44 were then set beside the checklist on its own
companion site (RSNA/CLAIM on GitHub) and beside another transcription of it; all agree.

TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378): numbers are the checklist's, topics
were set beside two filled-in copies of the checklist, as the article was not at hand.
The items are written for a study of a prediction model; a model card answers but some.

The topics are in our own words. A model card is no article: what belongs to one alone
is said to be missing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tumorlens.report.figure_words import table

NOT_COVERED = "not covered"


@dataclass(frozen=True)
class Item:
    """One item of a guideline.

    Parameters
    ----------
    number
        As the guideline counts.
    topic
        What it asks, in short and in our own words.
    where
        Where it is answered, in Markdown seen from the card, or what is missing.
    needs
        Figures of which the bundle must hold at least one; without any of them
        the item is not covered.
    """

    number: str
    topic: str
    where: str
    needs: tuple[str, ...] = ()


def items_table(items: Sequence[Item], measured: Collection[str]) -> list[str]:
    """Write a guideline's items as a table in Markdown.

    Parameters
    ----------
    items
        In the guideline's order.
    measured
        Names of the figures that the bundle holds.
    """
    return table(
        ("Item", "Topic", "Where"),
        (
            (
                item.number,
                item.topic,
                item.where
                if not item.needs or set(item.needs) & set(measured)
                else f"{NOT_COVERED}: not measured for this bundle",
            )
            for item in items
        ),
    )


_GOOD = "[How good it is](#how-good-it-is)"
_DATA = "[Learned from](#learned-from)"
_RUN = "[How it was trained](#how-it-was-trained)"
_NET = "[architecture](architecture.md)"
_READ = "[README](../README.md)"
_KEPT = ("test", "cross_validation")

CLAIM_2024: tuple[Item, ...] = (
    Item("1", "Says that it is AI, and of which kind", "the head of this card"),
    Item("2", "Summary with design, methods, results", f"in part: {_READ}"),
    Item("3", "Background, use and role of the model", "[Meant for](#meant-for)"),
    Item("4", "Aims and hypotheses", f"in part: aims in {_READ}; no hypothesis"),
    Item("5", "Looking back or forward in time", f"{_DATA}: back"),
    Item("6", "Goal of the study", "[Meant for](#meant-for)"),
    Item("7", "Where the data come from", _DATA),
    Item(
        "8",
        "Who is in and who is left out",
        "in part: copies and flagged pictures are left out (`tumorlens data audit`); "
        "the sets' own choice of patients is theirs to tell",
    ),
    Item("9", "Preparation of the pictures", f"{_NET}; one function for all"),
    Item("10", "Choice of parts of the data", f"in part: {_DATA}"),
    Item("11", "Removal of names", f"by the sets' publishers: {_DATA}"),
    Item("12", "Missing data", NOT_COVERED),
    Item("13", "How the scans were made", f"in part: sequence and plane, {_DATA}"),
    Item("14", "What counts as the truth", f"the sets' labels and outlines: {_DATA}"),
    Item("15", "Why that truth was chosen", f"{NOT_COVERED}: no other was at hand"),
    Item("16", "Who made it", f"in part: {_DATA} and the sets' papers"),
    Item("17", "How the test part was labelled", "as the training part was"),
    Item("18", "How far those who label agree", f"{NOT_COVERED}: not published"),
    Item("19", "How data were dealt to parts", "`tumorlens data split`, seeded"),
    Item("20", "Level that keeps parts apart", f"the patient: {_DATA}"),
    Item("21", "Size of the sample, and why", f"{NOT_COVERED}: all there was"),
    Item("22", "The model in full", f"{_NET}; `model.onnx` in the bundle"),
    Item("23", "Software and versions", f"{_RUN}; `constraints.txt`"),
    Item("24", "Where the weights start", f"ImageNet: {_DATA}"),
    Item("25", "How it was trained", _RUN),
    Item("26", "How the final model was chosen", f"in part: {_RUN}"),
    Item(
        "27",
        "Joining of several models",
        f"none at use: one network, one pass; how its weights were averaged: {_RUN}",
    ),
    Item("28", "Which figures measure it", _GOOD, _KEPT),
    Item(
        "29",
        "How sure the figures are",
        f"{_GOOD}: intervals over patients; `tumorlens evaluate` compares models",
        _KEPT,
    ),
    Item(
        "30",
        "What changes when conditions change",
        "[Under damage](#under-damage)",
        ("robustness",),
    ),
    Item(
        "31",
        "How answers are explained, and whether that holds",
        f"maps against outlines: {_GOOD}",
        _KEPT,
    ),
    Item("32", "Tested on data of the same origin", _GOOD, _KEPT),
    Item(
        "33",
        "Tested on data of another origin",
        "in part: [Hospitals left out](#hospitals-left-out)",
        ("leave_site_out",),
    ),
    Item("34", "Registration of a trial", "does not apply: no trial"),
    Item("35", "How many are in, how many left out", f"in part: those in, {_DATA}"),
    Item("36", "Age, sex, illness in each part", f"{NOT_COVERED}: not in the data"),
    Item("37", "Figures with their uncertainty", _GOOD, _KEPT),
    Item(
        "38",
        "Diagnostic figures and their precision",
        "[Operating points](#operating-points), [Subgroups](#subgroups)",
    ),
    Item("39", "What goes wrong", "[Where it fails](#where-it-fails)", _KEPT),
    Item("40", "Limits", "[Known limits](#known-limits)"),
    Item(
        "41",
        "What follows for practice, and for which use",
        "[Meant for](#meant-for), [Not meant for](#not-meant-for)",
    ),
    Item("42", "Protocol, or more of the technique", f"{_NET}; no protocol"),
    Item(
        "43",
        "Whether software, model and data can be had",
        f"software and model: {_READ}; data: {_DATA}",
    ),
    Item("44", "Who paid, and their part in it", NOT_COVERED),
)
"""All 44 items."""

_USE = "[Meant for](#meant-for)"
_NO_PEOPLE = f"{NOT_COVERED}: age, sex and ancestry are not in the data"

TRIPOD_AI: tuple[Item, ...] = (
    Item("1", "Title: a model, for whom, of what", "the head of this card"),
    Item("2", "Abstract", f"{NOT_COVERED}: a card has none"),
    Item("3a", "Setting in care, and earlier models", "[literature](literature.md)"),
    Item("3b", "For whom, by whom, at which point of care", f"in part: {_USE}"),
    Item("3c", "Known inequalities between groups", NOT_COVERED),
    Item("4", "Aims", _USE),
    Item("5a", "Sources of the data, and how fitting", _DATA),
    Item("5b", "Dates of the data", f"in part: {_DATA}"),
    Item("6a", "Kind and number of places", f"in part: {_DATA}"),
    Item("6b", "Who could take part", f"{NOT_COVERED}: see the sets' papers"),
    Item("6c", "Treatments", f"{NOT_COVERED}: not in the data"),
    Item("7", "Preparation and checks of the data", f"{_NET}; `tumorlens data audit`"),
    Item("8a", "What is predicted, and how it was found out", _DATA),
    Item("8b", "Who judged it", f"in part: {_DATA}"),
    Item("8c", "Whether they were blind to the input", f"{NOT_COVERED}: not published"),
    Item("9a", "Choice of the input", "one slice: the head of this card"),
    Item("9b", "The input, how and when measured", f"in part: {_DATA}, {_NET}"),
    Item("9c", "Who judged the input", "does not apply: the picture is the input"),
    Item("10", "Size of the study", f"{NOT_COVERED}: all there was"),
    Item("11", "Missing data", NOT_COVERED),
    Item("12a", "How data were used and dealt", "`tumorlens data split`, by patient"),
    Item("12b", "How the input enters the model", _NET),
    Item("12c", "Kind of model, steps of building, checks", f"{_NET}; {_RUN}"),
    Item("12d", "Differences between places", "[Subgroups](#subgroups)", _KEPT),
    Item("12e", "Measures of quality, and why these", _GOOD, _KEPT),
    Item("12f", "Updating of the model", "none"),
    Item("12g", "How predictions are worked out", f"{_NET}; `tumorlens predict`"),
    Item("13", "Classes of unequal size", f"`sampling` in {_RUN}"),
    Item("14", "Fairness", _NO_PEOPLE),
    Item(
        "15",
        "What the model gives, and thresholds",
        "[Operating points](#operating-points)",
    ),
    Item(
        "16",
        "How training and evaluation data differ",
        f"in part: the same sets, other patients; {_DATA}",
    ),
    Item("17", "Ethics", f"{NOT_COVERED}: published data; see the sets' papers"),
    Item("18a", "Who paid", NOT_COVERED),
    Item("18b", "Conflicts of interest", NOT_COVERED),
    Item("18c", "Protocol", "none was written"),
    Item("18d", "Registration", "none"),
    Item("18e", "Whether the data can be had", f"all are public: {_DATA}"),
    Item("18f", "Whether the code can be had", "[README](../README.md): Apache-2.0"),
    Item("19", "Part taken by patients and the public", "none"),
    Item("20a", "Flow of participants", f"in part: counts, {_DATA}"),
    Item("20b", "Makeup of participants", f"in part: classes, {_DATA}; {_NO_PEOPLE}"),
    Item("20c", "Evaluation data beside training data", NOT_COVERED),
    Item("21", "Numbers in each analysis", f"{_DATA}, {_GOOD}"),
    Item("22", "The model in full", "`model.onnx` and `bundle.json`, checksummed"),
    Item(
        "23a",
        "Quality with intervals, in subgroups too",
        f"{_GOOD}, [Subgroups](#subgroups)",
        _KEPT,
    ),
    Item("23b", "Quality by place", "[Subgroups](#subgroups)", _KEPT),
    Item("24", "Figures of an updated model", "does not apply: not updated"),
    Item(
        "25",
        "What the figures mean, beside earlier ones",
        "[literature](literature.md), [Where it fails](#where-it-fails)",
    ),
    Item("26", "Limits", "[Known limits](#known-limits)"),
    Item("27a", "Poor or missing input in use", "[Refusal](#refusal)"),
    Item("27b", "What a user has to do and know", f"{_USE}; [README](../README.md)"),
    Item(
        "27c", "What should be studied next", "in part: [Known limits](#known-limits)"
    ),
)
"""All 27 items with their parts."""
