"""Sentences for people: on a slice, a series and a study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tumorlens.imaging.preprocess.framing import in_view, view_pixels
from tumorlens.imaging.preprocess.slice import Preprocessing, head_box
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import (
    LITTLE_BRAIN,
    OperatingPoint,
    PredictionSets,
    Rate,
)
from tumorlens.inference.series.decision import (
    MOSTLY_REFUSED,
    NO_CONTRAST,
    NOTHING_JUDGED,
    SeriesPrediction,
)
from tumorlens.inference.series.lesion import Lesion as SeriesLesion
from tumorlens.inference.series.lesion import Side
from tumorlens.inference.slice.decision import COLOURED, LIKELIER, Decision
from tumorlens.inference.slice.prediction import Box, Failure, Prediction
from tumorlens.taxonomy import (
    INFO,
    TUMOR_CLASSES,
    Answer,
    Finding,
    Lesion,
    OwnClass,
    TumorClass,
    info_of,
)

REFUSED_NUMBERS = (
    "No probability is shown: for a picture that the model does not know none would "
    "mean anything."
)

_POINT_PURPOSES = {
    "screening": "set to miss as few tumours as possible, at the price of more "
    "false alarms",
    "balanced": "set to weigh missed tumours and false alarms alike",
}


def headline(prediction: Prediction) -> str:
    """Answer in plain words: is there a tumour, of which kind, or why no answer."""
    decision = prediction.decision
    if decision.finding is not Answer.UNCERTAIN:
        return _headline(decision.finding, decision.kinds, decision.reasons)
    if LITTLE_BRAIN in decision.reasons:
        return "Unclear: the slice shows too little brain"
    vascular = decision.other_lesions.get(Lesion.VASCULAR, 0.0)
    sign = _sign(decision.raw_p_tumor, vascular)
    box = prediction.explanation.box
    where = "" if box is None else f" in the {_spot(prediction, box)} of the picture"
    return f"Unclear: {sign}{where}"


def _headline(finding: Answer, kinds: Sequence[Finding], reasons: Iterable[str]) -> str:
    """Give every headline but those of uncertain findings."""
    if finding is Answer.TUMOR:
        return f"Tumour: {kinds_in_words(kinds)}"
    if finding is Answer.LESION:
        return f"Lesion, not a tumour: {kinds_in_words(kinds)}"
    if finding is Answer.NO_TUMOR:
        return "No tumour seen"
    why = (_NOT_JUDGED[reason] for reason in reasons if reason in _NOT_JUDGED)
    return f"Not judged: {next(why, 'this does not look like a brain MRI')}"


_NOT_JUDGED: dict[str, str] = {
    COLOURED: "this looks like a photograph",
    MOSTLY_REFUSED: "most slices do not look like brain MRI",
    NOTHING_JUDGED: "no slice shows enough brain",
    NO_CONTRAST: "the series has the same value everywhere",
}
"""Short words for reasons, for headlines."""


def _sign(p_tumor: float, vascular: float) -> str:
    """Name what an uncertain finding has seen."""
    if p_tumor >= LIKELIER:
        return "possibly a tumour"
    if vascular >= LIKELIER:
        return "a lesion, probably not a tumour,"
    if p_tumor + vascular >= LIKELIER:
        return "a sign of a lesion"
    return "a faint sign"


_KINDS: dict[TumorClass | Lesion, str] = {
    name: INFO[name].title.lower() for name in TUMOR_CLASSES
} | {
    Lesion.OTHER: "another kind",
    Lesion.VASCULAR: "vascular, such as a stroke",
}


def kinds_in_words(kinds: Sequence[Finding]) -> str:
    """List kinds as alternatives, likeliest first: ``meningioma or glioma``."""
    if tuple(kinds) == (Lesion.OTHER,):
        return "another kind than glioma, meningioma or pituitary tumour"
    return joined([_kind(name) for name in kinds], "or")


def _kind(name: Finding) -> str:
    return name.replace("_", " ") if isinstance(name, OwnClass) else _KINDS[name]


def failure_headline(failure: Failure) -> str:
    """Say in one line that a file was not judged, and why."""
    return f"Not judged: {failure.message.rstrip('.')}"


def sentence(prediction: Prediction) -> str:
    """Return both answers in one or two sentences."""
    decision = prediction.decision
    return answer_sentence(decision.finding, decision.kinds, "slice")


def answer_sentence(finding: Answer, kinds: Sequence[Finding], judged: str) -> str:
    """Say in one or two sentences what an answer means.

    Parameters
    ----------
    finding, kinds
        Both answers.
    judged
        What they speak of: ``slice`` or ``series``.
    """
    if finding is Answer.TUMOR:
        if len(kinds) > 1:
            return (
                f"The model sees a tumour in this {judged}. It is a "
                f"{kinds_in_words(kinds)}; the {judged} does not tell which."
            )
        words = kinds_in_words(kinds)
        kind = f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"
        if kinds[0] is Lesion.OTHER:
            kind = kinds_in_words(kinds)
        return f"The model sees a tumour in this {judged}, and takes it for {kind}."
    if finding is Answer.LESION:
        return (
            f"The model sees a lesion in this {judged}, and takes it for a vascular "
            "one, such as a stroke or a bleeding, not for a tumour."
        )
    if finding is Answer.NO_TUMOR:
        return f"The model sees no sign of a tumour in this {judged}."
    if finding is Answer.UNCERTAIN:
        return (
            f"The model cannot tell from this {judged} alone whether there is a "
            "tumour. Do not take it for a clear one."
        )
    thing = "picture" if judged == "slice" else judged
    return (
        f"The {thing} does not look like brain MRI of the kind the model knows, so it "
        "gives no answer."
    )


def is_refused(prediction: Prediction) -> bool:
    """Tell whether the picture was refused as no brain MRI."""
    return prediction.decision.is_refused


def is_uncertain(prediction: Prediction) -> bool:
    """Tell whether no answer is given: uncertain, or not judged."""
    return prediction.decision.finding in (Answer.UNCERTAIN, Answer.NOT_BRAIN_MRI)


def percent(share: float) -> str:
    """Write a share, 0 to 1, in per cent; never 0 or 100 unless it is exact."""
    if 0.0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1.0:
        return "> 99.9 %"
    return f"{100.0 * share:.1f} %"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Write a number of things: ``1 slice``, ``2 slices``.

    Parameters
    ----------
    count
        The number.
    one, many
        The word for one, and for several where that is not `one` with an s.
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def minutes(count: int) -> str:
    """Write a number of minutes."""
    return counted(count, "minute")


def rate(measured: Rate) -> str:
    """Write a measured share with its 95 % interval."""
    return (
        f"{100 * measured.value:.1f} % "
        f"(95 % interval {100 * measured.low:.1f} to {100 * measured.high:.1f} %)"
    )


def operating_point_sentence(
    name: str, point: OperatingPoint, judged: str = "slice"
) -> str:
    """Say what an operating point is for and from where it calls a tumour.

    Parameters
    ----------
    name
        Key of the operating point in the bundle.
    point
        The operating point.
    judged
        What is called free of tumour: ``slice`` or ``series``.
    """
    purpose = _POINT_PURPOSES.get(name, "set by the maker of this model")
    return (
        f"The operating point is “{name}”, {purpose}: a {judged} is called free of "
        f"tumour only where the probability of any tumour is under "
        f"{percent(min(point.threshold, LIKELIER))}."
    )


UNMEASURED = (
    "How often this is right was not measured: too few patients were kept apart from "
    "training."
)


def measured_sentence(point: OperatingPoint) -> str:
    """Say how good an operating point was found to be, and at which threshold."""
    if point.sensitivity is None or point.specificity is None:
        return UNMEASURED
    measured = (
        f"Measured on patients kept apart from training: sensitivity "
        f"{rate(point.sensitivity)}, specificity {rate(point.specificity)}."
    )
    return f"{measured} {rates_note(point)}".rstrip()


def rates_note(point: OperatingPoint) -> str:
    """Say where fewer slices are called free of tumour than was measured, or nothing.

    Older bundles have such points; `apply_operating_point` decides below them.
    """
    is_measured = point.sensitivity is not None or bool(point.measured)
    if point.threshold <= LIKELIER or not is_measured:
        return ""
    return (
        f"These hold from {percent(point.threshold)} on; below it, from "
        f"{percent(LIKELIER)} on, a slice is not called free of tumour either, so "
        "that fewer are."
    )


def kinds_sentences(decision: Decision, facts: PredictionSets) -> tuple[str, ...]:
    """Return `kinds_sentence` of a tumour; nothing where none is seen."""
    if decision.finding is not Answer.TUMOR:
        return ()
    return (kinds_sentence(decision.kinds, facts),)


def kinds_sentence(kinds: Sequence[Finding], facts: PredictionSets) -> str:
    """Say which kinds of tumour remain, and how often the true one is among them.

    Parameters
    ----------
    kinds
        Kinds that are not ruled out, likeliest first; at least one.
    facts
        The coverage they were made for.
    """
    start = f"Kind: {kinds_in_words(kinds)}."
    if len(kinds) > 1:
        start = f"Kind: {kinds_in_words(kinds)}, the likeliest first."
    return (
        f"{start} Kinds are named so that of 100 tumours like those the model was "
        f"measured on, about {100 * facts.coverage:.0f} have their true kind among "
        "them."
    )


def location_sentence(prediction: Prediction) -> str:
    """Say where the signs are seen, and how large the spot is."""
    box = prediction.explanation.box
    decision = prediction.decision
    if box is None or decision.finding is Answer.NO_TUMOR:
        return "No spot is outlined."
    signs = "The signs"
    if decision.finding in (Answer.TUMOR, Answer.LESION) and len(decision.kinds) == 1:
        signs = f"Signs of {info_of(decision.kinds[0]).title.lower()}"
    size = prediction.explanation.size_mm
    extent = "" if size is None else f", about {size[0]:.0f} by {size[1]:.0f} mm"
    return (
        f"{signs} are outlined in the {_spot(prediction, box)} of the head as the "
        f"picture shows it{extent}."
    )


def _spot(prediction: Prediction, box: Box) -> str:
    """Name the part of the head that a spot lies in, as the picture shows it."""
    across, down = _shares_of_head(prediction, box)
    column = ("left", "centre", "right")[min(2, max(0, int(3.0 * across)))]
    row = ("upper", "middle", "lower")[min(2, max(0, int(3.0 * down)))]
    return "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"


def _shares_of_head(prediction: Prediction, box: Box) -> tuple[float, float]:
    """Measure how far across and down the head a spot's middle lies, 0 to 1."""
    view = prediction.view
    x, y = in_view(view, (box.x0 + box.x1) / 2.0, (box.y0 + box.y1) / 2.0)
    height, width = view.shape if view else (prediction.height, prediction.width)
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if prediction.pixels.size:
        pixels = view_pixels(prediction.pixels, view)
        left, top, right, bottom = head_box(pixels, Preprocessing().foreground)
    return (x - left) / max(1.0, right - left), (y - top) / max(1.0, bottom - top)


