"""A slice's prediction: its decision, where the network looked, and its MR sequence.

Maps, outline and box explain it. Pixels, header and file name may each say the
sequence; they are weighed as independent witnesses: what each says counts by how often
such a word is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, Self, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TumorLensError, warn_of_old_name
from tumorlens.imaging.preprocess.framing import over_picture
from tumorlens.imaging.preprocess.slice import Crop, to_picture
from tumorlens.imaging.study import MRSequence, PictureView, Plane, Slice, square_shape
from tumorlens.inference.bundle.facts import (
    FLOAT32,
    TRAINED_ON,
    CellCalibration,
    Precision,
    SequenceHead,
)
from tumorlens.inference.slice.decision import ClinicalUse, Decision, RawOutputs
from tumorlens.taxonomy import (
    FINDINGS,
    NO_TUMOR_INDEX,
    Answer,
    Finding,
    OwnClass,
    clear_places,
)

_HEADER_RIGHT = 0.97
"""How often a header's word is taken to be right; contrast is often left unsaid."""
_NAME_RIGHT = 0.75
"""The same of a file name, which often names a whole set."""

_NAMED: tuple[tuple[re.Pattern[str], MRSequence], ...] = tuple(
    (re.compile(rf"(?<![a-z0-9]){word}(?![a-z0-9])"), sequence)
    for word, sequence in (
        (r"(t2[-_ ]?)?(flair|t2f)", MRSequence.FLAIR),
        (
            r"t1[-_ ]?w?[-_ ]?(c|ce|cp|gd|gad|\+c|km|post|contrast|c\+)",
            MRSequence.T1_CONTRAST,
        ),
        # BIDS names the agent before the suffix: ce-gadolinium_T1w.
        (r"ce-[a-z0-9]+ .*t1w", MRSequence.T1_CONTRAST),
        (r"t1[-_ ]?(w|n|pre)?", MRSequence.T1),
        (r"t2[-_ ]?(w|tse|fse)?", MRSequence.T2),
        (r"dwi|adc", MRSequence.DIFFUSION),
    )
)


@dataclass(frozen=True)
class SequenceEstimate:
    """Which MR sequence a slice is of, and who says so.

    Parameters
    ----------
    sequence
        The likeliest, all witnesses weighed; None where none says anything.
    probability
        Its probability, 0 to 1; None where the pixels were not asked: a header or a
        name alone is no measurement.
    pixels, header, file_name
        What each says alone; None where it says nothing.
    """

    sequence: MRSequence | None = None
    probability: float | None = None
    pixels: MRSequence | None = None
    header: MRSequence | None = None
    file_name: MRSequence | None = None

    @property
    def disagreement(self) -> str | None:
        """Say that the pixels look like another sequence than the file says."""
        said = self.header or self.file_name
        if self.pixels is None or said is None or said is self.pixels:
            return None
        who = "header" if self.header is not None else "name"
        return (
            f"The file's {who} says {said.value}, but the picture looks like "
            f"{self.pixels.value}."
        )


def estimate_sequence(
    header: MRSequence | None,
    file_name: str,
    head: SequenceHead | None = None,
    outputs: NDArray[np.float32] | None = None,
) -> SequenceEstimate:
    """Weigh what pixels, header and file name say.

    Parameters
    ----------
    header
        What the file's header says; None where it says nothing.
    file_name
        Name of the file as the user knows it.
    head, outputs
        The bundle's sequence head, and what the network gave, shape (S,); None for
        a network without one.

    Returns
    -------
    SequenceEstimate
        A header that names a sequence which the head does not tell has the say.
    """
    named = sequence_of_name(file_name)
    if head is None or outputs is None:
        return SequenceEstimate(header or named, None, None, header, named)
    shares = head.probabilities(outputs[None])[0]
    seen = head.sequences[int(np.argmax(shares))]
    if header is not None and header not in head.sequences:
        return SequenceEstimate(header, None, seen, header, named)
    weights = shares.copy()
    for said, right in ((header, _HEADER_RIGHT), (named, _NAME_RIGHT)):
        if said in head.sequences:
            others = (1.0 - right) / (len(head.sequences) - 1)
            weights *= [right if item is said else others for item in head.sequences]
    weights /= weights.sum()
    best = int(np.argmax(weights))
    return SequenceEstimate(
        head.sequences[best], float(weights[best]), seen, header, named
    )


