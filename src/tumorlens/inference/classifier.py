"""The pipeline on one page: read, prepare, run, decide, explain."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, compress, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import InputError, SettingError
from tumorlens.imaging.formats import display_name
from tumorlens.imaging.preprocess.framing import view_pixels
from tumorlens.imaging.preprocess.slice import (
    Crop,
    Preprocessing,
    brain_share,
    prepare,
    with_square_pixels,
)
from tumorlens.imaging.read import Picture, is_single, read, source_name
from tumorlens.imaging.study import Slice, Study
from tumorlens.inference.bundle.bundle import CLINICAL_FILE, DEFAULT_BUNDLE, Bundle
from tumorlens.inference.bundle.facts import FLOAT32, Precision
from tumorlens.inference.slice.decision import (
    Decision,
    RawOutputs,
    decide,
    firm_decision,
)
from tumorlens.inference.slice.ood import OodModel
from tumorlens.inference.slice.prediction import (
    Explanation,
    Failure,
    Prediction,
    Predictions,
    SequenceEstimate,
    estimate_sequence,
    explain,
    sequence_caveat,
)
from tumorlens.inference.slice.session import AUTO, LoadedModel, Session, load_model

if TYPE_CHECKING:
    from tumorlens.inference.clinical import ClinicalModel

DEFAULT_BATCH = 1
"""One thread runs one slice as quickly as each of four, in far less memory."""

_Item = TypeVar("_Item")
_Chunk = TypeVar("_Chunk")
_Result = TypeVar("_Result")

_READERS = 2
_FILES_AHEAD = 4
_BATCH_PIXELS = 4_000_000
"""A batch of large pictures is cut short here, so that memory stays flat."""


class Classifier:
    """Reads brain MRI slices and says what they show, how sure, and where.

    Made by `load_classifier`. Safe to use from several threads.

    Parameters
    ----------
    bundle, session, ood
        Parts of a `LoadedModel`.
    clinical
        What it knows of clinical columns; None where it knows none.
    """

    def __init__(
        self,
        bundle: Bundle,
        session: Session,
        ood: OodModel,
        clinical: ClinicalModel | None = None,
    ) -> None:
        self.bundle = bundle
        self.clinical = clinical
        self._session = session
        self._ood = ood

    @property
    def precision(self) -> Precision:
        """Arithmetic of the graph that answers: ``float32`` or ``int8``."""
        return self._session.precision

    def predict(
        self,
        source: Picture | Iterable[Picture],
        operating_point: str | None = None,
        name: str | None = None,
        clinical: Mapping[str, Any] | None = None,
        batch: int = DEFAULT_BATCH,
    ) -> Prediction | Predictions[Prediction]:
        """Judge one picture, or several.

        Parameters
        ----------
        source
            Whatever `read` takes: a path, the bytes of a file, an open file, an array
            of shape (H, W) or (H, W, 3) in RGB with finite numbers, a Pillow or
            nibabel image, a pydicom dataset, a study; or a list of these.
        operating_point
            A name from the bundle, ``screening`` or ``balanced``; by default
            the bundle's own choice.
        name
            What the user calls a single source.
        clinical
            The patient's clinical values by column (text, numbers or None), for
            a bundle that has learned such columns; by default the image alone
            counts.
        batch
            Slices in one forward pass, at least 1.

        Returns
        -------
        Prediction or Predictions
            One for a single slice; a list, one for each slice in order, for a
            list of sources or for a file of several slices.

        Raises
        ------
        InputError
            Where a source cannot be used. To go on past such files, use
            `predict_many`.
        SettingError
            Where the operating point is not in the bundle, or `clinical` is
            given and the bundle has learned no columns.
        """
        single = is_single(source)
        if not single and not isinstance(source, Iterable):
            read(source)  # It says what cannot be read.
        studies = (read(x, name) for x in ([source] if single else source))
        slices = ((item, study.notes) for study in studies for item in study.slices)
        predictions = Predictions(self._in_batches(slices, batch, operating_point))
        if clinical is not None:
            predictions = Predictions(
                self.with_columns(item, clinical) for item in predictions
            )
        return predictions[0] if single and len(predictions) == 1 else predictions

    def _in_batches(
        self,
        slices: Iterable[tuple[Slice, tuple[str, ...]]],
        batch: int,
        operating_point: str | None,
    ) -> Iterator[Prediction]:
        """Judge slices, each with the notes of its study, so many at a time."""
        check_batch(batch)
        point = self.point(operating_point)
        waiting = iter(slices)
        first = list(islice(waiting, batch + 1))
        if len(first) <= batch:
            yield from self._judge([self._prepare(*item) for item in first], point)
            return

        def judge(chunk: list[tuple[Slice, tuple[str, ...]]]) -> list[Prediction]:
            prepared = [self._prepare(*item) for item in chunk]
            return self._judge(prepared, point, side_by_side=True)

        yield from self._in_lanes(judge, _chunks(chain(first, waiting), batch))

    def _in_lanes(
        self, judge: Callable[[_Chunk], list[_Result]], chunks: Iterable[_Chunk]
    ) -> Iterator[_Result]:
        """Judge chunks in as many threads as the network has, each with one of them.

        Results keep the order of the chunks, which are taken as results are asked for.
        """
        lanes = self._session.threads
        if lanes == 1:
            for chunk in chunks:
                yield from judge(chunk)
            return
        # One chunk waits, so that no lane does.
        yield from _in_order(judge, chunks, lanes, lanes, "judge")

    def with_columns(
        self, prediction: Prediction, row: Mapping[str, Any] | None
    ) -> Prediction:
        """Decide anew by the image and the patient's clinical columns together.

        Parameters
        ----------
        prediction
            Prediction of this classifier, by the image alone.
        row
            Values by column; None where nothing is known of the patient.

        Raises
        ------
        InputError
            There is text where the model has learned numbers.
        SettingError
            The bundle has learned no columns.
        """
        from tumorlens.inference.clinical import add_columns

        return add_columns(prediction, row, self.clinical_model(), self.bundle)

    def clinical_model(self) -> ClinicalModel:
        """Return what the bundle knows of clinical columns.

        Raises
        ------
        SettingError
            It has learned none.
        """
        if self.clinical is None:
            raise SettingError(
                f"The model in {display_name(self.bundle.folder)} has learned no "
                "clinical columns.",
                "Make one that has: tumorlens train --clinical TABLE.csv.",
            )
        return self.clinical

    def predict_study(
        self, study: Study, operating_point: str | None = None
    ) -> list[Prediction]:
        """Judge every slice of a study that was read before.

        Parameters
        ----------
        study
            Study that `read` has read.
        operating_point
            See `predict`.
        """
        return list(self.predict_slices(study.slices, operating_point, study.notes))

    def predict_slices(
        self,
        slices: Sequence[Slice],
        operating_point: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> Iterator[Prediction]:
        """Judge slices batch by batch, as results are asked for.

        Parameters
        ----------
        slices
            Slices in order; memory does not grow with their number.
        operating_point
            See `predict`.
        notes
            Notes on the study, for each prediction.

        Yields
        ------
        Prediction
            One for each slice, in order.
        """
        with_notes = ((item, notes) for item in slices)
        yield from self._in_batches(with_notes, DEFAULT_BATCH, operating_point)

    def predict_brain(
        self, slices: Sequence[Slice], operating_point: str | None = None
    ) -> Iterator[Prediction | None]:
        """Judge those slices that show enough brain; the network skips the others.

        Parameters
        ----------
        slices, operating_point
            See `predict_slices`.

        Yields
        ------
        Prediction or None
            One for each slice, in order; None for too little brain.
        """
        point = self.point(operating_point)
        least = self.bundle.rules.min_brain_share or 0.0

        def judge(chunk: list[Slice]) -> list[Prediction | None]:
            prepared = [self._prepare(item, ()) for item in chunk]
            kept = [x.brain_share > 0.0 and x.brain_share >= least for x in prepared]
            shown = list(compress(prepared, kept))
            judged = iter(self._judge(shown, point, side_by_side=True))
            return [next(judged) if keep else None for keep in kept]

        yield from self._in_lanes(judge, _chunks(slices, DEFAULT_BATCH))

    def predict_many(
        self,
        sources: Iterable[Picture],
        batch: int = DEFAULT_BATCH,
        operating_point: str | None = None,
    ) -> Iterator[Prediction | Failure]:
        """Judge a stream of pictures; one that cannot be used becomes a Failure.

        Files are read ahead while the network runs; memory does not grow with
        their number.

        Parameters
        ----------
        sources
            See `predict`; taken one by one as results are asked for.
        batch
            Slices in one forward pass, at least 1.
        operating_point
            See `predict`.

        Yields
        ------
        Prediction or Failure
            Results in the order of the sources; a file of several slices yields one
            for each.
        """
        check_batch(batch)
        return self._stream(sources, batch, self.point(operating_point))

    def _stream(
        self, sources: Iterable[Picture], batch: int, point: str
    ) -> Iterator[Prediction | Failure]:
        def judge(items: list[PreparedSlice | Failure]) -> list[Prediction | Failure]:
            prepared = [item for item in items if isinstance(item, PreparedSlice)]
            judged = iter(self._judge(prepared, point, side_by_side=True))
            return [x if isinstance(x, Failure) else next(judged) for x in items]

        read = read_ahead(sources, self.bundle.preprocessing)
        yield from self._in_lanes(judge, batches(read, batch))

    def _prepare(self, slice_: Slice, notes: tuple[str, ...]) -> PreparedSlice:
        return prepare_slice(slice_, notes, self.bundle.preprocessing)

    def _judge(
        self, batch: Sequence[PreparedSlice], point: str, side_by_side: bool = False
    ) -> list[Prediction]:
        if not batch:
            return []
        start = time.perf_counter()
        first = batch[0].pixels[np.newaxis]
        inputs = first if len(batch) == 1 else np.stack([x.pixels for x in batch])
        outputs = self._session.run(inputs, side_by_side)
        decisions = self._decisions(outputs, batch, point)
        close = [row for row, item in enumerate(decisions) if item is None]
        if close:
            exact = self._session.float32.run(inputs[close], side_by_side)
            outputs = outputs.with_rows(close, exact)
        judged = [
            self._explained(outputs, row, item, point, decision)
            for row, (item, decision) in enumerate(zip(batch, decisions, strict=True))
        ]
        share = (time.perf_counter() - start) / len(batch)
        sequences = [self._sequence(outputs, row, x) for row, x in enumerate(batch)]
        return [
            Prediction(
                source=item.slice_.source,
                index=item.slice_.index,
                height=item.slice_.height,
                width=item.slice_.width,
                spacing_mm=item.slice_.spacing_mm,
                plane=item.slice_.plane,
                decision=decision,
                explanation=explanation,
                model_version=self.bundle.version,
                model_precision=FLOAT32 if row in close else self.precision,
                milliseconds=1000.0 * (item.seconds + share),
                pixels=item.slice_.pixels,
                view=item.slice_.view,
                notes=(*item.notes, *self._caveats(sequence)),
                head=item.crop.side,
                sequence=sequence,
            )
            for row, (item, sequence, (decision, explanation)) in enumerate(
                zip(batch, sequences, judged, strict=True)
            )
        ]

    def _decisions(
        self, outputs: RawOutputs, batch: Sequence[PreparedSlice], point: str
    ) -> list[Decision | None]:
        """Decide; None where a faster graph is too close to a border."""
        decided: list[Decision | None] = []
        margins = self._session.margins
        for row, item in enumerate(batch):
            given = (outputs, row, item.slice_, self.bundle, self._ood, point)
            if margins is None:
                decided.append(decide(*given, item.brain_share))
            else:
                decided.append(firm_decision(*given, item.brain_share, margins))
        return decided

    def _sequence(
        self, outputs: RawOutputs, row: int, item: PreparedSlice
    ) -> SequenceEstimate:
        slice_ = item.slice_
        return estimate_sequence(
            slice_.sequence,
            slice_.source,
            self.bundle.sequence_head,
            None if outputs.sequence is None else outputs.sequence[row],
        )

    def _caveats(self, estimate: SequenceEstimate) -> list[str]:
        # Without a look at the pixels a file's name alone is not believed.
        told = estimate.header if estimate.pixels is None else estimate.sequence
        caveat = sequence_caveat(told, self.bundle.known_sequences)
        return [text for text in (caveat, estimate.disagreement) if text is not None]

    def _explained(
        self,
        outputs: RawOutputs,
        row: int,
        item: PreparedSlice,
        point: str,
        decision: Decision | None,
    ) -> tuple[Decision, Explanation]:
        bundle, slice_ = self.bundle, item.slice_
        if decision is None:
            decision = decide(
                outputs, row, slice_, bundle, self._ood, point, item.brain_share
            )
        return decision, explain(
            outputs, row, item.crop, slice_, decision, bundle.cells
        )

    def point(self, name: str | None) -> str:
        """Name an operating point; the bundle's own choice for None.

        Raises
        ------
        SettingError
            Where it is not in the bundle.
        """
        return self.bundle.point(name)


def load_classifier(
    bundle: str | Path | None = None,
    threads: int | None = None,
    side_by_side: bool = False,
    precision: str = AUTO,
) -> Classifier:
    """Load a model, ready to judge pictures.

    Parameters
    ----------
    bundle
        Folder of a model bundle; by default the one that is shipped.
    threads
        Threads of the network: for one picture together, for many with one picture
        each; by default one for each physical core.
    side_by_side
        Whether it is for many pictures at a time. No result depends on it: the network
        is loaded for that use first, and for the other once it is needed.
    precision
        ``float32`` or ``int8``: the arithmetic of the graph that answers, where the
        bundle has both; by default (``auto``) whichever is faster on this machine,
        measured once and remembered. Every prediction names it.

    Raises
    ------
    BundleError
        Where the bundle is missing, foreign or damaged, or judges whole volumes.
    SettingError
        Where `threads` is less than 1, or the bundle has no such graph.

    Examples
    --------
    >>> import numpy as np
    >>> import tumorlens
    >>> classifier = tumorlens.load_classifier()
    >>> noise = np.random.default_rng(0).integers(0, 255, (256, 256), np.uint8)
    >>> prediction = classifier.predict(noise)
    >>> prediction.explanation.evidence.shape
    (256, 256)
    """
    folder = DEFAULT_BUNDLE if bundle is None else bundle
    return classifier_of(
        load_model(
            folder,
            threads,
            "slices",
            side_by_side=side_by_side,
            precision=precision,
        )
    )


def classifier_of(model: LoadedModel) -> Classifier:
    """Make the classifier of a model of slices.

    Parameters
    ----------
    model
        Model that `load_model` has loaded.

    Raises
    ------
    BundleError
        Where the bundle's clinical model cannot be read.
    """
    clinical = None
    if CLINICAL_FILE in model.bundle.files:
        # Most bundles have none, and a picture's answer does not wait for it.
        from tumorlens.inference.clinical import load_clinical_model

        clinical = load_clinical_model(model.bundle)
    return Classifier(*model, clinical)


def check_batch(size: int) -> None:
    """Raise `SettingError` where a batch holds no slice."""
    if size < 1:
        raise SettingError(f"The batch size is {size}.", "Give 1 or more.")


def _chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    waiting = iter(items)
    while chunk := list(islice(waiting, size)):
        yield chunk


@dataclass(frozen=True)
class PreparedSlice:
    """A slice that waits for the network.

    Parameters
    ----------
    slice_
        The slice as it was read.
    notes
        Notes on how its study was read.
    pixels
        Shape (size, size, 3), float32, in [0, 1]: the model's input.
    crop
        Where that lies in the slice.
    brain_share
        How much brain it shows, 0 to 1.
    seconds
        Seconds that preparing took.
    """

    slice_: Slice
    notes: tuple[str, ...]
    pixels: NDArray[np.float32]
    crop: Crop
    brain_share: float
    seconds: float


def prepare_slice(
    slice_: Slice, notes: tuple[str, ...], facts: Preprocessing
) -> PreparedSlice:
    """Make a slice ready for the network.

    Parameters
    ----------
    slice_, notes
        Slice of a study, and the study's notes.
    facts
        Preprocessing of the bundle.
    """
    start = time.perf_counter()
    picture = view_pixels(slice_.pixels, slice_.view)
    square = with_square_pixels(picture, slice_.pixel_aspect)
    pixels, crop = prepare(square, facts)
    share = brain_share(pixels)
    seconds = time.perf_counter() - start
    return PreparedSlice(slice_, notes, pixels, crop, share, seconds)


def read_ahead(
    sources: Iterable[Picture], facts: Preprocessing
) -> Iterator[PreparedSlice | Failure]:
    """Read and prepare in threads, a few files ahead, in order.

    Parameters
    ----------
    sources
        Taken one by one as slices are asked for.
    facts
        Preprocessing of the bundle.

    Yields
    ------
    PreparedSlice or Failure
        A file of several slices yields one for each; one that cannot be used,
        a failure.
    """
    yield from _in_order(
        lambda source: _read(source, facts), sources, _READERS, _FILES_AHEAD, "read"
    )


def _in_order(
    work: Callable[[_Item], Iterable[_Result]],
    items: Iterable[_Item],
    threads: int,
    ahead: int,
    name: str,
) -> Iterator[_Result]:
    """Work on items in threads, so many ahead, and yield the results in their order.

    Items are taken as results are asked for.
    """
    queue: deque[Future[Iterable[_Result]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        for item in items:
            queue.append(pool.submit(work, item))
            if len(queue) > ahead:
                yield from queue.popleft().result()
        while queue:
            yield from queue.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(source: Picture, facts: Preprocessing) -> Iterator[PreparedSlice | Failure]:
    try:
        study = read(source)
    except InputError as error:
        return iter((Failure.of(source_name(source), error),))
    first, *rest = study.slices
    # The first slice is prepared here, in the reader's thread; the others of
    # a long file when their turn comes, as prepared they need more memory.
    head = prepare_slice(first, study.notes, facts)
    return chain((head,), (prepare_slice(item, study.notes, facts) for item in rest))


def batches(
    items: Iterable[PreparedSlice | Failure], size: int
) -> Iterator[list[PreparedSlice | Failure]]:
    """Group what was read into batches for the network.

    Parameters
    ----------
    items
        Items that `read_ahead` gives.
    size
        Slices of a full batch, at least 1; failures beside them do not count,
        but many of them end a batch too.

    Yields
    ------
    list
        Items in order, never empty. A batch of large pictures has fewer slices.
    """
    waiting: list[PreparedSlice | Failure] = []
    count = pixels = 0
    for item in items:
        waiting.append(item)
        if isinstance(item, PreparedSlice):
            count += 1
            pixels += item.slice_.pixels.size
        if count == size or pixels > _BATCH_PIXELS or len(waiting) > 4 * size:
            yield waiting
            waiting, count, pixels = [], 0, 0
    if waiting:
        yield waiting
