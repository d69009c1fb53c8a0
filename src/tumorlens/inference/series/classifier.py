"""One way to ask any bundle about a whole scan, whatever its network takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from tumorlens.errors import SettingError
from tumorlens.imaging.study import Series
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE, Bundle
from tumorlens.inference.classifier import Classifier
from tumorlens.inference.clinical.model import load_clinical_model
from tumorlens.inference.series.by_slices import judge_scan
from tumorlens.inference.series.by_volume import VolumeClassifier
from tumorlens.inference.series.planes import Planes
from tumorlens.inference.series.results import ScanFinding
from tumorlens.inference.slice.session import load_model

ScanJudge: TypeAlias = Callable[[Series, str | None], ScanFinding]
"""Takes a series and an operating point, None for the bundle's own."""


def load_scan_judge(
    bundle: str | Path | None = None,
    threads: int | None = None,
    planes: Planes = Planes.ACQUIRED,
) -> tuple[Bundle, ScanJudge]:
    """Load a model, ready to judge series.

    Parameters
    ----------
    bundle
        Folder of a model bundle, for slices or for whole scans; by default the
        one that is shipped.
    threads
        Threads of one forward pass; by default one for each physical core.
    planes
        For a model of slices, as for `judge_scan`.

    Returns
    -------
    bundle
        That was loaded.
    judge
        `judge_scan` with a model of slices, or the word of a network that sees
        the whole scan.

    Raises
    ------
    BundleError
        Where the bundle is missing, foreign or damaged.
    SettingError
        Where `threads` is less than 1, or where planes are chosen for a model
        that sees the whole scan.
    """
    model = load_model(DEFAULT_BUNDLE if bundle is None else bundle, threads)
    if model.bundle.judges == "volumes":
        if planes is not Planes.ACQUIRED:
            raise SettingError(
                f"Planes are '{planes}', but the model sees the whole scan at once.",
                "Leave the planes out, or choose a model of slices.",
            )
        return model.bundle, VolumeClassifier(*model).judge
    classifier = Classifier(*model, load_clinical_model(model.bundle))

    def judge(series: Series, operating_point: str | None) -> ScanFinding:
        return judge_scan(classifier, series, operating_point, planes=planes)

    return model.bundle, judge