def sequence_of_name(name: str) -> MRSequence | None:
    """Read the sequence out of a file's name, such as ``case_12_t1ce.nii.gz``.

    Returns
    -------
    MRSequence or None
        None where it names none, or several.
    """
    text = re.sub(r"[_.]+", " ", name.lower())
    named = {sequence for pattern, sequence in _NAMED if pattern.search(text)}
    # A name with contrast also reads as one without, and FLAIR as T2.
    for finer, coarser in (
        (MRSequence.T1_CONTRAST, MRSequence.T1),
        (MRSequence.FLAIR, MRSequence.T2),
    ):
        if finer in named:
            named.discard(coarser)
    return named.pop() if len(named) == 1 else None


def sequence_caveat(
    sequence: MRSequence | None, known: Collection[MRSequence] = TRAINED_ON
) -> str | None:
    """Say that the model was not trained for a sequence.

    Parameters
    ----------
    sequence
        Sequence that the file states; None where it states none.
    known
        Sequences that the model was trained on.

    Returns
    -------
    str or None
        None where the model knows the sequence, or nobody knows which it is.
    """
    if sequence is None or sequence in known:
        return None
    if tuple(known) == TRAINED_ON:
        return (
            f"The series is {sequence.value}; the model was trained on T1 with and "
            "without contrast, and its figures do not hold here."
        )
    names = ", ".join(item.value for item in known)
    return (
        f"The series is {sequence.value}; the model was trained on {names}, and its "
        "figures do not hold here."
    )


MIN_PEAK = 0.25
"""An outline is drawn only where some spot reaches this probability. On held-out
patients nearly every tumour of `cheng` does, and few tumour-free slices do
(docs/experiments.md)."""

OUTLINE_LEVEL = 0.5
"""Share of the peak at which the outline runs: half height."""

SMOOTHING = 1.0
"""Standard deviation of the Gaussian laid over the cells, in cells. On held-out
patients smoothed maps peak inside the outline more often (docs/experiments.md)."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the picture; x1 and y1 lie outside it."""

    x0: int
    y0: int
    x1: int
    y1: int


_Map: TypeAlias = NDArray[np.float32]


MapSource: TypeAlias = _Map | Callable[[], _Map]
"""A map, or the call that draws it."""


class GridMap:
    """A map as the network gives it; a call lays it over the picture, once.

    Parameters
    ----------
    grid
        Shape (g, g), float32, over the model's input; or a call that computes it.
    crop
        Where that lies in the picture.
    shape
        Height and width of the picture.
    is_relative
        Whether the map is scaled to its own maximum.
    """

    def __init__(
        self, grid: MapSource, crop: Crop, shape: tuple[int, int], *, is_relative: bool
    ) -> None:
        self._grid = grid
        self._is_relative = is_relative
        self._drawn: _Map | None = None
        self.crop, self.shape = crop, shape

    @property
    def grid(self) -> _Map:
        """Shape (g, g), float32."""
        if callable(self._grid):
            self._grid = self._grid()
        return self._grid

    def __call__(self) -> _Map:
        """Draw it: `shape`, float32."""
        if self._drawn is None:
            laid = to_picture(self.grid, self.crop, *self.shape)
            self._drawn = _relative(laid) if self._is_relative else laid
        return self._drawn


