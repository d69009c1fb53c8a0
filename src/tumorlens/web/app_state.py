"""What every request works with, and the one way from an upload to analyses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flask import current_app
from werkzeug.datastructures import FileStorage

from tumorlens.errors import InputError, OutputError, SettingError, TooLargeError
from tumorlens.imaging.file_names import display_name
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series, Study
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.inference.slice.results import Failure
from tumorlens.inference.slice.session import available_cores
from tumorlens.settings import SETTINGS, Settings
from tumorlens.web.uploads.series_jobs import ScanJobs
from tumorlens.web.uploads.store import Store
from tumorlens.web.uploads.upload import Upload

_KEY = "tumorlens"
_NAME_LENGTH = 200
_LOG = logging.getLogger(__name__)


def _turns() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(available_cores())


@dataclass(frozen=True)
class Desk:
    """The classifier, the store and the settings of one app.

    Parameters
    ----------
    classifier
        Loaded and verified.
    store
        Where analyses are kept.
    settings
        As the user set them.
    jobs
        What judges scans in the background.
    """

    classifier: SeriesClassifier
    store: Store
    settings: Settings
    jobs: ScanJobs
    # More pictures at a time than cores would only need more memory.
    _turns: threading.BoundedSemaphore = field(default_factory=_turns)

    @property
    def bundle(self) -> Bundle:
        """The model's facts."""
        return self.classifier.bundle

    @property
    def operating_point(self) -> str:
        """The one used unless a request asks for another."""
        return self.settings.operating_point or self.bundle.default_operating_point

    def analyse(
        self, uploads: Sequence[FileStorage], owner: str, operating_point: str | None
    ) -> Iterator[Upload | Failure]:
        """Judge uploaded files and keep the results, one after the other.

        Parameters
        ----------
        uploads
            Files as they came with the request.
        owner
            Whom the analyses belong to.
        operating_point
            None for the app's own.

        Yields
        ------
        Upload or Failure
            In order: one analysis for each slice of a file, or one failure for
            the file.

        Raises
        ------
        SettingError
            Where the model has no such operating point.
        TooLargeError
            Where there are more files than the settings allow.
        """
        limit = self.settings.files_per_upload
        if len(uploads) > limit:
            raise TooLargeError(
                f"The upload has {len(uploads)} files; at most {limit} are read.",
                "Send fewer at a time; whoever runs the server can set "
                f"{SETTINGS['files_per_upload'].option}.",
            )
        point = operating_point or self.operating_point
        check_operating_point(point, self.bundle)
        for upload in uploads:
            name = (upload.filename or "pasted picture")[-_NAME_LENGTH:]
            with self._turns:
                yield from self._analyse_one(upload.read(), name, owner, point)

    def _analyse_one(
        self, data: bytes, name: str, owner: str, point: str
    ) -> Iterator[Upload | Failure]:
        try:
            classifier = self.classifier.slice_classifier()
            study = read_study(data, name)
            for slice_ in study.slices:
                # One at a time, so that a file of a thousand needs no more memory.
                single = Study((Series((slice_,)),), study.notes)
                for prediction in classifier.predict_study(single, point):
                    yield self.store.add(prediction, owner)
        except (InputError, OutputError) as error:
            yield Failure(display_name(name), error.code, error.message, error.hint)
        except Exception:
            # One file's fault must not cost the others their results.
            _LOG.exception("A picture could not be analysed.")
            shown = display_name(name)
            yield Failure(
                shown,
                "internal_error",
                f"{shown} could not be analysed: TumorLens made a mistake.",
                "Try the picture saved as PNG; the server's log says more.",
            )


def check_operating_point(name: str, bundle: Bundle) -> None:
    """Refuse an operating point that the model does not have.

    Raises
    ------
    SettingError
        It lists those there are.
    """
    if name not in bundle.operating_points:
        known = ", ".join(bundle.operating_points)
        raise SettingError(
            f"There is no operating point {display_name(name[:40])!r}.",
            f"Give one of: {known}.",
        )


def put_desk(extensions: dict[str, object], desk: Desk) -> None:
    """Leave the desk with an app."""
    extensions[_KEY] = desk


def desk() -> Desk:
    """Return the desk of the app that serves this request."""
    found = current_app.extensions[_KEY]
    assert isinstance(found, Desk)
    return found
