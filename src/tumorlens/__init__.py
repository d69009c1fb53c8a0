"""TumorLens reads a brain MRI and says what it shows, how sure, and where.

Research use only: not a medical device.

>>> import tumorlens
>>> classifier = tumorlens.load_classifier()          # doctest: +SKIP
>>> classifier.predict("slice.png").decision.finding  # doctest: +SKIP

A whole series, as DICOM or NIfTI:

>>> study = tumorlens.read("head.nii.gz")             # doctest: +SKIP
>>> classifier = tumorlens.load_series_classifier()   # doctest: +SKIP
>>> classifier.predict(study.series[0]).finding       # doctest: +SKIP

All series of one study together:

>>> classifier = tumorlens.load_study_classifier()    # doctest: +SKIP
>>> classifier.predict(study).combined.finding        # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tumorlens.imaging.read import read
    from tumorlens.inference.classifier import Classifier, load_classifier
    from tumorlens.inference.series.classifier import (
        SeriesClassifier,
        load_series_classifier,
    )
    from tumorlens.inference.series.decision import SeriesPrediction
    from tumorlens.inference.slice.prediction import Failure, Prediction, Predictions
    from tumorlens.inference.study.classifier import (
        StudyClassifier,
        load_study_classifier,
    )
    from tumorlens.inference.study.results import StudyPrediction

    __version__: str

__all__ = [
    "Classifier",
    "Failure",
    "Prediction",
    "Predictions",
    "SeriesClassifier",
    "SeriesPrediction",
    "StudyClassifier",
    "StudyPrediction",
    "__version__",
    "load_classifier",
    "load_series_classifier",
    "load_study_classifier",
    "read",
]

# Imported when first asked for, so that `import tumorlens` costs nothing.
_PLACES = {
    "Classifier": ("tumorlens.inference.classifier", "Classifier"),
    "Failure": ("tumorlens.inference.slice.prediction", "Failure"),
    "Prediction": ("tumorlens.inference.slice.prediction", "Prediction"),
    "Predictions": ("tumorlens.inference.slice.prediction", "Predictions"),
    "SeriesClassifier": ("tumorlens.inference.series.classifier", "SeriesClassifier"),
    "SeriesPrediction": ("tumorlens.inference.series.decision", "SeriesPrediction"),
    "StudyClassifier": ("tumorlens.inference.study.classifier", "StudyClassifier"),
    "StudyPrediction": ("tumorlens.inference.study.results", "StudyPrediction"),
    "load_classifier": ("tumorlens.inference.classifier", "load_classifier"),
    "load_series_classifier": (
        "tumorlens.inference.series.classifier",
        "load_series_classifier",
    ),
    "load_study_classifier": (
        "tumorlens.inference.study.classifier",
        "load_study_classifier",
    ),
    "read": ("tumorlens.imaging.read", "read"),
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("tumorlens")
        except PackageNotFoundError:
            return "0+source"
    if name not in _PLACES:
        raise AttributeError(f"module 'tumorlens' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value: object = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
