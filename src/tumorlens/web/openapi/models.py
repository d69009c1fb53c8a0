"""Requests and answers of the API as types: the OpenAPI document is made from them.

The views write the same documents as plain dictionaries (`tumorlens.report`), and do
not import these types: pydantic is loaded when the OpenAPI document is asked for, not
when the server starts. Tests hold every answer against its type.

Tested in `tests/web/openapi/test_document.py`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import CLASSES, Answer, Lesion, TumorClass, Verdict
from tumorlens.web.uploads.upload import State

# `openapi_document` puts the classes of a user's own bundle in the place of the four.
Finding = TumorClass | Lesion
Decided = Finding | Verdict

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Address = Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
Millimetres2 = Annotated[list[float], Field(min_length=2, max_length=2)]
Millimetres3 = Annotated[list[float], Field(min_length=3, max_length=3)]


def _name_classes(schema: dict[str, Any]) -> None:
    """Turn a mapping by class into an object with one property for each class."""
    share = schema.pop("additionalProperties")
    del schema["propertyNames"], schema["minProperties"]
    schema["required"] = [name.value for name in CLASSES]
    schema["properties"] = dict.fromkeys(schema["required"], share)


ByClass = Annotated[
    dict[TumorClass, Share],
    Field(min_length=len(CLASSES), json_schema_extra=_name_classes),
]
"""One share for each class."""


Explained = Literal[
    TumorClass.GLIOMA,
    TumorClass.MENINGIOMA,
    TumorClass.PITUITARY,
    Lesion.OTHER,
    Lesion.VASCULAR,
]


class ProblemDetail(BaseModel):
    """Error, and a hint what to do about it."""

    code: str
    message: str
    mend: str


class Problem(BaseModel):
    """An error of the API, as RFC 9457 has it."""

    type: str = Field(description="URN that ends in the code of the error.")
    title: str
    status: int
    detail: str
    error: ProblemDetail


class Health(BaseModel):
    """The state of the server."""

    status: str


class Box(BaseModel):
    """A box around the outline."""

    x0: int
    y0: int
    x1: int
    y1: int


class PictureView(BaseModel):
    """What of the picture was judged, where it shows more than the slice."""

    corners: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        min_length=4,
        max_length=4,
        description="In pixels of the picture, clockwise from the upper left.",
    )
    height: int = Field(description="Of the slice once it is cut out and straight.")
    width: int
    inverted: bool = Field(description="Whether its greys were turned round.")


class FeedbackForm(BaseModel):
    """What a reader says of a result."""

    correct: bool = Field(description="Whether the result is right.")
    finding: Finding | None = Field(
        default=None, description="What it shows, where the reader knows it."
    )


class Feedback(BaseModel):
    """What a reader said of a result."""

    correct: bool
    finding: Finding | None = Field(
        description="Null where the reader does not say; of a right result that names "
        "a class, that class."
    )
    at: datetime


class PredictionLinks(BaseModel):
    """Addresses of what belongs to a prediction."""

    self: Address
    evidence: Address
    gradcam: Address
    overlay: Address
    report: Address


class SequenceSources(BaseModel):
    """The sequence as each source names it; null where a source names none."""

    pixels: MRSequence | None
    header: MRSequence | None
    file_name: MRSequence | None


class RawNumbers(BaseModel):
    """What the network gave for a refused picture."""

    predicted: TumorClass
    probabilities: ByClass
    p_tumor: Share
    p_other: Share | None
    p_vascular: Share | None
    prediction_set: list[Finding]
    slice_head: ByClass | None
    evidence_head: ByClass | None
    explained: Explained


class Prediction(BaseModel):
    """A prediction for one slice, with its links."""

    schema_: Literal["tumorlens-prediction/1"] = Field(alias="schema")
    file: str
    slice: Count
    status: Literal["ok"]
    predicted: TumorClass | None = Field(
        description="The most probable of the four classes; null where refused."
    )
    decision: Decided = Field(
        description="Both answers in one word: a class where one kind is left, "
        "`tumor` where the kind is open."
    )
    finding: Answer = Field(description="Is there a tumour?")
    kinds: list[Finding] | None = Field(
        description="Kinds that are not ruled out, likeliest first; empty where the "
        "finding is no tumour and no lesion, null where refused."
    )
    headline: str = Field(description="Both answers in plain words.")
    probabilities: ByClass | None = Field(
        description="Calibrated; they sum to 1. null where refused, as all below."
    )
    p_tumor: Share | None = Field(description="Of any tumour, other kinds too.")
    p_other: Share | None = Field(
        description="Of a tumour of another kind; null where the model knows none."
    )
    p_vascular: Share | None = Field(
        description="Of a vascular lesion, which is no tumour; null where the model "
        "knows none."
    )
    prediction_set: Annotated[list[Finding], Field(min_length=1)] | None
    domain_score: Share = Field(
        description="1 for a brain MRI like those the model knows."
    )
    slice_head: ByClass | None = Field(
        description="By the slice head alone, uncalibrated."
    )
    evidence_head: ByClass | None = Field(
        description="By the evidence head alone, uncalibrated."
    )
    brain_share: Share = Field(
        description="How much of the head's square is plainly brain."
    )
    operating_point: str
    reasons: list[str] = Field(
        description="Why the finding is uncertain, the kind open, or it is refused."
    )
    explained: Explained | None = Field(
        description="What maps, outline and box speak of."
    )
    box: Box | None = Field(
        description="In pixels of the picture; x1 and y1 lie outside it."
    )
    outline: list[list[Annotated[list[int], Field(min_length=2, max_length=2)]]]
    size_mm: Millimetres2 | None
    height: int
    width: int
    spacing_mm: Millimetres2 | None
    plane: str | None
    sequence: MRSequence | None = Field(
        description="Pixels, header and file name weighed."
    )
    sequence_probability: Share | None = Field(
        description="Null where the model does not tell sequences apart."
    )
    sequence_by: SequenceSources
    notes: list[str]
    view: PictureView | None = Field(
        description="Null where the whole picture was judged, as it is."
    )
    model_version: str
    model_precision: Literal["float32", "int8"] = Field(
        description="Arithmetic of the graph that answered."
    )
    ms: Annotated[float, Field(ge=0)]
    raw: RawNumbers | None = Field(
        description="What the network gave for a refused picture, for the record: it "
        "means nothing. null where not refused."
    )
    feedback: Feedback | None = Field(
        description="What a reader said of it; null for nothing so far."
    )
    research_use_only: str
    id: str
    pinned: bool = Field(description="Whether it stays until it is unpinned.")
    links: PredictionLinks


class Failure(BaseModel):
    """A file that could not be judged."""

    schema_: Literal["tumorlens-prediction/1"] = Field(alias="schema")
    file: str
    status: str = Field(description="Code of the error.")
    finding: None = None
    kinds: None = None
    headline: str
    message: str
    mend: str = Field(description="What to do about it.")
    research_use_only: str


class Predictions(BaseModel):
    """The answer to an upload of pictures."""

    predictions: list[Prediction]
    failures: list[Failure]


class PredictionList(BaseModel):
    """A page of a list of predictions, the newest first."""

    predictions: list[Prediction]
    next: Address | None = Field(description="Of the next page; null on the last.")


class ScanProgress(BaseModel):
    """Progress of a scan."""

    done: Count = Field(description="Slices judged.")
    total: Count = Field(description="0 where not known.")
    fraction: Share | None = Field(description="null where not known.")


class SeriesLinks(BaseModel):
    """Addresses of what belongs to a series; null where there is none yet."""

    finding: Address | None
    evidence: Address | None


class ScanSeries(BaseModel):
    """One series of a scan, in short."""

    index: Count
    state: Literal[State.WAITING, State.DONE]
    plane: str | None
    sequence: str | None
    slices: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    spacing_mm: Millimetres2 | None = Field(
        description="In mm. Between rows and between columns."
    )
    decision: Decided | None
    p_tumor: Share | None = Field(
        description="null before it is judged, or where nothing could be."
    )
    not_judged: str | None = Field(description="Why nothing could be judged.")
    feedback: Feedback | None = Field(
        description="What a reader said of it; null for nothing so far."
    )
    links: SeriesLinks


class ScanLinks(BaseModel):
    """Addresses of what belongs to a scan."""

    self: Address
    report: Address | None
    study: Address


class Scan(BaseModel):
    """Status of a scan."""

    schema_: Literal["tumorlens-scan-status/1"] = Field(alias="schema")
    id: str
    file: str
    state: State
    made: datetime
    pinned: bool = Field(description="Whether it stays until it is unpinned.")
    progress: ScanProgress
    error: ProblemDetail | None = Field(description="Why it failed.")
    notes: list[str]
    operating_point: str
    series: list[ScanSeries]
    predictions: list[Address] = Field(
        description="Addresses of single pictures that form no series."
    )
    research_use_only: str
    links: ScanLinks


class ScanList(BaseModel):
    """A page of a list of scans, the newest first."""

    scans: list[Scan]
    next: Address | None = Field(description="Of the next page; null on the last.")


class SeriesLesion(BaseModel):
    """The most suspicious spot of a series."""

    box: Annotated[list[Count], Field(min_length=6, max_length=6)]
    voxels: Count
    peak: Annotated[list[Count], Field(min_length=3, max_length=3)]
    size_mm: Millimetres3 | None = Field(
        description="In mm. Along slices, rows and columns."
    )
    centroid_lps_mm: Millimetres3 | None = Field(
        description="In mm. Left, posterior, superior."
    )
    side: str | None
    location: str


class RawSeriesNumbers(BaseModel):
    """What the network gave for a refused series."""

    predicted: TumorClass
    probabilities: ByClass
    p_tumor: Share
    p_other: Share | None
    p_vascular: Share | None


class ScanFinding(BaseModel):
    """The finding of one series."""

    schema_: Literal["tumorlens-scan/1"] = Field(alias="schema")
    file: str
    status: Literal["ok"]
    plane: str | None
    sequence: str | None
    sequence_caveat: str | None = Field(
        description="A sentence where the model was not trained on the sequence."
    )
    slices: Count
    without_brain: Count
    refused: Count
    not_judged: str | None = Field(
        description="Why nothing could be judged; null where anything was."
    )
    predicted: TumorClass | None
    decision: Decided
    finding: Answer = Field(description="Is there a tumour?")
    kinds: list[Finding] | None = Field(
        description="Kinds that are not ruled out, likeliest first; null where refused."
    )
    headline: str = Field(description="Both answers in plain words.")
    probabilities: ByClass | None = Field(
        description="They sum to 1; null where refused."
    )
    p_tumor: Share | None = Field(
        description="Of any tumour in the series, other kinds too; null likewise."
    )
    p_other: Share | None = Field(
        description="Of a tumour of another kind; null where the model knows none."
    )
    p_vascular: Share | None = Field(
        description="Of a vascular lesion, which is no tumour; null where the model "
        "knows none."
    )
    p_tumor_by_plane: dict[str, Share] = Field(
        description="Of each plane that was judged."
    )
    operating_point: str
    reasons: list[str]
    notes: list[str] = Field(description="How the files were read.")
    run: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = Field(
        description="First and last-plus-one slice that decided."
    )
    key_slices: list[Count]
    slice_p_tumor: list[Share | None] = Field(
        description="null where a slice was not judged."
    )
    lesion: SeriesLesion | None
    size_measured: bool
    model_version: str
    model_precision: Literal["float32", "int8"] = Field(
        description="Arithmetic of the graph that answered."
    )
    seconds: Annotated[float, Field(ge=0)]
    raw: RawSeriesNumbers | None = Field(
        description="What the network gave for a refused series, for the record: it "
        "means nothing. null where not refused."
    )
    research_use_only: str


class StudySequences(BaseModel):
    """MR sequences of a study."""

    counted: list[str]
    shown_by: list[str] = Field(
        description="Those that show a tumour there by themselves."
    )
    missing: list[str] = Field(description="Those that would have counted.")


class StudySum(BaseModel):
    """How sequences were weighed: a sum of log-odds of a tumour."""

    is_learned: bool
    sequences: list[str]
    weights: list[float]
    bias: float
    auroc: dict[str, Share] | None


class StudySeries(BaseModel):
    """What one series adds to a study."""

    file: str
    slices: Count
    sequence: str | None
    sequence_probability: Share | None
    sequence_by: dict[str, str | None]
    counts: bool
    reason: str | None = Field(description="Why it does not count.")
    cut_anew: bool
    alone: dict[str, Any] | None = Field(
        description="What it shows by itself, with keys of its own finding."
    )
    p_tumor_there: Share | None = Field(description="In the slices that decide.")
    slice_p_tumor: list[Share | None] | None


class StudyGrid(BaseModel):
    """The series whose slices all others were laid on."""

    series: Count
    plane: str | None
    slices: Count
    without_brain: Count
    refused: Count
    affine_ras: list[list[float]] | None


class StudyFinding(BaseModel):
    """The finding of all series of one study together."""

    schema_: Literal["tumorlens-study/1"] = Field(alias="schema")
    status: Literal["ok"]
    finding: Answer
    kinds: list[Finding] | None
    headline: str
    decision: Decided
    predicted: TumorClass | None
    probabilities: ByClass | None
    p_tumor: Share | None
    raw: RawSeriesNumbers | None
    not_judged: str | None
    operating_point: str
    reasons: list[str]
    notes: list[str]
    run: Annotated[list[Count], Field(min_length=2, max_length=2)] | None
    key_slices: list[Count]
    slice_p_tumor: list[Share | None]
    lesion: SeriesLesion | None
    size_measured: bool
    summary: list[str] = Field(description="Which series count, and why others do not.")
    sequences: StudySequences
    weights: StudySum | None
    series: list[StudySeries]
    grid: StudyGrid
    model_version: str
    model_precision: Literal["float32", "int8"] = Field(
        description="Arithmetic of the graph that answered."
    )
    seconds: Annotated[float, Field(ge=0)]
    research_use_only: str


class PictureForm(BaseModel):
    """An upload of pictures."""

    file: list[
        Annotated[str, Field(json_schema_extra={"contentMediaType": "image/*"})]
    ] = Field(min_length=1, description="Pictures; repeat the field for several.")
    operating_point: str = ""


class ScanForm(BaseModel):
    """An upload of the files of one study."""

    file: list[
        Annotated[str, Field(json_schema_extra={"contentMediaType": "application/*"})]
    ] = Field(
        min_length=1,
        description="One zip, DICOM, NIfTI or NRRD file, or the DICOM files of a "
        "study; repeat the field for several.",
    )
    operating_point: str = ""
    callback: str = Field(
        "",
        description="Address that is told once the scan is over, on a host that this "
        "server knows.",
    )
