"""TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378).

The numbers are the checklist's; the topics are in our own words, set beside two
filled-in copies of the checklist, as the article was not at hand. The items are written
for a study of a prediction model; a model card can answer but some.
"""

from __future__ import annotations

from tumorlens.report.model_card.reporting_items import NOT_COVERED, Item

_GOOD = "[Performance](#performance)"
_DATA = "[Training data](#training-data)"
_RUN = "[Training](#training)"
_USE = "[Intended use](#intended-use)"
_NET = "[architecture](architecture.md)"
_KEPT = ("test", "cross_validation")
_NO_PEOPLE = f"{NOT_COVERED}: age, sex and ancestry are not in the data"

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
