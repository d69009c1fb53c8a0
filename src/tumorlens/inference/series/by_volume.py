"""A series is judged in one pass, by a network that sees it as a block."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.geometry import (
    Volume,
    slice_gap,
)
from tumorlens.imaging.preprocess.volume import (
    Block,
    prepare_volume,
    to_scan,
    whole_volume,
)
from tumorlens.imaging.study import Series
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.decision import (
    NO_CONTRAST,
    SeriesPrediction,
    key_slices,
    run_length,
)
from tumorlens.inference.series.lesion import Lesion, find_lesion
from tumorlens.inference.slice.decision import (
    Outcome,
    RawOutputs,
    apply_operating_point,
    by_class,
    calibrated_probabilities,
    pool_evidence,
    prediction_set,
)
from tumorlens.inference.slice.ood import OodModel
from tumorlens.inference.slice.session import Session
from tumorlens.taxonomy import (
    CLASSES,
    INFO,
    NO_TUMOR_INDEX,
    Answer,
)

OUT_OF_DISTRIBUTION = (
    "The series is unlike the brain MRI series that the network was trained on."
)
TOO_FEW_SERIES = (
    "The network has seen too few series of {names} to say when to rule them out."
)
COARSE_OUTLINE = (
    "Size and place of the spot are rough: the network sees it in cells {cell:.0f} mm "
    "wide."
)


class VolumeClassifier:
    """Reads whole brain MRI series and says what they show, how sure, and where.

    Made by `load_series_classifier`. Safe to use from several threads.

    Parameters
    ----------
    bundle, session, ood
        Parts of a `LoadedModel`.
    """

    def __init__(self, bundle: Bundle, session: Session, ood: OodModel) -> None:
        self.bundle = bundle
        self.precision = session.precision
        self._session = session
        self._ood = ood

    def predict(
        self, series: Series, operating_point: str | None = None
    ) -> SeriesPrediction:
        """Judge a series at once.

        Parameters
        ----------
        series
            Slices in order, evenly apart, whose place is known.
        operating_point
            A name from the bundle; by default the bundle's own choice.

        Returns
        -------
        SeriesPrediction
            It holds no probability of single slices. It holds one of the series,
            except where there is no contrast, so that nothing can be judged.

        Raises
        ------
        InputError
            The slices are no regular stack of known place.
        SettingError
            The operating point is not in the bundle.
        """
        start = time.perf_counter()
        point = self.bundle.point(operating_point)
        volume = whole_volume(series)
        pixels, block = prepare_volume(volume, self.bundle.preprocessing)
        if not pixels.any():
            return self._not_judged(series, volume, point, start)
        outputs = self._session.run(pixels[None])
        pooled = pool_evidence(outputs.evidence, self.bundle.calibration.evidence_cells)
        facts = self.bundle.calibration
        values = calibrated_probabilities(outputs.logits, pooled, facts)[0]
        outcome = self._decide(series, outputs, values, point)
        refused = outcome.finding is Answer.NOT_BRAIN_MRI
        reasons = outcome.reasons
        depth, height, width = volume.voxels.shape
        evidence = to_scan(
            _tumor_share(outputs.evidence[0], values), block, (depth, height, width)
        )
        lesion = _lesion(outcome.finding, evidence, series)
        if lesion is not None:
            reasons = (*reasons, _coarse(outputs, block))
        return SeriesPrediction(
            source=series.slices[0].source,
            plane=series.slices[0].plane,
            sequence=series.sequence,
            known_sequences=self.bundle.known_sequences,
            slices=depth,
            without_brain=0,
            refused=depth if refused else 0,
            finding=outcome.finding,
            kinds=outcome.kinds,
            raw_probabilities=by_class(values),
            run=None,
            slice_p_tumor=(None,) * depth,
            # A series that was refused points to nothing.
            key_slices=() if refused else _key_slices(evidence, series),
            evidence=evidence,
            affine_ras=volume.affine_ras,
            lesion=lesion,
            operating_point=point,
            model_version=self.bundle.version,
            model_precision=self.precision,
            reasons=reasons,
            seconds=time.perf_counter() - start,
            place_guessed=series.place_guessed,
            grid=series.grid,
        )

    def _not_judged(
        self, series: Series, volume: Volume, point: str, start: float
    ) -> SeriesPrediction:
        """Say that nothing was there to be judged, and give no number."""
        count = len(series.slices)
        return SeriesPrediction(
            source=series.slices[0].source,
            plane=series.slices[0].plane,
            sequence=series.sequence,
            known_sequences=self.bundle.known_sequences,
            slices=count,
            without_brain=count,
            refused=0,
            finding=Answer.NOT_BRAIN_MRI,
            kinds=(),
            raw_probabilities=None,
            run=None,
            slice_p_tumor=(None,) * count,
            key_slices=(),
            evidence=None,
            affine_ras=volume.affine_ras,
            lesion=None,
            operating_point=point,
            model_version=self.bundle.version,
            model_precision=self.precision,
            reasons=(NO_CONTRAST,),
            seconds=time.perf_counter() - start,
            not_judged=NO_CONTRAST,
            place_guessed=series.place_guessed,
            grid=series.grid,
        )

    def _decide(
        self,
        series: Series,
        outputs: RawOutputs,
        values: NDArray[np.float64],
        point: str,
    ) -> Outcome:
        color = max(item.colorfulness for item in series.slices)
        score = self._ood.score(outputs.embedding[0], outputs.logits[0], color)
        if score < self._ood.threshold:
            return Outcome(Answer.NOT_BRAIN_MRI, (), (OUT_OF_DISTRIBUTION,))
        levels = self.bundle.prediction_sets.thresholds
        outcome = apply_operating_point(
            values,
            prediction_set(values, levels),
            self.bundle.series_points[point].threshold,
        )
        # A level of 0 stands where too few series were there to fix one.
        unknown = [INFO[name].title.lower() for name in CLASSES if levels[name] <= 0.0]
        if unknown:
            reason = TOO_FEW_SERIES.format(names=" and ".join(unknown))
            return outcome._replace(reasons=(*outcome.reasons, reason))
        return outcome


def _tumor_share(
    evidence: NDArray[np.float32], values: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Give each cell the probability of the tumour class likeliest in the series."""
    tumors = np.delete(np.arange(len(CLASSES)), NO_TUMOR_INDEX)
    explained = int(tumors[np.argmax(values[tumors])])
    powers = np.exp(evidence - evidence.max(axis=-1, keepdims=True))
    return np.asarray(powers[..., explained] / powers.sum(axis=-1), np.float32)


def _lesion(
    finding: Answer, evidence: NDArray[np.uint8], series: Series
) -> Lesion | None:
    if finding in (Answer.NOT_BRAIN_MRI, Answer.NO_TUMOR):
        return None
    return find_lesion(evidence, series.slices, (0, len(series.slices)))


def _key_slices(evidence: NDArray[np.uint8], series: Series) -> tuple[int, ...]:
    peaks = [int(item) for item in evidence.max(axis=(1, 2))]
    listed = [None if peak == 0 else peak / 255.0 for peak in peaks]
    return key_slices(listed, run_length(slice_gap(series.slices)))


def _coarse(outputs: RawOutputs, block: Block) -> str:
    cell = block.shape[1] * block.step / outputs.evidence.shape[2]
    return COARSE_OUTLINE.format(cell=cell)
