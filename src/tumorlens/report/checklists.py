"""The items of two reporting checklists, and where a model card answers them.

CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 6(4):e240300): the article
was not at hand. Items 34 to 44 were first written down from a copy that others had
filled in. Numbers and topics of all 44 were then set beside the checklist on its own
companion site (RSNA/CLAIM on GitHub) and beside another transcription of it; all agree.

TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378): numbers are the checklist's, topics
were set beside two filled-in copies of the checklist, as the article was not at hand.
The items are written for a study of a prediction model; a model card answers but some.

The topics are in our own words. A model card is no article: what belongs to one alone
is said to be missing.

Tested in `tests/report/test_model_card.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tumorlens.report.page_parts import table

NOT_COVERED = "not covered"
_GOOD = "[Performance](#performance)"

_DATA = "[Training data](#training-data)"

_RUN = "[Training](#training)"

_NET = "[architecture](architecture.md)"

_READ = "[overview](index.md)"

_KEPT = ("test", "cross_validation")

_USE = "[Intended use](#intended-use)"

_NO_PEOPLE = f"{NOT_COVERED}: age, sex and ancestry are not in the data"


@dataclass(frozen=True)
class Item:
    """One item of a guideline.

    Parameters
    ----------
    number
        Number in the guideline.
    topic
        What it asks, in short and in our own words.
    where
        Place of the answer, in Markdown seen from the card, or what is missing.
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
        Items in the guideline's order.
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


CLAIM_2024: tuple[Item, ...] = (
    Item("1", "Names the AI method", "the first lines of this card"),
    Item("2", "Summary with design, methods, results", f"in part: {_READ}"),
    Item("3", "Background, use and role of the model", "[Intended use](#intended-use)"),
    Item("4", "Aims and hypotheses", f"in part: aims in {_READ}; no hypothesis"),
    Item("5", "Retrospective or prospective", f"{_DATA}: retrospective"),
    Item("6", "Objective of the study", "[Intended use](#intended-use)"),
    Item("7", "Where the data come from", _DATA),
    Item(
        "8",
        "Inclusion and exclusion",
        "in part: copies and flagged images are left out (`tumorlens data audit`); "
        "how the datasets chose patients is in their papers",
    ),
    Item("9", "Preparation of the images", f"{_NET}; one function for all"),
    Item("10", "Selection of data subsets", f"in part: {_DATA}"),
    Item("11", "De-identification", f"by the datasets' publishers: {_DATA}"),
    Item("12", "Missing data", NOT_COVERED),
    Item("13", "Acquisition of the images", f"in part: sequence and plane, {_DATA}"),
    Item("14", "Reference standard", f"the datasets' labels and outlines: {_DATA}"),
    Item(
        "15",
        "Rationale for the reference standard",
        f"{NOT_COVERED}: no other was available",
    ),
    Item("16", "Who annotated it", f"in part: {_DATA} and the datasets' papers"),
    Item("17", "Annotation of the test part", "as the training part was"),
    Item("18", "Agreement between annotators", f"{NOT_COVERED}: not published"),
    Item(
        "19", "How data were assigned to partitions", "`tumorlens data split`, seeded"
    ),
    Item("20", "Level at which partitions are disjoint", f"the patient: {_DATA}"),
    Item("21", "Sample size, and why", f"{NOT_COVERED}: all that was available"),
    Item("22", "Full description of the model", f"{_NET}; `model.onnx` in the bundle"),
    Item("23", "Software and versions", f"{_RUN}; `constraints.txt`"),
    Item("24", "Initial weights", f"ImageNet: {_DATA}"),
    Item("25", "Training", _RUN),
    Item("26", "How the final model was chosen", f"in part: {_RUN}"),
    Item(
        "27",
        "Ensembles",
        f"none in use: one network, one pass; how its weights were averaged: {_RUN}",
    ),
    Item("28", "Performance measures", _GOOD, _KEPT),
    Item(
        "29",
        "Uncertainty of the measures",
        f"{_GOOD}: intervals over patients; `tumorlens evaluate` compares models",
        _KEPT,
    ),
    Item(
        "30",
        "Robustness and sensitivity analysis",
        "[Image damage](#image-damage)",
        ("robustness",),
    ),
    Item(
        "31",
        "Explanations, and how they were checked",
        f"maps against outlines: {_GOOD}",
        _KEPT,
    ),
    Item("32", "Internal test data", _GOOD, _KEPT),
    Item(
        "33",
        "External test data",
        "in part: [Hospitals left out](#hospitals-left-out)",
        ("leave_site_out",),
    ),
    Item("34", "Trial registration", "does not apply: no trial"),
    Item("35", "Numbers included and excluded", f"in part: those in, {_DATA}"),
    Item(
        "36",
        "Demographics and disease in each partition",
        f"{NOT_COVERED}: not in the data",
    ),
    Item("37", "Performance with its uncertainty", _GOOD, _KEPT),
    Item(
        "38",
        "Diagnostic accuracy and its precision",
        "[Operating points](#operating-points), [Subgroups](#subgroups)",
    ),
    Item("39", "Failure analysis", "[Where it fails](#where-it-fails)", _KEPT),
    Item("40", "Limits", "[Limitations](#limitations)"),
    Item(
        "41",
        "Implications for practice, and intended use",
        "[Intended use](#intended-use), [Out-of-scope use](#out-of-scope-use)",
    ),
    Item("42", "Protocol, or further technical detail", f"{_NET}; no protocol"),
    Item(
        "43",
        "Availability of software, model and data",
        f"software and model: {_READ}; data: {_DATA}",
    ),
    Item("44", "Funding, and the role of funders", NOT_COVERED),
)
"""All 44 items."""

