"""Tumours put into tumour-free heads, so that a scanner alone means nothing.

In most sets every slice of one scanner shows a tumour, or none does, and a
network can tell the scanners apart instead. Here an outlined tumour is cut out
and laid into a tumour-free slice of any set, as CarveMix does for lesions
(Zhang et al. 2021, doi 10.1007/978-3-030-87193-2_19). So that the seam is no
clue, tumour-free tissue is laid into other slices in the same way and twice
as often. This is no picture of a disease to measure with: it only has to teach
that what lies inside the outline decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record
from tumorlens.imaging.preprocess.slice import disc
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import Finding, TumorClass
from tumorlens.training.dataset import Sample

Square = NDArray[np.uint8]
_Key = tuple[str, MRSequence | None, tuple[Finding, ...]]
"""Source, sequence and findings."""

_MIN_OUTLINE = 60
"""Pixels of the stored square: a smaller tumour is lost when it is blended in."""
_MIN_INSIDE_BRAIN = 0.85
"""Share of the moved outline that must lie in the brain of the head it goes to."""
_RING = 5
"""Width in pixels of the ring around the outline whose brightness is matched."""
_MIN_RING = 20
"""Pixels of that ring that must show brain in both heads."""
_AIR = 15
_TRIES = 4
"""Tumours that are tried, each in a place of its own, until one fits."""


class Transplants:
    """Changes some slices of a training set by tissue of others.

    Parameters
    ----------
    samples
        The training set.
    share
        0 to 1/3: chance that a tumour-free slice is given a tumour, half its
        chance to be given tumour-free tissue, and the chance that a slice with a
        tumour is given tumour-free tissue beside it. Where the tissue does not
        fit into the brain, the slice stays as it was.
    """

    def __init__(self, samples: Sequence[Sample], share: float) -> None:
        self._share = share
        tumors: dict[_Key, list[Sample]] = defaultdict(list)
        clear: dict[_Key, list[Sample]] = defaultdict(list)
        for sample in samples:
            record = sample.record
            key = (record.source, record.sequence, sample.findings)
            if sample.is_clear and sample.brain is not None:
                clear[key].append(sample)
            elif _can_be_moved(sample):
                tumors[key].append(sample)
        self._tumors = _by_sequence(tumors)
        self._clear = _by_sequence(clear)

    def change(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Give one slice other tissue, or leave it as it is, by chance.

        Parameters
        ----------
        sample
            Sample of the training set.
        rng
            Source of chance.

        Returns
        -------
        Sample
            Its label and outline are those of what it shows now.
        """
        sequence = sample.record.sequence
        has_donors = sequence in self._tumors and sequence in self._clear
        if sample.brain is None or not has_donors:
            return sample
        chance = rng.random()
        if not sample.is_clear:
            if sample.outline is None or chance >= self._share:
                return sample
            return self._with_tissue(sample, rng)
        if chance < self._share:
            return self._with_tumor(sample, rng)
        if chance < 3.0 * self._share:
            return self._with_tissue(sample, rng)
        return sample

    def _with_tumor(self, host: Sample, rng: np.random.Generator) -> Sample:
        for _ in range(_TRIES):
            donor = self._tumor_like(host.record, rng)
            tissue, outline = _moved(donor, rng)
            square = _grafted(host, tissue, outline, rng)
            if square is not None:
                shown = donor.record
                record = replace(
                    host.record,
                    label=shown.label,
                    lesion=shown.lesion,
                    kind=shown.kind,
                )
                return Sample(record, square, outline, host.brain)
        return host

    def _with_tissue(self, host: Sample, rng: np.random.Generator) -> Sample:
        """Lay tumour-free tissue in, in the place and shape of some tumour."""
        for _ in range(_TRIES):
            _, outline = _moved(self._tumor_like(host.record, rng), rng)
            tissue = _one_of(self._clear[host.record.sequence], rng).square
            if host.outline is not None and (_grown(host.outline, 9) & outline).any():
                continue
            if rng.random() < 0.5:
                tissue = cv2.flip(tissue, 1).astype(np.uint8)
            square = _grafted(host, tissue, outline, rng)
            if square is not None:
                return replace(host, square=square, as_t2=None)
        return host

    def _tumor_like(self, host: Record, rng: np.random.Generator) -> Sample:
        """Draw a tumour of a head's sequence, and of its plane if soon found."""
        plane = host.plane
        for _ in range(6):
            donor = _one_of(self._tumors[host.sequence], rng)
            if not plane or not donor.record.plane or donor.record.plane == plane:
                break
        return donor


