"""A network that waits at a gate, so that a test sees a scan while it is judged."""

from __future__ import annotations

import threading
from typing import Any

from tumorlens import Classifier, SeriesClassifier
from tumorlens.inference.slice.session import Session


class Gate:
    """Stands before a session: each forward pass waits until it is opened."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reached = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def wait_for_it(self) -> None:
        assert self.reached.wait(60)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        if not callable(found):
            return found

        def held(*arguments: Any, **named: Any) -> Any:
            self.reached.set()
            assert self._open.wait(60)
            return found(*arguments, **named)

        return held


def gated(classifier: SeriesClassifier) -> tuple[SeriesClassifier, Gate]:
    """Return a classifier like another whose network waits at a gate."""
    slices = classifier.slice_classifier()
    gate = Gate(slices._session)
    made = Classifier(slices.bundle, gate, slices._ood)  # type: ignore[arg-type]
    return SeriesClassifier(made), gate
