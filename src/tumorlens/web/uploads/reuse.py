"""What was computed before, for the same sender.

A file that comes again from the same owner, with the same settings, gets a copy of the
answer: a result of its own, with its own id, time and retention. Only the owner's own
results are looked at. What took no time would tell him otherwise that somebody else has
sent the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import tumorlens
from tumorlens.imaging.formats import display_name, is_raster
from tumorlens.inference.bundle.bundle import FACTS_FILE
from tumorlens.inference.series.classifier import SeriesClassifier
from tumorlens.inference.slice.prediction import sequence_of_name
from tumorlens.report.feedback import KEY as FEEDBACK
from tumorlens.web.uploads.feedback import PAGES_OF
from tumorlens.web.uploads.upload import TRACE

_OF_ONE_REQUEST = frozenset(
    {FEEDBACK, PAGES_OF, TRACE, "example", "framed", "callback"}
)
"""Keys of a document that say something of one request or reader: they stay there."""


class Computations:
    """Names what one model computes, by a digest of all that it depends on.

    Parameters
    ----------
    classifier
        The model, loaded and verified.
    """

    def __init__(self, classifier: SeriesClassifier) -> None:
        bundle = classifier.bundle
        facts = (bundle.folder / FACTS_FILE).read_bytes()
        self._model = [
            tumorlens.__version__,
            # It holds the digests of all other files.
            hashlib.sha256(facts).hexdigest(),
            classifier.precision,
        ]

    def name(
        self, owner: str, operating_point: str, files: Iterable[tuple[str, str]]
    ) -> str:
        """Name the computing of some files for an owner.

        Parameters
        ----------
        owner
            Whose the result is.
        operating_point
            The one that decides.
        files
            Name and SHA-256 of each file, in the order in which they are read. A name
            may tell the sequence, or what is a mask.

        Returns
        -------
        str
            SHA-256 in hexadecimal.
        """
        told = json.dumps([*self._model, owner, operating_point, *files])
        return hashlib.sha256(told.encode()).hexdigest()

    def name_picture(
        self, owner: str, operating_point: str, file_name: str, data: bytes
    ) -> str:
        """Name the computing of one file that is sent as a picture.

        Of the name of a PNG, a JPEG and the like only the sequence counts.
        """
        told = file_name
        if is_raster(data):
            told = sequence_of_name(display_name(file_name)) or ""
        file = (told, hashlib.sha256(data).hexdigest())
        return self.name(owner, operating_point, [file])


def copied_document(
    document: Mapping[str, Any], origin: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Copy what was computed, without what belongs to another request.

    Parameters
    ----------
    document
        Document of a picture or a scan.
    origin
        What belongs to the request at hand.
    """
    kept = {key: value for key, value in document.items() if key not in _OF_ONE_REQUEST}
    if "series" in kept:
        kept["series"] = [copied_document(facts) for facts in kept["series"]]
    return {**kept, **(origin or {})}