def _by_sequence(
    groups: dict[_Key, list[Sample]],
) -> dict[MRSequence | None, list[list[Sample]]]:
    """List the groups whose tissue may go to a head, by the head's sequence.

    A tumour is bright in one sequence and dark in another, so it only teaches where
    it is laid into a head of its own. Pictures that do not say theirs are mostly T1:
    they give to all, and take from T1 with contrast.
    """
    sequences = {sequence for _, sequence, _ in groups}
    groups_by_host = {}
    for host in sequences | {None}:
        fitting = {host, None, *([MRSequence.T1_CONTRAST] if host is None else [])}
        given = [item for key, item in groups.items() if key[1] in fitting]
        if given:
            groups_by_host[host] = given
    return groups_by_host


def _can_be_moved(sample: Sample) -> bool:
    """Tell tumours that may lie elsewhere: a pituitary tumour has one place."""
    return (
        sample.findings != (TumorClass.PITUITARY,)
        and sample.outline is not None
        and sample.brain is not None
        and cv2.countNonZero(sample.outline) > _MIN_OUTLINE
    )


def _one_of(groups: Sequence[Sequence[Sample]], rng: np.random.Generator) -> Sample:
    """Draw a group, then one of it: large sets are not drawn more often."""
    group = groups[int(rng.integers(len(groups)))]
    return group[int(rng.integers(len(group)))]


def _grown(outline: Square, pixels: int) -> Square:
    return cv2.dilate(outline, disc(pixels)).astype(np.uint8)


def _moved(donor: Sample, rng: np.random.Generator) -> tuple[Square, Square]:
    """Turn, scale, mirror and shift a tumour a little, with what is around it.

    The squares are cut to the head, so the same place in them is about the
    same place in the brain.
    """
    square, outline = donor.square, donor.outline
    assert outline is not None  # `_can_be_moved`
    edge = square.shape[0]
    turn = cv2.getRotationMatrix2D((edge / 2.0, edge / 2.0), rng.normal(0.0, 20.0), 1.0)
    linear = turn[:, :2] * np.exp(rng.normal(0.0, 0.2))
    rows, columns = np.nonzero(outline)
    centre = np.array([columns.mean(), rows.mean()])
    target = centre + rng.normal(0.0, 0.06, 2) * edge
    if rng.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
        target[0] += edge - 1 - 2.0 * centre[0]
    matrix = np.column_stack([linear, target - linear @ centre])
    moved = cv2.warpAffine(outline, matrix, (edge, edge)) > 127
    return (
        cv2.warpAffine(square, matrix, (edge, edge)).astype(np.uint8),
        moved.astype(np.uint8) * np.uint8(255),
    )


def _grafted(
    host: Sample, tissue: Square, outline: Square, rng: np.random.Generator
) -> Square | None:
    """Blend tissue into a head, as bright around the outline as its new place.

    Returns
    -------
    ndarray or None
        None where it does not fit into the brain.
    """
    assert host.brain is not None  # `Transplants.change`
    area = cv2.countNonZero(outline)
    inside = cv2.countNonZero(outline & host.brain)
    if area == 0 or inside < _MIN_INSIDE_BRAIN * area:
        return None
    zone = _grown(outline, _RING)
    ring = (zone > 0) & (outline == 0) & (host.brain > 0) & (tissue > _AIR)
    if ring.sum() < _MIN_RING:
        return None
    here = float(np.median(host.square[ring]))
    there = float(np.median(tissue[ring]))
    gain = np.clip(here / max(there, 20.0), 0.4, 2.0) * np.exp(rng.normal(0.0, 0.12))
    matched = here + (tissue.astype(np.float32) - there) * gain
    reach = zone if rng.random() < 0.5 else _grown(outline, 2)
    soft = (reach > 0).astype(np.float32)
    share = cv2.GaussianBlur(soft, (0, 0), rng.uniform(1.5, 4.0))
    blended = host.square * (1.0 - share) + matched * share
    return np.rint(np.clip(blended, 0.0, 255.0)).astype(np.uint8)
