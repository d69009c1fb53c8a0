"""The baseline beside every tumour figure: how far brightness alone gets.

Ten plain statistics of a picture's brightness, which know nothing of where
anything is, go into a random forest (Breiman 2001). Where they tell tumour
from none across sets, the sets differ, not the heads: a network can reach
high figures by telling scanners and encoders apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from tumorlens.data.labelled_slices import read_labelled_slice
from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError
from tumorlens.statistics import Resampling, figure
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX

STATISTICS = (
    "mean",
    "standard deviation",
    "skewness",
    "kurtosis",
    "10th percentile",
    "median",
    "90th percentile",
    "99th percentile",
    "entropy",
    "share of nearly black",
)
"""Names of statistics of the brightness, which is a share of the brightest value."""

_BINS = 64
_BLACK = 0.05
_TREES = 300

_LEAF = 2

_SEED = 20

_READERS = 2


def intensity_statistics(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sum up a picture's brightness.

    Parameters
    ----------
    pixels
        Shape (H, W), float32, any range.

    Returns
    -------
    ndarray
        Shape (10,), as `STATISTICS` names them; zeros for a constant picture.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if high <= low:
        return np.zeros(len(STATISTICS))
    share = (pixels.ravel() - np.float32(low)) / np.float32(high - low)
    mean, spread = float(share.mean()), float(share.std())
    standard = (share - mean) / max(spread, 1e-9)
    counts = cv2.calcHist([share], [0], None, [_BINS], [0.0, 1.0 + 1e-6]).ravel()
    filled = counts[counts > 0] / share.size
    return np.array(
        [
            mean,
            spread,
            float((standard**3).mean()),
            float((standard**4).mean()),
            *np.percentile(share, (10, 50, 90, 99)),
            -float((filled * np.log(filled)).sum()),
            float((share < _BLACK).mean()),
        ]
    )


def cross_validate_intensity_baseline(
    records: Sequence[Record],
    together: Sequence[Sequence[str]] = (),
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Score every fold by a baseline that was trained on the others.

    Parameters
    ----------
    records
        Labelled rows of a manifest, each with its fold.
    together
        Sources or sites whose figures are also given as one, as those of the
        sets that a published figure stands on.
    say
        Receives lines of progress.

    Returns
    -------
    dict
        Plain JSON: ``slices`` and ``patients`` that were scored; under
        ``by_slice`` and ``by_patient`` the ``auroc_tumor`` and the ``accuracy``
        over four classes: of ``all``, ``across`` sets and sites of which each
        holds tumours only, or none, ``inside`` each that holds both, and of
        those ``together``.

    Raises
    ------
    DatasetError
        No labelled picture can be read, or none is of a source or site that
        is asked for.
    """
    kept, statistics = _readable(records, say)
    _check_known(kept, together)
    folds = np.array([-1 if row.fold is None else row.fold for row in kept])
    probabilities = np.zeros((len(kept), len(CLASSES)))
    for fold in np.unique(folds):
        inside = folds == fold
        others = [
            row for row, left_out in zip(kept, inside, strict=True) if not left_out
        ]
        probabilities[inside] = _judge(others, statistics[~inside], statistics[inside])
        say(f"Fold {fold}: {int(inside.sum())} slices scored.")
    counts = np.array([not row.train_only for row in kept])
    return _summarise(list(compress(kept, counts)), probabilities[counts], together)


def _check_known(records: Sequence[Record], together: Sequence[Sequence[str]]) -> None:
    known = {row.source for row in records} | {row.site for row in records} - {""}
    for name in (name for names in together for name in names):
        if name not in known:
            raise DatasetError(
                f"No picture is of a source or site '{name}'.",
                f"There are: {', '.join(sorted(known))}.",
            )


def _readable(
    records: Sequence[Record], say: Callable[[str], None]
) -> tuple[list[Record], NDArray[np.float64]]:
    def read(record: Record) -> NDArray[np.float64] | None:
        slice_ = read_labelled_slice(record)
        return None if slice_ is None else intensity_statistics(slice_.pixels)

    labelled = [record for record in records if record.label is not None]
    with ThreadPoolExecutor(_READERS) as pool:
        rows = list(pool.map(read, labelled))
    for record, row in zip(labelled, rows, strict=True):
        if row is None:
            say(f"Left out {record.path}: it cannot be read, or holds several slices.")
    known_rows = [row for row in rows if row is not None]
    if not known_rows:
        raise DatasetError(
            "None of the listed pictures can be read.",
            "Run `tumorlens data audit` on the manifest to see why.",
        )
    readable = [r for r, row in zip(labelled, rows, strict=True) if row is not None]
    return readable, np.stack(known_rows)


