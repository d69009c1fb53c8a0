"""What predictions say, in sentences for people: of a slice, and of a series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tumorlens.imaging.preprocess.framing import in_view, view_pixels
from tumorlens.imaging.preprocess.slice import Preprocessing, head_box
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import OperatingPoint, PredictionSets, Rate
from tumorlens.inference.series.results import Lesion
from tumorlens.inference.slice.results import Box, Prediction
from tumorlens.taxonomy import (
    INFO,
    Decided,
    Finding,
    TumorClass,
    Verdict,
    decision_title,
)

_VERDICT_SENTENCES: dict[Verdict, str] = {
    Verdict.INCONCLUSIVE: (
        "The model cannot tell from this slice alone. Do not take it for a clear one."
    ),
    Verdict.NOT_BRAIN_MRI: (
        "The picture does not look like a brain MRI slice of the kind the model "
        "knows, so it gives no answer."
    ),
}

REFUSED_NUMBERS = (
    "The probabilities mean nothing for a picture that the model does not know; "
    "they are kept for the record only."
)

_POINT_PURPOSES = {
    "screening": "set to miss as few tumours as possible, at the price of more "
    "false alarms",
    "balanced": "set to weigh missed tumours and false alarms alike",
}


def headline(prediction: Prediction) -> str:
    """Return the decision in a few words."""
    return decision_title(prediction.decision.label)


def sentence(prediction: Prediction) -> str:
    """Return the decision in one or two sentences."""
    decided = prediction.decision.label
    if isinstance(decided, Verdict):
        return _VERDICT_SENTENCES[decided]
    return INFO[decided].sentence


def is_refused(prediction: Prediction) -> bool:
    """Tell whether the picture was refused as no brain MRI."""
    return prediction.decision.label is Verdict.NOT_BRAIN_MRI


def is_uncertain(prediction: Prediction) -> bool:
    """Tell whether the decision names no class."""
    return isinstance(prediction.decision.label, Verdict)


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
        What is called free of tumour: ``slice`` or ``scan``.
    """
    purpose = _POINT_PURPOSES.get(name, "set by the maker of this model")
    return (
        f"The operating point is “{name}”, {purpose}: a {judged} is called free of "
        f"tumour only where the probability of any tumour is under "
        f"{percent(point.threshold)}."
    )


def measured_sentence(point: OperatingPoint) -> str:
    """Say how good an operating point was found to be."""
    return (
        f"Measured on patients kept apart from training: sensitivity "
        f"{rate(point.sensitivity)}, specificity {rate(point.specificity)}."
    )


def prediction_set_sentence(classes: tuple[Finding, ...], facts: PredictionSets) -> str:
    """Say which classes remain possible, and how often that is right.

    Parameters
    ----------
    classes
        The prediction set, never empty.
    facts
        The coverage it was made for.
    """
    coverage = f"{100 * facts.coverage:g} %"
    names = _join([INFO[name].title.lower() for name in classes])
    start = (
        f"Only {names} cannot be ruled out"
        if len(classes) == 1
        else f"{names[0].upper()}{names[1:]} cannot be ruled out"
    )
    return (
        f"{start}: on slices like those the model was measured on, such a set "
        f"is made to hold the true class {coverage} of the time."
    )


def location_sentence(prediction: Prediction) -> str:
    """Say where the signs are seen, and how large the spot is."""
    box = prediction.explanation.box
    title = INFO[prediction.explanation.explained].title.lower()
    if box is None:
        return f"No spot stands out as {title}."
    across, down = _shares_of_head(prediction, box)
    column = ("left", "centre", "right")[min(2, max(0, int(3.0 * across)))]
    row = ("upper", "middle", "lower")[min(2, max(0, int(3.0 * down)))]
    spot = "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"
    size = prediction.explanation.size_mm
    extent = "" if size is None else f", about {size[0]:.0f} by {size[1]:.0f} mm"
    return (
        f"Signs of {title} are outlined in the {spot} of the head as the picture shows "
        f"it{extent}."
    )


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
        f"{prediction.height} pixels. Decision: {headline(prediction)}. "
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


def _join(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"


_SERIES_SENTENCES: dict[Decided, str] = {
    TumorClass.NO_TUMOR: "The model sees no sign of a tumour in this scan.",
    Verdict.INCONCLUSIVE: (
        "The model cannot tell from this scan alone. Do not take it for a clear one."
    ),
    Verdict.NOT_BRAIN_MRI: (
        "The scan does not look like brain MRI of the kind the model knows, so it "
        "gives no answer."
    ),
}

REFUSED_SERIES_NUMBERS = (
    "The probabilities mean nothing for a scan that the model does not know; they "
    "are kept for the record only."
)

UNKNOWN_SEQUENCE = (
    "The file does not say how the series was weighted; the model was trained on T1 "
    "with and without contrast only."
)

NOTHING_JUDGED = "Nothing in this scan could be judged. Do not take it for a clear one."


def series_sentence(decision: Decided, not_judged: str | None = None) -> str:
    """Return the decision in one or two sentences.

    Parameters
    ----------
    decision
        Decision for the series.
    not_judged
        Why nothing could be judged, as `SeriesPrediction` has it; None where
        anything was.
    """
    if not_judged is not None:
        return NOTHING_JUDGED
    known = _SERIES_SENTENCES.get(decision)
    if known is not None or isinstance(decision, Verdict):
        return known or ""
    return f"The scan looks like one with a {INFO[decision].title.lower()}."


def tumor_percent(decision: Decided, p_tumor: float | None) -> str:
    """Write the probability of any tumour, or why there is none to be told.

    Parameters
    ----------
    decision, p_tumor
        See `series_headline`.
    """
    if p_tumor is None:
        return "not judged"
    return "no answer" if decision is Verdict.NOT_BRAIN_MRI else percent(p_tumor)


def series_headline(decision: Decided, p_tumor: float | None) -> str:
    """Write the decision and the probability on one line.

    Parameters
    ----------
    decision
        Decision for the series. A refused one gets no number, which would be read
        as a finding.
    p_tumor
        Probability of any tumour, 0 to 1; None where nothing could be judged.
    """
    title = decision_title(decision)
    if p_tumor is None:
        return f"{title} (nothing could be judged)"
    if decision is Verdict.NOT_BRAIN_MRI:
        return f"{title} (no answer)"
    return f"{title} (tumour {percent(p_tumor)})"


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
        f"{slices} slices: {judged} judged, {without_brain} without brain, "
        f"{refused} refused"
    )


def lesion_sentence(lesion: Lesion | None) -> str:
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
