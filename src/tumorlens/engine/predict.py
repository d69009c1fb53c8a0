"""The pipeline on one page: read, prepare, run, decide, explain."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tumorlens.engine.bundle import DEFAULT_BUNDLE, DOMAIN_FILE, Bundle, load_bundle
from tumorlens.engine.clinical import ClinicalModel, add_columns, load_clinical_model
from tumorlens.engine.decide import decide
from tumorlens.engine.domain import DomainModel
from tumorlens.engine.explain import explain
from tumorlens.engine.results import Failure, Prediction
from tumorlens.engine.session import Session
from tumorlens.errors import BundleError, InputError, SettingError
from tumorlens.imaging.brain import brain_share
from tumorlens.imaging.names import display_name
from tumorlens.imaging.preprocess import Crop, prepare
from tumorlens.imaging.raster import to_slice
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series, Slice, Study

Picture: TypeAlias = str | Path | bytes | NDArray[Any]
"""A path, the bytes of a file, or an array (H, W) or (H, W, 3)."""

DEFAULT_BATCH = 4

_READERS = 2
_FILES_AHEAD = 4
_BATCH_PIXELS = 4_000_000
"""A batch of large pictures is cut short here, so that memory stays flat."""


@dataclass(frozen=True)
class _Ready:
    """A slice that waits for the network."""

    slice_: Slice
    notes: tuple[str, ...]
    pixels: NDArray[np.float32]
    crop: Crop
    brain_share: float
    seconds: float


class Classifier:
    """Reads brain MRI slices and says what they show, how sure, and where.

    Made by `load_classifier`. Safe to use from several threads.

    Parameters
    ----------
    bundle
        The model's facts.
    session
        Its network.
    domain
        What it knows of brain MRI.
    clinical
        What it knows of clinical columns; None where it knows none.
    """

    def __init__(
        self,
        bundle: Bundle,
        session: Session,
        domain: DomainModel,
        clinical: ClinicalModel | None = None,
    ) -> None:
        self.bundle = bundle
        self.clinical = clinical
        self._session = session
        self._domain = domain

    def predict(
        self,
        source: Picture | Iterable[Picture],
        operating_point: str | None = None,
        name: str | None = None,
        clinical: Mapping[str, Any] | None = None,
    ) -> Prediction | list[Prediction]:
        """Judge one picture, or several.

        Parameters
        ----------
        source
            A path, the bytes of a file, an array of shape (H, W) or (H, W, 3)
            in RGB with finite numbers, or a list of these.
        operating_point
            A name from the bundle, ``screening`` or ``balanced``; by default
            the bundle's own choice.
        name
            What the user calls a single source.
        clinical
            The patient's clinical values by column (text, numbers or None), for
            a bundle that has learned such columns; by default the image alone
            counts.

        Returns
        -------
        Prediction or list of Prediction
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
        if isinstance(source, str | Path | bytes | np.ndarray):
            found = self.predict_study(_study(source, name), operating_point)
            if clinical is not None:
                found = [self.with_columns(item, clinical) for item in found]
            return found[0] if len(found) == 1 else found
        judged = [
            found
            for item in source
            for found in self.predict_study(_study(item), operating_point)
        ]
        if clinical is None:
            return judged
        return [self.with_columns(item, clinical) for item in judged]

    def with_columns(
        self, prediction: Prediction, row: Mapping[str, Any] | None
    ) -> Prediction:
        """Decide anew by the image and the patient's clinical columns together.

        Parameters
        ----------
        prediction
            Of this classifier, by the image alone.
        row
            Values by column; None where nothing is known of the patient.

        Raises
        ------
        InputError
            There is text where the model has learned numbers.
        SettingError
            The bundle has learned no columns.
        """
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
            From `read`.
        operating_point
            As for `predict`.
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
            In order; memory does not grow with their number.
        operating_point
            As for `predict`.
        notes
            Of the study, for each prediction.

        Yields
        ------
        Prediction
            One for each slice, in order.
        """
        point = self.point(operating_point)
        for chunk in _chunks(slices, DEFAULT_BATCH):
            yield from self._judge([self._ready(item, notes) for item in chunk], point)

    def predict_brain(
        self, slices: Sequence[Slice], operating_point: str | None = None
    ) -> Iterator[Prediction | None]:
        """Judge those slices that show enough brain; the network skips the others.

        Parameters
        ----------
        slices, operating_point
            As for `predict_slices`.

        Yields
        ------
        Prediction or None
            One for each slice, in order; None for too little brain.
        """
        point = self.point(operating_point)
        least = self.bundle.rules.min_brain_share or 0.0
        for chunk in _chunks(slices, DEFAULT_BATCH):
            ready = [self._ready(item, ()) for item in chunk]
            kept = [x.brain_share > 0.0 and x.brain_share >= least for x in ready]
            judged = iter(self._judge(list(compress(ready, kept)), point))
            yield from (next(judged) if keep else None for keep in kept)

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
            As for `predict`; taken one by one as results are asked for.
        batch
            Slices in one forward pass, at least 1.
        operating_point
            As for `predict`.

        Yields
        ------
        Prediction or Failure
            In the order of the sources; a file of several slices yields one
            for each.
        """
        if batch < 1:
            raise SettingError(f"The batch size is {batch}.", "Give 1 or more.")
        return self._stream(sources, batch, self.point(operating_point))

    def _stream(
        self, sources: Iterable[Picture], batch: int, point: str
    ) -> Iterator[Prediction | Failure]:
        waiting: list[_Ready | Failure] = []
        count = pixels = 0
        for item in self._read_ahead(sources):
            waiting.append(item)
            if isinstance(item, _Ready):
                count += 1
                pixels += item.slice_.pixels.size
            if count == batch or pixels > _BATCH_PIXELS or len(waiting) > 4 * batch:
                yield from self._answer(waiting, point)
                waiting, count, pixels = [], 0, 0
        yield from self._answer(waiting, point)

    def _answer(
        self, waiting: Sequence[_Ready | Failure], point: str
    ) -> Iterator[Prediction | Failure]:
        ready = [item for item in waiting if isinstance(item, _Ready)]
        judged = iter(self._judge(ready, point))
        for item in waiting:
            yield item if isinstance(item, Failure) else next(judged)

    def _read_ahead(self, sources: Iterable[Picture]) -> Iterator[_Ready | Failure]:
        """Read and prepare in threads, a few files ahead, in order."""
        queue: deque[Future[Iterator[_Ready | Failure]]] = deque()
        pool = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
        try:
            for source in sources:
                queue.append(pool.submit(self._read, source))
                if len(queue) > _FILES_AHEAD:
                    yield from queue.popleft().result()
            while queue:
                yield from queue.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, source: Picture) -> Iterator[_Ready | Failure]:
        try:
            study = _study(source)
        except InputError as error:
            name = _name(source)
            return iter((Failure(name, error.code, error.message, error.mend),))
        first, *rest = study.slices
        # The first slice is prepared here, in the reader's thread; the others of
        # a long file when their turn comes, as prepared they need more memory.
        head = self._ready(first, study.notes)
        return chain((head,), (self._ready(item, study.notes) for item in rest))

    def _ready(self, slice_: Slice, notes: tuple[str, ...]) -> _Ready:
        start = time.perf_counter()
        pixels, crop = prepare(slice_.pixels, self.bundle.preprocessing)
        share = brain_share(pixels)
        return _Ready(slice_, notes, pixels, crop, share, time.perf_counter() - start)

    def _judge(self, ready: Sequence[_Ready], point: str) -> list[Prediction]:
        if not ready:
            return []
        start = time.perf_counter()
        outputs = self._session.run(np.stack([item.pixels for item in ready]))
        judged = []
        for row, item in enumerate(ready):
            decision = decide(
                outputs,
                row,
                item.slice_,
                self.bundle,
                self._domain,
                point,
                item.brain_share,
            )
            judged.append(
                (
                    decision,
                    explain(
                        outputs,
                        row,
                        item.crop,
                        item.slice_,
                        decision,
                        self.bundle.cells,
                    ),
                )
            )
        share = (time.perf_counter() - start) / len(ready)
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
                milliseconds=1000.0 * (item.seconds + share),
                pixels=item.slice_.pixels,
                notes=item.notes,
                head=item.crop.side,
            )
            for item, (decision, explanation) in zip(ready, judged, strict=True)
        ]

    def point(self, name: str | None) -> str:
        """Name an operating point; the bundle's own choice for None.

        Raises
        ------
        SettingError
            Where it is not in the bundle.
        """
        return self.bundle.point(name)


