"""One classifier of series for both kinds of bundle: of slices, and of volumes."""

from __future__ import annotations

from pathlib import Path
from typing import overload

from tumorlens.errors import InputError, SettingError
from tumorlens.imaging.read import Picture, read, source_name
from tumorlens.imaging.study import Series, stacks_of
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE, Bundle
from tumorlens.inference.bundle.facts import Precision
from tumorlens.inference.classifier import Classifier, classifier_of
from tumorlens.inference.series.by_slices import Planes, Progress, predict_by_slices
from tumorlens.inference.series.by_volume import VolumeClassifier
from tumorlens.inference.series.decision import SeriesPrediction
from tumorlens.inference.slice.prediction import Predictions
from tumorlens.inference.slice.session import AUTO, load_model


class SeriesClassifier:
    """Reads whole series and says what they show, how sure, and where.

    Made by `load_series_classifier`. Safe to use from several threads.

    Parameters
    ----------
    model
        A model of slices, which judges a series slice by slice; or one of volumes,
        which takes it at once.
    planes
        Whether a model of slices also judges volumes of nearly even spacing in the
        two planes in which they were not acquired, at three times the cost.

    Raises
    ------
    SettingError
        Where planes are chosen for a model of volumes, which sees all of them.
    """

    def __init__(
        self, model: Classifier | VolumeClassifier, planes: Planes = Planes.ACQUIRED
    ) -> None:
        if isinstance(model, VolumeClassifier) and planes is not Planes.ACQUIRED:
            raise SettingError(
                f"Planes are '{planes}', but the model sees the whole series at once.",
                "Leave the planes out, or choose a model of slices.",
            )
        self._model = model
        self._planes = planes

    @property
    def bundle(self) -> Bundle:
        """The model's facts."""
        return self._model.bundle

    @property
    def precision(self) -> Precision:
        """Arithmetic of the graph that answers: ``float32`` or ``int8``."""
        return self._model.precision

    def slice_classifier(self) -> Classifier:
        """Return the classifier of single slices.

        Raises
        ------
        InputError
            Where the model takes whole volumes alone.
        """
        if isinstance(self._model, Classifier):
            return self._model
        raise InputError(
            f"The model {self.bundle.name!r} judges whole series, not single pictures.",
            "Give the whole series as DICOM or NIfTI, or choose a model of slices.",
        )

    @overload
    def predict(
        self,
        series: Series,
        operating_point: str | None = None,
        progress: Progress | None = None,
    ) -> SeriesPrediction: ...

    @overload
    def predict(
        self,
        series: Picture,
        operating_point: str | None = None,
        progress: Progress | None = None,
    ) -> SeriesPrediction | Predictions[SeriesPrediction]: ...

    def predict(
        self,
        series: Series | Picture,
        operating_point: str | None = None,
        progress: Progress | None = None,
    ) -> SeriesPrediction | Predictions[SeriesPrediction]:
        """Judge one series, or all series of a study.

        Parameters
        ----------
        series
            A series: slices in order, from `read`; for a model of volumes evenly
            apart, with a known place in the patient. Or whatever `read` takes: a path
            to a file or folder, a nibabel image, a list of pydicom datasets.
        operating_point
            A name from the bundle, ``screening`` or ``balanced``; by default the
            bundle's own choice.
        progress
            Called with the number of slices done and of all slices; a model of
            volumes finishes all of them at once.

        Returns
        -------
        SeriesPrediction or Predictions
            Answers, probabilities, key slices, evidence and lesion. A model of volumes
            gives single slices no probability of their own. A list, one for each
            series in order, where a study holds several.

        Raises
        ------
        InputError
            Where a model of volumes is given slices that are no regular stack, or
            slices in another plane would pass a limit.
        SettingError
            Where the operating point is not in the bundle.
        """
        if isinstance(series, Series):
            return self._predict(series, operating_point, progress)
        found = Predictions(
            self._predict(item, operating_point, progress) for item in _stacks(series)
        )
        return found[0] if len(found) == 1 else found

    def _predict(
        self, series: Series, operating_point: str | None, progress: Progress | None
    ) -> SeriesPrediction:
        if isinstance(self._model, Classifier):
            return predict_by_slices(
                self._model, series, operating_point, progress, self._planes
            )
        prediction = self._model.predict(series, operating_point)
        if progress is not None:
            progress(len(series.slices), len(series.slices))
        return prediction


def _stacks(source: Picture) -> tuple[Series, ...]:
    """Read the series of a study; single pictures have no rates of series."""
    study = read(source)
    if study.is_pictures:
        raise InputError(
            f"{source_name(source)} holds no series of several slices.",
            "Judge single pictures with load_classifier, or give the whole series.",
        )
    return stacks_of(study).series


def load_series_classifier(
    bundle: str | Path | None = None,
    threads: int | None = None,
    planes: Planes | str = Planes.ACQUIRED,
    side_by_side: bool = False,
    precision: str = AUTO,
) -> SeriesClassifier:
    """Load a model, ready to judge series.

    Parameters
    ----------
    bundle
        Folder of a model bundle, of slices or of volumes; by default the one that
        is shipped.
    threads
        Threads of the network: for one picture together, for the slices of a series
        with one slice each; by default one for each physical core.
    planes
        ``acquired``, or ``all`` for a model of slices: see `SeriesClassifier`.
    side_by_side
        Whether it is for series alone, see `load_classifier`.
    precision
        See `load_classifier`; a model of volumes has float32 alone.

    Raises
    ------
    BundleError
        Where the bundle is missing, foreign or damaged.
    SettingError
        Where `threads` is less than 1, where planes are chosen for a model of
        volumes, or where the bundle has no such graph.
    ValueError
        Where there are no such planes.

    Examples
    --------
    >>> import tumorlens
    >>> classifier = tumorlens.load_series_classifier()
    >>> prediction = classifier.predict("head.nii.gz")           # doctest: +SKIP
    >>> prediction.finding, prediction.kinds                     # doctest: +SKIP
    """
    folder = DEFAULT_BUNDLE if bundle is None else bundle
    model = load_model(
        folder,
        threads,
        side_by_side=side_by_side,
        precision=precision,
    )
    if model.bundle.judges == "volumes":
        return SeriesClassifier(VolumeClassifier(*model), Planes(planes))
    return SeriesClassifier(classifier_of(model), Planes(planes))
