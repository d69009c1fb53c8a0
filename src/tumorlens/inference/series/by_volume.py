"""A whole series is judged in one pass, by a network that sees it as a block."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.imaging.geometry.volume import Volume
from tumorlens.imaging.preprocess.volume import (
    Block,
    prepare_volume,
    to_scan,
    whole_volume,
)
from tumorlens.imaging.study import Series
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.decision import key_slices
from tumorlens.inference.series.features import run_length
from tumorlens.inference.series.lesion import find_lesion, slice_gap
from tumorlens.inference.series.results import Lesion, ScanFinding
from tumorlens.inference.slice.decision import (
    apply_operating_point,
    by_class,
    calibrated_probabilities,
    pool_evidence,
    prediction_set,
)
from tumorlens.inference.slice.ood import OodModel
from tumorlens.inference.slice.session import RawOutputs, Session, load_model
from tumorlens.taxonomy import (
    CLASSES,
    INFO,
    NO_TUMOR_INDEX,
    TumorClass,
    Verdict,
)

OUT_OF_DISTRIBUTION = (
    "The scan is unlike the brain MRI scans that the network was trained on."
)
NO_CONTRAST = (
    "Nothing could be judged: the scan has the same value everywhere the network looks."
)
TOO_FEW_SCANS = (
    "The network has seen too few scans of {names} to say when to rule them out."
)
COARSE_OUTLINE = (
    "Size and place of the spot are rough: the network sees it in cells {cell:.0f} mm "
    "wide."
)


class VolumeClassifier:
    """Reads whole brain MRI scans and says what they show, how sure, and where.

    Made by `load_volume_classifier`. Safe to use from several threads.

    Parameters
    ----------
    bundle, session, ood
        Parts of a `LoadedModel`.
    """

    def __init__(self, bundle: Bundle, session: Session, ood: OodModel) -> None:
        self.bundle = bundle
        self._session = session
        self._ood = ood

    def judge(self, series: Series, operating_point: str | None = None) -> ScanFinding:
        """Judge a series.

        Parameters
        ----------
        series
            Slices in order, evenly apart, whose place is known.
        operating_point
            A name from the bundle; by default the bundle's own choice.

        Returns
        -------
        ScanFinding
            Of single slices it holds no probability: there is one for the scan,
            but for one without any contrast, in which nothing can be judged.

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
        decision, reasons = self._decide(series, outputs, values, point)
        depth, height, width = volume.voxels.shape
        evidence = to_scan(
            _tumor_share(outputs.evidence[0], values), block, (depth, height, width)
        )
        lesion = _lesion(decision, evidence, series)
        if lesion is not None:
            reasons = (*reasons, _coarse(outputs, block))
        return ScanFinding(
            source=series.slices[0].source,
            plane=series.slices[0].plane,
            sequence=series.sequence,
            slices=depth,
            without_brain=0,
            refused=depth if decision is Verdict.NOT_BRAIN_MRI else 0,
            decision=decision,
            predicted=CLASSES[int(np.argmax(values))],
            probabilities=by_class(values),
            run=None,
            slice_p_tumor=(None,) * depth,
            key_slices=_key_slices(evidence, series),
            evidence=evidence,
            affine_ras=volume.affine_ras,
            lesion=lesion,
            operating_point=point,
            model_version=self.bundle.version,
            reasons=reasons,
            seconds=time.perf_counter() - start,
            place_guessed=series.place_guessed,
            grid=series.grid,
        )

    def _not_judged(
        self, series: Series, volume: Volume, point: str, start: float
    ) -> ScanFinding:
        """Say that nothing was there to be judged, and give no number."""
        count = len(series.slices)
        return ScanFinding(
            source=series.slices[0].source,
            plane=series.slices[0].plane,
            sequence=series.sequence,
            slices=count,
            without_brain=count,
            refused=0,
            decision=Verdict.INCONCLUSIVE,
            predicted=None,
            probabilities=None,
            run=None,
            slice_p_tumor=(None,) * count,
            key_slices=(),
            evidence=None,
            affine_ras=volume.affine_ras,
            lesion=None,
            operating_point=point,
            model_version=self.bundle.version,
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
    ) -> tuple[TumorClass | Verdict, tuple[str, ...]]:
        color = max(item.colorfulness for item in series.slices)
        score = self._ood.score(outputs.embedding[0], outputs.logits[0], color)
        if score < self._ood.threshold:
            return Verdict.NOT_BRAIN_MRI, (OUT_OF_DISTRIBUTION,)
        levels = self.bundle.prediction_sets.thresholds
        decision, reasons = apply_operating_point(
            values,
            prediction_set(values, levels),
            self.bundle.scan_points[point].threshold,
        )
        # A level of 0 stands where too few scans were there to fix one.
        unknown = [INFO[name].title.lower() for name in CLASSES if levels[name] <= 0.0]
        if unknown:
            names = " and ".join(unknown)
            reasons = (*reasons, TOO_FEW_SCANS.format(names=names))
        return decision, reasons


def load_volume_classifier(
    bundle: str | Path, threads: int | None = None
) -> VolumeClassifier:
    """Load a model that judges whole scans.

    Parameters
    ----------
    bundle
        Folder of a model bundle.
    threads
        Threads of one forward pass; by default one for each physical core.

    Raises
    ------
    BundleError
        Where the bundle is missing, foreign or damaged, or judges slices.
    SettingError
        Where `threads` is less than 1.
    """
    return VolumeClassifier(*load_model(bundle, threads, judges="volumes"))


def _tumor_share(
    evidence: NDArray[np.float32], values: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Probability, cell by cell, of the tumour class that is likeliest in the scan."""
    tumors = np.delete(np.arange(len(CLASSES)), NO_TUMOR_INDEX)
    explained = int(tumors[np.argmax(values[tumors])])
    powers = np.exp(evidence - evidence.max(axis=-1, keepdims=True))
    return np.asarray(powers[..., explained] / powers.sum(axis=-1), np.float32)


def _lesion(
    decision: TumorClass | Verdict, evidence: NDArray[np.uint8], series: Series
) -> Lesion | None:
    if decision in (Verdict.NOT_BRAIN_MRI, TumorClass.NO_TUMOR):
        return None
    return find_lesion(evidence, series.slices, (0, len(series.slices)))


def _key_slices(evidence: NDArray[np.uint8], series: Series) -> tuple[int, ...]:
    peaks = [int(item) for item in evidence.max(axis=(1, 2))]
    listed = [None if peak == 0 else peak / 255.0 for peak in peaks]
    return key_slices(listed, run_length(slice_gap(series.slices)))


def _coarse(outputs: RawOutputs, block: Block) -> str:
    cell = block.shape[1] * block.step / outputs.evidence.shape[2]
    return COARSE_OUTLINE.format(cell=cell)
