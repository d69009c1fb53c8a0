"""CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 6(4):e240300).

Not taken from the article, which was not at hand: items 34 to 44 were first written
down from a copy that others had filled in. Numbers and topics of all 44 were then set
beside the checklist on its own companion site (RSNA/CLAIM on GitHub) and beside another
transcription of it; all agree. The topics are in our own words. A model card is no
article: what belongs to one alone is said to be missing.
"""

from __future__ import annotations

from tumorlens.report.model_card.reporting_items import NOT_COVERED, Item

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