class _DrawnMap:
    """A field that holds a map, or the call that draws it when it is first read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = f"_{name}"

    def __get__(self, instance: Explanation | None, owner: type) -> _Map:
        if instance is None:
            raise AttributeError(self._key)  # To a dataclass: there is no default.
        value: MapSource = vars(instance)[self._key]
        if isinstance(value, GridMap):
            return value()
        if callable(value):
            value = vars(instance)[self._key] = value()
        return value

    def __set__(self, instance: Explanation, value: MapSource) -> None:
        vars(instance)[self._key] = value


@dataclass(frozen=True, repr=False)
class Explanation:
    """Where the network looked.

    Parameters
    ----------
    evidence
        Shape (H, W), float32, 0 to 1: probability that the spot shows the
        explained lesion. Also a call without arguments that draws it.
    gradcam
        Shape (H, W), float32, 0 to 1, scaled to its own maximum. Also such a call.
    explained
        What both maps speak of: the most probable tumour or other lesion.
    outline
        Closed polygons of shape (K, 2), int32, x then y: the evidence at half
        height. Empty where no spot reaches it.
    box
        The box around the outlined spot that holds the peak.
    size_mm
        Longer and shorter side of the box; None without spacing.
    """

    evidence: _DrawnMap = _DrawnMap()
    gradcam: _DrawnMap = _DrawnMap()
    # The type checker takes the descriptors for defaults, which they are not.
    explained: Finding  # type: ignore[misc]
    outline: tuple[NDArray[np.int32], ...] = field(default=())
    box: Box | None = None
    size_mm: tuple[float, float] | None = None

    @property
    def grids(self) -> tuple[GridMap, GridMap] | None:
        """Evidence and Grad-CAM over the network's grid; None where only maps are."""
        evidence, gradcam = vars(self)["_evidence"], vars(self)["_gradcam"]
        if isinstance(evidence, GridMap) and isinstance(gradcam, GridMap):
            return evidence, gradcam
        return None

    def __repr__(self) -> str:
        """Name what is explained and where, without the maps."""
        return f"<Explanation of {self.explained}: {self.box}>"