def load_classifier(
    bundle: str | Path | None = None, threads: int | None = None
) -> Classifier:
    """Load a model, ready to judge pictures.

    Parameters
    ----------
    bundle
        Folder of a model bundle; by default the one that is shipped.
    threads
        Threads of one forward pass; by default one for each physical core.

    Raises
    ------
    BundleError
        Where the bundle is missing, foreign or damaged, or judges whole scans.
    SettingError
        Where `threads` is less than 1.

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
    facts = load_bundle(DEFAULT_BUNDLE if bundle is None else Path(bundle))
    if facts.judges != "slices":
        raise BundleError(
            f"The model in {facts.folder} judges whole scans, not slices.",
            "Use it with `tumorlens scan`, or take a model of slices here.",
        )
    domain = DomainModel.load(facts.folder / DOMAIN_FILE)
    clinical = load_clinical_model(facts)
    return Classifier(facts, Session(facts, threads), domain, clinical)


def _study(source: Picture, name: str | None = None) -> Study:
    if isinstance(source, np.ndarray):
        slice_ = to_slice(source, name or "array")
        return Study((Series((slice_,)),))
    if isinstance(source, str | Path | bytes):
        return read_study(source, name)
    raise InputError(
        f"A picture cannot be a {type(source).__name__}.",
        "Give a path, the bytes of a file, or a NumPy array.",
    )


def _name(source: object) -> str:
    if isinstance(source, str | Path):
        return display_name(source)
    return "array" if isinstance(source, np.ndarray) else "picture"


def _chunks(slices: Sequence[Slice], size: int) -> Iterator[Sequence[Slice]]:
    for start in range(0, len(slices), size):
        yield slices[start : start + size]
