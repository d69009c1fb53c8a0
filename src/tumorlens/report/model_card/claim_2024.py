"""CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 6(4):e240300).

Not taken from the article, which was not at hand: items 34 to 44 were first written
down from a copy that others had filled in. Numbers and topics of all 44 were then set
beside the checklist on its own companion site (RSNA/CLAIM on GitHub) and beside another
transcription of it; all agree. The topics are in our own words. A model card is no
article: what belongs to one alone is said to be missing.
"""

from __future__ import annotations

from tumorlens.report.model_card.reporting_items import NOT_COVERED, Item

_GOOD = "[Performance](#performance)"
_DATA = "[Training data](#training-data)"
_RUN = "[Training](#training)"
_NET = "[architecture](architecture.md)"
_READ = "[overview](index.md)"
_KEPT = ("test", "cross_validation")

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