def _no_pixels() -> NDArray[np.float32]:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True, repr=False)
class Prediction:
    """Everything known of one slice.

    Parameters
    ----------
    source
        The file's name, as the user knows it.
    index
        The slice's position in its series, from 0.
    height, width
        Size of the picture, in pixels.
    spacing_mm, plane
        Spacing and plane that the file states; None where it states none.
    decision, explanation
        See `Decision` and `Explanation`.
    model_version
        Version of the bundle that was asked.
    milliseconds
        Time from pixels to the decision, shared evenly in a batch; maps are drawn
        when they are first read, and do not count.
    notes
        What a user should know about how the file was read.
    pixels
        Shape (H, W), float32: the picture that was judged, for overlays; of
        shape (0, 0) in a prediction that was restored without it.
    head
        Edge of the square that holds the head, in pixels; 0 in a prediction
        that was restored without it.
    view
        What of the picture was judged, where it shows more than the slice; else
        None.
    model_precision
        Arithmetic of the graph that answered, ``float32`` or ``int8``.
    clinical
        What clinical columns did; None where none were asked for.
    sequence
        Which MR sequence it is of, and who says so.
    """

    source: str
    index: int
    height: int
    width: int
    spacing_mm: tuple[float, float] | None
    plane: Plane | None
    decision: Decision
    explanation: Explanation
    model_version: str
    milliseconds: float
    notes: tuple[str, ...] = field(default=())
    pixels: NDArray[np.float32] = field(default_factory=_no_pixels, repr=False)
    head: int = 0
    clinical: ClinicalUse | None = None
    sequence: SequenceEstimate = field(default=SequenceEstimate())
    view: PictureView | None = None
    model_precision: Precision = FLOAT32

    def __repr__(self) -> str:
        """Say what was judged, and both answers."""
        decision = self.decision
        return short_repr(self, decision.finding, decision.kinds, decision.p_tumor)

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `tumorlens predict --json` writes, as plain values.

        Raises
        ------
        ValueError
            Where a number is not finite.
        """
        document: dict[str, Any] = of_report(
            "slice.document", "prediction_to_json", self
        )
        return document

    def _repr_html_(self) -> str:
        """Show the answers, the picture with its evidence and bars in a notebook."""
        html: str = of_report("notebook", "prediction_html", self)
        return html


Result = TypeVar("Result")


class Predictions(list[Result]):
    """Results in a list: predictions for slices or series, and failures.

    Examples
    --------
    >>> import tumorlens
    >>> classifier = tumorlens.load_classifier()                  # doctest: +SKIP
    >>> table = classifier.predict(["a.png", "b.png"]).to_frame() # doctest: +SKIP
    >>> stream = classifier.predict_many(paths)                   # doctest: +SKIP
    >>> tumorlens.Predictions(stream).to_frame()                  # doctest: +SKIP
    """

    def to_frame(self) -> Any:  # noqa: ANN401 - pandas need not be installed
        """Return a pandas DataFrame with a row for each result.

        Returns
        -------
        pandas.DataFrame
            The columns of `tumorlens predict --csv`; probabilities 0 to 1, NaN where
            there is none. `kinds` holds lists.

        Raises
        ------
        MissingLibraryError
            Where pandas is not installed.
        """
        return of_report("notebook", "frame_of", self)

    def _repr_html_(self) -> str:
        """Show a table of the answers in a notebook."""
        html: str = of_report("notebook", "results_html", self)
        return html


def of_report(module: str, function: str, result: object) -> Any:  # noqa: ANN401
    """Have the report show a result: it knows results, which know it by name alone."""
    return getattr(import_module(f"tumorlens.report.{module}"), function)(result)


def short_repr(
    result: Any,  # noqa: ANN401 - a prediction of either kind
    finding: Answer,
    kinds: tuple[Finding, ...],
    p_tumor: float | None,
) -> str:
    """Write a prediction on one line: what was judged, and both answers."""
    words = [finding.value, *([f"({', '.join(kinds)})"] if kinds else [])]
    if p_tumor is not None:
        words.append(f"p_tumor={p_tumor:.3f}")
    return f"<{type(result).__name__} of {result.source!r}: {' '.join(words)}>"


@dataclass(frozen=True)
class Failure:
    """A file or slice that could not be judged.

    Parameters
    ----------
    source
        The file's name, as the user knows it.
    code, message, hint
        Code, message and hint of the error.
    """

    source: str
    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, source: str, error: TumorLensError) -> Self:
        """Make the failure of a file from the error that it raised."""
        return cls(source, error.code, error.message, error.hint)

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `tumorlens predict --json` writes for a failure."""
        document: dict[str, Any] = of_report("slice.document", "failure_to_json", self)
        return document

    @property
    def mend(self) -> str:
        """Old name of `hint`; it goes with the next release."""
        warn_of_old_name("mend", "hint")
        return self.hint


def explain(
    outputs: RawOutputs,
    row: int,
    crop: Crop,
    slice_: Slice,
    decision: Decision,
    calibration: CellCalibration,
) -> Explanation:
    """Show where the network looked.

    Parameters
    ----------
    outputs
        Outputs of the network for a batch.
    row
        The slice's place in the batch.
    crop
        Where the model's input lies in the picture.
    slice_
        The picture.
    decision
        Decision for this slice: both maps speak of its most probable tumour or other
        lesion.
    calibration
        Calibration of the evidence map's cells.

    Returns
    -------
    Explanation
        Maps of the picture's height and width, drawn when they are first read. No
        outline where the picture was refused or called free of tumour, or where no
        spot reaches `MIN_PEAK`.

    References
    ----------
    Grad-CAM: Selvaraju et al. 2017, ICCV. In closed form for a head of global
    average pooling and one dense layer: Zhou et al. 2016, CVPR.
    """
    explained = decision.likeliest_lesion
    names: tuple[Finding, ...] = FINDINGS
    if isinstance(explained, OwnClass):
        names = explained.siblings
    column, clear = names.index(explained), clear_places(names)
    cells = partial(
        cell_probabilities, outputs.evidence[row], column, calibration, clear
    )
    weights = outputs.gradcam[row, :, :, column]
    evidence: MapSource
    gradcam: MapSource
    if slice_.view is None and slice_.pixel_aspect == 1.0:
        shape = slice_.height, slice_.width
        evidence = GridMap(cells, crop, shape, is_relative=False)
        gradcam = GridMap(weights, crop, shape, is_relative=True)
    else:
        evidence = partial(_evidence_map, cells, crop, slice_)
        gradcam = partial(_gradcam_map, weights, crop, slice_)
    if decision.finding in (Answer.NOT_BRAIN_MRI, Answer.NO_TUMOR):
        return Explanation(evidence, gradcam, explained)
    drawn = evidence()
    outline, box = _outline(drawn)
    return Explanation(
        evidence if isinstance(evidence, GridMap) else drawn,
        gradcam,
        explained,
        outline,
        box,
        _size_mm(box, slice_.spacing_mm),
    )