def domain_sentence(score: float) -> str:
    """Say how much the picture is like what the model knows.

    Parameters
    ----------
    score
        0 to 1.
    """
    return f"Likeness to the brain MRI that the model knows, 0 to 1: {score:.2f}."


def alternative_text(prediction: Prediction) -> str:
    """Describe the picture with its overlay to someone who does not see it."""
    return (
        f"The picture {prediction.source}, {prediction.width} by "
        f"{prediction.height} pixels. Finding: {headline(prediction)}. "
        f"{location_sentence(prediction)}"
    )


def warnings(prediction: Prediction, bundle: Bundle) -> tuple[str, ...]:
    """Return what a reader must know before the probabilities.

    Parameters
    ----------
    prediction
        Reasons and notes of the prediction are repeated here.
    bundle
        The model in use now.
    """
    return (
        *prediction.decision.reasons,
        *prediction.notes,
        *_other_version(prediction.model_version, bundle.version),
    )


def _other_version(judged_by: str, in_use: str) -> tuple[str, ...]:
    if judged_by == in_use:
        return ()
    return (
        f"This was judged by model version {judged_by}; the one in use now is "
        f"{in_use}.",
    )


def joined(names: Sequence[str], word: str = "and") -> str:
    """List names in a sentence: ``T1, T2 and FLAIR``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


UNKNOWN_SEQUENCE = (
    "The file does not say how the series was weighted, so that nobody can say whether "
    "the model's figures hold for it."
)

PART_MISSING = "Unclear: a part of the series is missing"
NOT_CLEAR = "Nothing in this series could be judged. Do not take it for a clear one."


def series_sentence(
    finding: Answer, kinds: Sequence[Finding], not_judged: str | None = None
) -> str:
    """Return both answers in one or two sentences.

    Parameters
    ----------
    finding, kinds
        Answers for the series.
    not_judged
        Why nothing could be judged, as `SeriesPrediction` has it; None where
        anything was.
    """
    if not_judged is not None:
        return NOT_CLEAR
    return answer_sentence(finding, kinds, "series")


def tumor_percent(p_tumor: float | None) -> str:
    """Write the probability of any tumour; None where nothing was judged."""
    return "not judged" if p_tumor is None else percent(p_tumor)


def series_headline(finding: SeriesPrediction) -> str:
    """Answer in plain words: is there a tumour, of which kind, or why no answer."""
    if finding.finding is not Answer.UNCERTAIN:
        return _headline(finding.finding, finding.kinds, finding.reasons)
    vascular = finding.other_lesions.get(Lesion.VASCULAR, 0.0)
    sign = _sign(finding.p_tumor or 0.0, vascular)
    return f"Unclear: {sign}{_place_in_series(finding)}"


def series_line(finding: SeriesPrediction) -> str:
    """Write the headline and the probability of any tumour on one line."""
    return with_probability(series_headline(finding), finding.p_tumor)


def with_probability(title: str, p_tumor: float | None) -> str:
    """Write a headline with the probability of any tumour, where there is one."""
    if p_tumor is None:
        return title
    return f"{title} (any tumour {percent(p_tumor)})"


def _place_in_series(finding: SeriesPrediction) -> str:
    """Say where the spot lies; the side only where the orientation is known."""
    lesion = finding.lesion
    if lesion is None:
        return ""
    first, last = lesion.box[0] + 1, lesion.box[3]
    span = f"in slice {first}" if first == last else f"in slices {first} to {last}"
    if lesion.side is None or finding.place_guessed:
        return f" {span}"
    side = "in the midline" if lesion.side is Side.MIDLINE else f"on the {lesion.side}"
    return f" {side}, {span}"


def series_warnings(
    finding: Mapping[str, Any], notes: Iterable[str], version: str
) -> tuple[str, ...]:
    """Return what a reader must know before the probabilities of a series.

    Parameters
    ----------
    finding
        A ``tumorlens-scan/1`` document.
    notes
        How the files were read.
    version
        Version of the model in use now.
    """
    caveat: str | None = UNKNOWN_SEQUENCE
    if finding["sequence"] is not None:
        caveat = finding["sequence_caveat"]
    return (
        *finding["reasons"],
        *([] if caveat is None else [caveat]),
        *notes,
        *_other_version(finding["model_version"], version),
    )


def slices_sentence(slices: int, without_brain: int, refused: int) -> str:
    """Count the slices that were judged, without brain, and refused.

    Parameters
    ----------
    slices, without_brain, refused
        Counts, as in `SeriesPrediction`.
    """
    judged = slices - without_brain - refused
    return (
        f"{counted(slices, 'slice')}: {judged} judged, {without_brain} without brain, "
        f"{refused} refused"
    )


def place_and_reasons(finding: SeriesPrediction) -> Iterator[str]:
    """Give the key slices, the spot and the reasons, as far as there are any."""
    if finding.key_slices:
        shown = ", ".join(str(index + 1) for index in finding.key_slices)
        yield f"Key slices (from 1): {shown}"
    if finding.lesion is not None:
        yield lesion_sentence(finding.lesion)
    yield from finding.reasons


def lesion_sentence(lesion: SeriesLesion | None) -> str:
    """Say where the most suspicious spot is, and roughly how large.

    Parameters
    ----------
    lesion
        The lesion; None where none is outlined. Sides are the patient's; slices are
        counted from 1.
    """
    if lesion is None:
        return "No spot is outlined."
    where = lesion.location or f"in slice {lesion.peak[0] + 1}"
    first, last = lesion.box[0] + 1, lesion.box[3]
    span = f"slice {first}" if first == last else f"slices {first} to {last}"
    text = f"Most suspicious spot: {where}; {span}, strongest in {lesion.peak[0] + 1}"
    if lesion.size_mm is None:
        return f"{text}."
    through, down, across = (f"{side:.0f}" for side in lesion.size_mm)
    return (
        f"{text}; the box around it is about {across} × {down} × {through} mm (across "
        "a row, down a column, through the slices)."
    )
