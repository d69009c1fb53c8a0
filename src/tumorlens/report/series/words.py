"""What a scan's finding says, in sentences for people."""

from __future__ import annotations

from tumorlens.inference.series.results import Lesion
from tumorlens.report.slice.words import percent
from tumorlens.taxonomy import INFO, TumorClass, Verdict, decision_title

_SENTENCES: dict[TumorClass | Verdict, str] = {
    TumorClass.NO_TUMOR: "The model sees no sign of a tumour in this scan.",
    Verdict.INCONCLUSIVE: (
        "The model cannot tell from this scan alone. Do not take it for a clear one."
    ),
    Verdict.NOT_BRAIN_MRI: (
        "The scan does not look like brain MRI of the kind the model knows, so it "
        "gives no answer."
    ),
}

REFUSED_NUMBERS = (
    "The probabilities mean nothing for a scan that the model does not know; they "
    "are kept for the record only."
)

NOTHING_JUDGED = "Nothing in this scan could be judged. Do not take it for a clear one."


def sentence(decision: TumorClass | Verdict, not_judged: str | None = None) -> str:
    """Return the decision in one or two sentences.

    Parameters
    ----------
    decision
        Of the scan.
    not_judged
        Why nothing could be judged, as `ScanFinding` has it; None where
        anything was.
    """
    if not_judged is not None:
        return NOTHING_JUDGED
    known = _SENTENCES.get(decision)
    if known is not None or isinstance(decision, Verdict):
        return known or ""
    return f"The scan looks like one with a {INFO[decision].title.lower()}."


def tumor_percent(decision: TumorClass | Verdict, p_tumor: float | None) -> str:
    """Write the probability of any tumour, or why there is none to be told.

    Parameters
    ----------
    decision, p_tumor
        As for `headline`.
    """
    if p_tumor is None:
        return "not judged"
    return "no answer" if decision is Verdict.NOT_BRAIN_MRI else percent(p_tumor)


def headline(decision: TumorClass | Verdict, p_tumor: float | None) -> str:
    """Write the decision and the probability on one line.

    Parameters
    ----------
    decision
        A scan that was refused gets no number: it would be read as one.
    p_tumor
        Of any tumour, 0 to 1; None where nothing could be judged.
    """
    title = decision_title(decision)
    if p_tumor is None:
        return f"{title} (nothing could be judged)"
    if decision is Verdict.NOT_BRAIN_MRI:
        return f"{title} (no answer)"
    return f"{title} (tumour {percent(p_tumor)})"


def slices_sentence(slices: int, without_brain: int, refused: int) -> str:
    """Count the slices that were judged, passed over and refused.

    Parameters
    ----------
    slices, without_brain, refused
        As in `ScanFinding`.
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
        Sides are the patient's; slices are counted from 1.
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