def _evidence_map(cells: Callable[[], _Map], crop: Crop, slice_: Slice) -> _Map:
    return _laid_over(cells(), crop, slice_)


def _gradcam_map(cells: _Map, crop: Crop, slice_: Slice) -> _Map:
    return _relative(_laid_over(cells, crop, slice_))


def _relative(gradcam: _Map) -> _Map:
    strongest = cv2.minMaxLoc(gradcam)[1]
    if strongest > 0.0:
        gradcam *= np.float32(1.0 / strongest)
    return gradcam


def _laid_over(
    grid: NDArray[np.float32], crop: Crop, slice_: Slice
) -> NDArray[np.float32]:
    """Lay a map over the picture; the crop counts pixels of what was judged of it."""
    height, width = slice_.view.shape if slice_.view else slice_.pixels.shape
    shape = square_shape(height, width, slice_.pixel_aspect)
    laid = to_picture(grid, crop, *shape)
    if shape != (height, width):
        laid = np.asarray(cv2.resize(laid, (width, height)), np.float32)
    return over_picture(laid, slice_.view, slice_.height, slice_.width)


def cell_probabilities(
    evidence: NDArray[np.float32],
    column: int,
    calibration: CellCalibration,
    clear: Sequence[int] = (NO_TUMOR_INDEX,),
) -> NDArray[np.float32]:
    """Give the probability that each cell shows a lesion.

    Parameters
    ----------
    evidence
        Shape (g, g, F), before softmax.
    column
        Index of the finding.
    calibration
        Calibration of the cells.
    clear
        Indices of the classes that are free of tumour.

    Returns
    -------
    ndarray
        Shape (g, g), float32, 0 to 1; smoothed over neighbours.
    """
    odds = evidence[:, :, column] - evidence[:, :, list(clear)].max(axis=-1)
    scale, bias = np.float32(calibration.scale), np.float32(calibration.bias)
    # Beyond 30 the exponential changes nothing that float32 can hold.
    share = 1.0 / (1.0 + np.exp(np.clip(-(scale * odds + bias), -30.0, 30.0)))
    smooth: NDArray[np.float32] = cv2.GaussianBlur(share, (0, 0), SMOOTHING)
    return smooth


def _outline(
    evidence: NDArray[np.float32],
) -> tuple[tuple[NDArray[np.int32], ...], Box | None]:
    """Outline every spot at half height, and box the one that holds the peak."""
    _, peak, _, (peak_x, peak_y) = cv2.minMaxLoc(evidence)
    if peak < MIN_PEAK:
        return (), None
    mask = (evidence >= np.float32(OUTLINE_LEVEL * peak)).view(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    box = None
    for contour in contours:
        x, y, width, height = cv2.boundingRect(contour)
        if cv2.pointPolygonTest(contour, (peak_x, peak_y), False) >= 0:
            box = Box(x, y, x + width, y + height)
    return tuple(np.asarray(contour[:, 0, :], np.int32) for contour in contours), box


def _size_mm(
    box: Box | None, spacing_mm: tuple[float, float] | None
) -> tuple[float, float] | None:
    if box is None or spacing_mm is None:
        return None
    down, across = spacing_mm
    sides = ((box.x1 - box.x0) * across, (box.y1 - box.y0) * down)
    return max(sides), min(sides)
