"""TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378).

The numbers are the checklist's; the topics are in our own words, set beside two
filled-in copies of the checklist, as the article was not at hand. The items are written
for a study of a prediction model; a model card can answer but some.
"""

from __future__ import annotations

from tumorlens.report.model_card.reporting_items import NOT_COVERED, Item

_GOOD = "[How good it is](#how-good-it-is)"
_DATA = "[Learned from](#learned-from)"
_RUN = "[How it was trained](#how-it-was-trained)"
_USE = "[Meant for](#meant-for)"
_NET = "[architecture](architecture.md)"
_KEPT = ("test", "cross_validation")
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
