"""State of one app that every request uses: the model, the store and the settings.

Tested in `tests/web/test_app.py` and `tests/web/test_security.py`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from flask import Flask, current_app

from tumorlens.errors import SettingError
from tumorlens.imaging.formats import display_name
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.inference.slice.session import available_cores
from tumorlens.settings import Settings
from tumorlens.web.uploads.series_jobs import SeriesJobs
from tumorlens.web.uploads.store import Store

_KEY = "tumorlens"


def _one_per_core() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(available_cores())


@dataclass(frozen=True)
class AppState:
    """The classifier, the store and the settings of one app.

    Parameters
    ----------
    classifier
        A classifier whose bundle is loaded and verified.
    store
        Store of uploads and their results.
    settings
        The settings as the user made them.
    jobs
        Worker that judges series in the background.
    turns
        Held while a picture is judged: more pictures at a time than cores would only
        need more memory.
    """

    classifier: SeriesClassifier
    store: Store
    settings: Settings
    jobs: SeriesJobs
    turns: threading.BoundedSemaphore = field(default_factory=_one_per_core)

    @property
    def bundle(self) -> Bundle:
        """The model's facts."""
        return self.classifier.bundle

    @property
    def operating_point(self) -> str:
        """The operating point that is used unless a request asks for another."""
        return self.settings.operating_point or self.bundle.default_operating_point

    def choose_operating_point(self, name: str | None) -> str:
        """Return the operating point that a request asks for; None for the app's own.

        Raises
        ------
        SettingError
            Where the model has no such operating point.
        """
        point = name or self.operating_point
        check_operating_point(point, self.bundle)
        return point


def check_operating_point(name: str, bundle: Bundle) -> None:
    """Refuse an operating point that a model does not have.

    Raises
    ------
    SettingError
        Where it is none of the model's; the error lists those there are.
    """
    if name not in bundle.operating_points:
        names = ", ".join(bundle.operating_points)
        raise SettingError(
            f"There is no operating point {display_name(name[:40])!r}.",
            f"Give one of: {names}.",
        )


def set_app_state(app: Flask, state: AppState) -> None:
    """Give an app what its requests work with."""
    app.extensions[_KEY] = state


def app_state() -> AppState:
    """Return the state of the app that serves this request."""
    state = current_app.extensions[_KEY]
    assert isinstance(state, AppState)
    return state