TRIPOD_AI: tuple[Item, ...] = (
    Item("1", "Title: a model, for whom, of what", "the first lines of this card"),
    Item("2", "Abstract", f"{NOT_COVERED}: a card has none"),
    Item(
        "3a", "Health care context, and earlier models", "[literature](literature.md)"
    ),
    Item(
        "3b", "Target population, users, point in the care pathway", f"in part: {_USE}"
    ),
    Item("3c", "Known inequalities between groups", NOT_COVERED),
    Item("4", "Aims", _USE),
    Item("5a", "Sources of the data, and their suitability", _DATA),
    Item("5b", "Dates of the data", f"in part: {_DATA}"),
    Item("6a", "Kind and number of sites", f"in part: {_DATA}"),
    Item("6b", "Eligibility", f"{NOT_COVERED}: see the datasets' papers"),
    Item("6c", "Treatments", f"{NOT_COVERED}: not in the data"),
    Item("7", "Preparation and checks of the data", f"{_NET}; `tumorlens data audit`"),
    Item("8a", "Outcome, and how it was determined", _DATA),
    Item("8b", "Who assessed the outcome", f"in part: {_DATA}"),
    Item("8c", "Blinding of the assessors", f"{NOT_COVERED}: not published"),
    Item("9a", "Choice of predictors", "one slice: the first lines of this card"),
    Item("9b", "Predictors, how and when measured", f"in part: {_DATA}, {_NET}"),
    Item(
        "9c",
        "Who assessed the predictors",
        "does not apply: the image is the predictor",
    ),
    Item("10", "Sample size", f"{NOT_COVERED}: all that was available"),
    Item("11", "Missing data", NOT_COVERED),
    Item("12a", "Use and partition of the data", "`tumorlens data split`, by patient"),
    Item("12b", "How predictors enter the model", _NET),
    Item(
        "12c", "Model type, steps of building, internal validation", f"{_NET}; {_RUN}"
    ),
    Item("12d", "Heterogeneity between sites", "[Subgroups](#subgroups)", _KEPT),
    Item("12e", "Performance measures, and why these", _GOOD, _KEPT),
    Item("12f", "Updating of the model", "none"),
    Item("12g", "How predictions are calculated", f"{_NET}; `tumorlens predict`"),
    Item("13", "Classes of unequal size", f"`sampling` in {_RUN}"),
    Item("14", "Fairness", _NO_PEOPLE),
    Item(
        "15",
        "Output of the model, and thresholds",
        "[Operating points](#operating-points)",
    ),
    Item(
        "16",
        "How training and evaluation data differ",
        f"in part: the same datasets, other patients; {_DATA}",
    ),
    Item("17", "Ethics", f"{NOT_COVERED}: published data; see the datasets' papers"),
    Item("18a", "Funding", NOT_COVERED),
    Item("18b", "Conflicts of interest", NOT_COVERED),
    Item("18c", "Protocol", "none was written"),
    Item("18d", "Registration", "none"),
    Item("18e", "Availability of the data", f"all are public: {_DATA}"),
    Item("18f", "Availability of the code", "[overview](index.md): Apache-2.0"),
    Item("19", "Patient and public involvement", "none"),
    Item("20a", "Flow of participants", f"in part: counts, {_DATA}"),
    Item(
        "20b",
        "Characteristics of participants",
        f"in part: classes, {_DATA}; {_NO_PEOPLE}",
    ),
    Item("20c", "Evaluation data compared with training data", NOT_COVERED),
    Item("21", "Numbers in each analysis", f"{_DATA}, {_GOOD}"),
    Item(
        "22",
        "Full description of the model",
        "`model.onnx` and `bundle.json`, checksummed",
    ),
    Item(
        "23a",
        "Performance with intervals, also in subgroups",
        f"{_GOOD}, [Subgroups](#subgroups)",
        _KEPT,
    ),
    Item("23b", "Performance by site", "[Subgroups](#subgroups)", _KEPT),
    Item("24", "Figures of an updated model", "does not apply: not updated"),
    Item(
        "25",
        "Interpretation, compared with earlier studies",
        "[literature](literature.md), [Where it fails](#where-it-fails)",
    ),
    Item("26", "Limits", "[Limitations](#limitations)"),
    Item("27a", "Poor or missing input in use", "[Refusal](#refusal)"),
    Item("27b", "What users have to do and know", f"{_USE}; [overview](index.md)"),
    Item("27c", "What should be studied next", "in part: [Limitations](#limitations)"),
)
"""All 27 items with their parts."""
