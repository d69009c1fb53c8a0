"""Wholeness of a series: whether all its images came, as far as can be known.

That nothing came for a while proves nothing: a transfer that broke off is silent, too.
"""

from __future__ import annotations

import logging
import ssl
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.node.sender import find
from tumorlens.pacs.queue import SeriesJob

logger = logging.getLogger(__name__)

_TAGS = (
    "StudyInstanceUID",
    "ImageType",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "InstanceNumber",
    "AcquisitionNumber",
    "ImagesInAcquisition",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "NumberOfFrames",
)
_LEAST_STACK = 4
"""Slices of a stack from which their usual distance can be told."""
_GAP = 1.5
"""Distance over the usual one from which a slice is missing in between."""


class Wholeness:
    """Tells why a series is not known to be whole.

    In this order: the number of images that a peer has of it (C-FIND) settles it where
    it is known and not below what came; otherwise an association that came to no normal
    end, images that its sender wants to be committed and that have not come, a number
    in the images' headers and a gap between their places speak against.

    Parameters
    ----------
    title
        Title of the node.
    counted_by
        Peer that is asked for the number of images; None where there is none.
    tls
        Context of `peers.client_tls`; None for no encryption.
    """

    def __init__(
        self,
        title: str,
        counted_by: Peer | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._title = title
        self._peer = counted_by
        self._tls = tls

    def __call__(self, job: SeriesJob) -> list[str]:
        """Give a full sentence for each doubt; none where nothing speaks against it."""
        headers = list(_headers(job.files))
        came = len(job.files)
        count = self._count(job.series, headers)
        if count is not None and self._peer is not None and count >= came:
            if count == came:
                return []
            return [
                f"{self._peer.title} has {count} images of the series, of which {came} "
                "have come."
            ]
        doubts = []
        if job.is_unfinished:
            doubts.append(
                f"The transfer of the series broke off after {came} images: it is not "
                "known how many it has."
            )
        if job.lacking:
            doubts.append(
                f"The sender asks about {job.lacking} more images of the series than "
                "have come."
            )
        stated = _stated_count(headers)
        if stated > came:
            doubts.append(
                f"The images say that there are {stated} of them, and {came} have come."
            )
        missing = missing_slices(headers)
        if missing:
            doubts.append(
                f"About {missing} slices are missing between those that have come."
            )
        return doubts

    def _count(self, series: str, headers: Sequence[Dataset]) -> int | None:
        """Ask how many images a series has; None where nobody says."""
        study = next((str(item.get("StudyInstanceUID") or "") for item in headers), "")
        if self._peer is None or not study:
            return None
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "SERIES"
        wanted.StudyInstanceUID, wanted.SeriesInstanceUID = study, series
        wanted.NumberOfSeriesRelatedInstances = None
        try:
            answers = find(self._title, self._peer, wanted, self._tls)
            stated = [item.get("NumberOfSeriesRelatedInstances") for item in answers]
            if len(stated) == 1 and stated[0] is not None:
                return int(stated[0])
            # Not every archive counts; each lists the images.
            del wanted.NumberOfSeriesRelatedInstances
            wanted.QueryRetrieveLevel, wanted.SOPInstanceUID = "IMAGE", ""
            return len(find(self._title, self._peer, wanted, self._tls)) or None
        except (ConnectionError, ValueError, TypeError) as error:
            logger.warning(
                "%s did not say how many images a series has: %s.",
                self._peer.title,
                type(error).__name__,
            )
            return None


def missing_slices(headers: Sequence[Dataset]) -> int:
    """Count the slices that are missing between those of each stack.

    Parameters
    ----------
    headers
        Headers of the images. Where they have no places, their numbers are looked at.

    Returns
    -------
    int
        0 where none is missing, or nobody knows: before the first and behind the last
        a gap cannot be seen.
    """
    if any(_number(item, "NumberOfFrames") > 1 for item in headers):
        return 0
    stacks: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for header in headers:
        traits = (
            str(header.get("EchoNumbers")),
            str(header.get("TemporalPositionIdentifier")),
            str(header.get("ImageType")),
        )
        place = _place(header)
        if place is not None:
            facing, along = place
            stacks[(*traits, facing)].append(along)
    return sum(map(_missing, stacks.values()))


def _place(header: Dataset) -> tuple[tuple[float, ...], float] | None:
    """Tell which way an image faces, and where it is along that; or its number."""
    try:
        way = header.get("ImageOrientationPatient")
        place = header.get("ImagePositionPatient")
        if way and place and len(way) == 6 and len(place) == 3:
            across, down = np.array(way[:3], float), np.array(way[3:], float)
            normal = np.cross(across, down)
            facing = tuple(float(item) for item in np.round(normal, 1) + 0.0)
            return facing, float(normal @ np.array(place, float))
        return (), float(header.InstanceNumber)
    except (AttributeError, TypeError, ValueError):
        # None, several values in place of one, or one that is no number.
        return None


def _number(header: Dataset, keyword: str) -> int:
    """Read a whole number; 0 where there is none."""
    try:
        return int(header.get(keyword) or 0)
    except (TypeError, ValueError):
        return 0


def _missing(places: Sequence[float]) -> int:
    along = np.unique(np.round(places, 2))
    along = along[np.isfinite(along)]
    if len(along) < _LEAST_STACK:
        return 0
    steps = np.diff(along)
    usual = float(np.median(steps))
    return sum(round(step / usual) - 1 for step in steps if step > _GAP * usual)


def _stated_count(headers: Sequence[Dataset]) -> int:
    """Take the number of images that the headers state; 0 where it is of no use.

    Images In Acquisition (0020,1002) counts those of an acquisition. It is no more than
    the series' own where that has one acquisition of one echo, and nothing derived.
    """
    if not all("ORIGINAL" in (item.get("ImageType") or ()) for item in headers):
        return 0
    facts = {
        (
            str(item.get("AcquisitionNumber")),
            str(item.get("EchoNumbers")),
            _number(item, "ImagesInAcquisition"),
        )
        for item in headers
    }
    return facts.pop()[2] if len(facts) == 1 else 0


def _headers(files: Sequence[Path]) -> Iterator[Dataset]:
    for path in files:
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
            # Each value is parsed when it is asked for first: here.
            list(header)
        except Exception:
            # Whatever a hostile file does to the parser: judging it says what is wrong.
            continue
        yield header