def _judge(
    known: Sequence[Record], seen: NDArray[np.float64], shown: NDArray[np.float64]
) -> NDArray[np.float64]:
    forest = RandomForestClassifier(
        _TREES,
        min_samples_leaf=_LEAF,
        class_weight="balanced",
        random_state=_SEED,
        n_jobs=1,
    )
    forest.fit(seen, _labels(known))
    probabilities = np.zeros((len(shown), len(CLASSES)))
    probabilities[:, forest.classes_] = forest.predict_proba(shown)
    return probabilities


def _labels(records: Sequence[Record]) -> NDArray[np.int64]:
    return np.array([CLASSES.index(row.label) for row in records if row.label])


@dataclass(frozen=True)
class _Judged:
    """N labels and probabilities (N, 4), whose they are, and from which place."""

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    groups: NDArray[np.str_]
    sources: NDArray[np.str_]
    sites: NDArray[np.str_]

    @property
    def places(self) -> NDArray[np.str_]:
        """Source and site of each, shape (N,)."""
        pairs = zip(self.sources.tolist(), self.sites.tolist(), strict=True)
        return np.array([f"{source} {site}".strip() for source, site in pairs])

    def take(self, rows: NDArray[Any]) -> _Judged:
        return _Judged(
            self.labels[rows],
            self.probabilities[rows],
            self.groups[rows],
            self.sources[rows],
            self.sites[rows],
        )

    def by_patient(self) -> _Judged:
        """Mean the probabilities over a patient's slices of one class."""
        keys = np.array(
            [f"{a}\t{b}" for a, b in zip(self.groups, self.labels, strict=True)]
        )
        _, first, rows, counts = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        sums = [np.bincount(rows, column) for column in self.probabilities.T]
        means = np.stack(sums, axis=1) / counts[:, None]
        return replace(self.take(first), probabilities=means)

    def figures(self) -> dict[str, Any]:
        resampling = Resampling(self.groups.tolist())
        right = self.probabilities.argmax(axis=1) == self.labels
        p_tumor = 1.0 - self.probabilities[:, NO_TUMOR_INDEX]
        return {
            "count": len(self.labels),
            "accuracy": resampling.share(right, np.ones(len(right), bool)),
            "auroc_tumor": figure(
                resampling.auroc(p_tumor, self.labels != NO_TUMOR_INDEX)
            ),
        }


def _summarise(
    records: Sequence[Record],
    probabilities: NDArray[np.float64],
    together: Sequence[Sequence[str]],
) -> dict[str, Any]:
    judged = _Judged(
        _labels(records),
        probabilities,
        np.array([row.group for row in records]),
        np.array([row.source for row in records]),
        np.array([row.site for row in records]),
    )
    return {
        "slices": len(records),
        "patients": len(set(judged.groups.tolist())),
        "statistics": list(STATISTICS),
        "by_slice": _by_place(judged, together),
        "by_patient": _by_place(judged.by_patient(), together),
    }


def _by_place(judged: _Judged, together: Sequence[Sequence[str]]) -> dict[str, Any]:
    places, none = judged.places, judged.labels == NO_TUMOR_INDEX
    kinds: dict[str, set[bool]] = defaultdict(set)
    for place, tumor_free in zip(places.tolist(), none.tolist(), strict=True):
        kinds[place].add(tumor_free)
    mixed = sorted(place for place, seen in kinds.items() if len(seen) > 1)
    figures = {"all": judged.figures()}
    apart = ~np.isin(places, mixed)
    if apart.any():
        figures["across"] = judged.take(apart).figures()
    figures["inside"] = {
        place: judged.take(places == place).figures() for place in mixed
    }
    figures["together"] = {
        ", ".join(names): judged.take(
            np.isin(judged.sources, names) | np.isin(judged.sites, names)
        ).figures()
        for names in together
    }
    return figures
