"""What a prediction says, in sentences for people."""

from __future__ import annotations

from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.bundle.facts import OperatingPoint, PredictionSets, Rate
from tumorlens.inference.slice.results import Prediction
from tumorlens.taxonomy import INFO, TumorClass, Verdict, decision_title

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


def minutes(count: int) -> str:
    """Write a number of minutes."""
    return f"{count} minute" if count == 1 else f"{count} minutes"


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
        Its key in the bundle.
    point
        Its threshold.
    judged
        ``slice`` or ``scan``.
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


def prediction_set_sentence(
    classes: tuple[TumorClass, ...], facts: PredictionSets
) -> str:
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
    column = ("left", "centre", "right")[
        min(2, 3 * (box.x0 + box.x1) // (2 * prediction.width))
    ]
    row = ("upper", "middle", "lower")[
        min(2, 3 * (box.y0 + box.y1) // (2 * prediction.height))
    ]
    spot = "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"
    size = prediction.explanation.size_mm
    extent = "" if size is None else f", about {size[0]:.0f} by {size[1]:.0f} mm"
    return f"Signs of {title} are outlined in the {spot} of the picture{extent}."


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
        Its reasons and notes are repeated here.
    bundle
        The model in use now.
    """
    texts = [*prediction.decision.reasons, *prediction.notes]
    if prediction.model_version != bundle.version:
        texts.append(
            f"This was judged by model version {prediction.model_version}; "
            f"the one in use now is {bundle.version}."
        )
    return tuple(texts)


def _join(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
