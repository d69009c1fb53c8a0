"""Copies of pictures: found within a set, between sets, and by a bundle later.

A fingerprint is a digest and two small views. A copy that was compressed again,
resized, stretched, mirrored, brightened or given another border keeps at least one of
its views almost as it was; the next slice of the same series does not.

Pairs of nearly equal pictures are found at a cost that grows about linearly: pictures
whose views fall on the same sides of a handful of random planes share a bucket
(locality-sensitive hashing: Charikar 2002, STOC); only pairs that share a bucket in one
of several such tables are compared in full.

A bundle knows copies of its training pictures by short codes: 192 bits for each view,
on which side of 192 fixed random planes it lies. 48 bytes a picture are enough to find
copies, and far too few to draw the picture from.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record
from tumorlens.errors import BundleError, InputError
from tumorlens.imaging.read import read_study

VIEW_SIZE = 48
"""Edge of a view, in pixels."""

_DEVIATION = 24.0
_SEARCH_SIZE = 128
_HEAD = 0.25
_FINE, _COARSE = 0.6, 4.5


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of one picture.

    Parameters
    ----------
    bytes_digest
        SHA-256 of the file, in hex.
    pixels_digest
        SHA-256 of shape and grey values, in hex.
    height, width
        Size in pixels.
    low, median, high
        Percentiles 1, 50 and 99 of the grey values, slightly blurred, in the
        file's own units.
    colorfulness
        0 for grey to 1; see `tumorlens.imaging.study.Slice`.
    views
        Shape (2, VIEW_SIZE, VIEW_SIZE), int8, mean 0: local contrast of the
        whole picture and of the box around the head, each stretched to a
        square. All 0 for a blank picture.
    """

    bytes_digest: str
    pixels_digest: str
    height: int
    width: int
    low: float
    median: float
    high: float
    colorfulness: float
    views: NDArray[np.int8]

    @property
    def blank(self) -> bool:
        """True where the picture shows nothing."""
        return not self.views[0].any()


def fingerprint(path: Path) -> Fingerprint:
    """Take the fingerprint of a picture.

    Parameters
    ----------
    path
        The picture; of several pages the first counts.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    item = read_study(path).slices[0]
    pixels = np.ascontiguousarray(item.pixels)
    calm = cv2.GaussianBlur(_shrink(pixels, _SEARCH_SIZE), (0, 0), 1.0)
    low, median, high = (float(value) for value in np.percentile(calm, (1, 50, 99)))
    bright = calm > low + _HEAD * (high - low)
    digest = hashlib.sha256(f"{item.height}x{item.width}:".encode())
    digest.update(pixels.data)
    return Fingerprint(
        bytes_digest=_file_digest(path),
        pixels_digest=digest.hexdigest(),
        height=item.height,
        width=item.width,
        low=low,
        median=median,
        high=high,
        colorfulness=item.colorfulness,
        views=np.stack(
            (_local_contrast(pixels), _local_contrast(_head_box(pixels, bright)))
        ),
    )


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shrink(pixels: NDArray[np.float32], longest: int) -> NDArray[np.float32]:
    height, width = pixels.shape
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _head_box(
    pixels: NDArray[np.float32], bright: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Cut the rows and columns that hold the head.

    Unlike `preprocess.find_head` this looks at whole rows and columns, so that
    a few pixels more or less (as compression makes them) move no edge far.
    """
    y0, y1 = _ends(bright.mean(axis=1))
    x0, x1 = _ends(bright.mean(axis=0))
    down, across = np.divide(pixels.shape, bright.shape)
    rows = slice(int(y0 * down), max(1, round(y1 * down)))
    columns = slice(int(x0 * across), max(1, round(x1 * across)))
    return pixels[rows, columns]


def _ends(share: NDArray[np.floating]) -> tuple[int, int]:
    held = np.flatnonzero(share > 0.1 * share.max())
    if held.size == 0:
        return 0, share.size
    return int(held[0]), int(held[-1]) + 1


def _local_contrast(pixels: NDArray[np.float32]) -> NDArray[np.int8]:
    """Difference of two blurs, as whole numbers of a fixed deviation."""
    square = cv2.resize(pixels, (VIEW_SIZE, VIEW_SIZE), interpolation=cv2.INTER_AREA)
    fine = cv2.GaussianBlur(square, (0, 0), _FINE)
    difference = fine - cv2.GaussianBlur(square, (0, 0), _COARSE)
    difference -= difference.mean()
    deviation = float(difference.std())
    # Rounding alone leaves a little contrast in a picture of one value.
    if deviation <= 1e-6 * (1.0 + float(np.abs(square).max())):
        return np.zeros((VIEW_SIZE, VIEW_SIZE), np.int8)
    scaled = np.rint(difference * (_DEVIATION / deviation))
    return np.asarray(np.clip(scaled, -127, 127), np.int8)


NEAR_DUPLICATE = 0.95
"""Correlation of views from which two pictures are copies of one another.

Measured on 4,585 slices of 246 patients: no two patients reach 0.95, while
copies that were compressed again, resized, stretched, mirrored or brightened
reach 0.98.
"""

_MISSED = 0.01
_SPARE_BITS = 4
_WINDOW = 32
_MAX_TABLES = 64
_CHUNK = 4096


class Pair(NamedTuple):
    """Two pictures that are nearly equal.

    Parameters
    ----------
    first, second
        Their positions; the first is the smaller.
    similarity
        Correlation of the better view, up to 1.
    mirrored
        Whether the second had to be mirrored left to right.
    """

    first: int
    second: int
    similarity: float
    mirrored: bool


def near_pairs(
    views: NDArray[np.int8], threshold: float = NEAR_DUPLICATE
) -> list[Pair]:
    """Find nearly equal pictures.

    Parameters
    ----------
    views
        Shape (N, V, S, S), int8, S even: the views of `Fingerprint`.
    threshold
        Correlation from which a pair counts.

    Returns
    -------
    list of Pair
        Sorted; each pair of pictures once.
    """
    best: dict[tuple[int, int], Pair] = {}
    for column in range(views.shape[1]):
        view = views[:, column]
        codes = _candidates(view, threshold)
        for pair in _confirmed(view, codes, threshold):
            best_pair = best.get(pair[:2])
            if best_pair is None or best_pair.similarity < pair.similarity:
                best[pair[:2]] = pair
    return sorted(best.values())


def near_to_first(views: NDArray[np.int8], threshold: float = NEAR_DUPLICATE) -> bool:
    """Tell whether the first picture is nearly equal to one of the others.

    Every pair is compared: a few pictures are too few for `near_pairs`, which takes
    away what all share, and of two pictures that is all.

    Parameters
    ----------
    views, threshold
        The same as in `near_pairs`.
    """
    others = np.arange(1, len(views), dtype=np.int64)
    codes = np.concatenate((others * 2, others * 2 + 1))
    return any(
        True
        for column in range(views.shape[1])
        for _ in _confirmed(views[:, column], codes, threshold)
    )


def _tables(count: int, threshold: float) -> tuple[int, int]:
    """Bits of a key, and tables so that few pairs at the threshold are missed."""
    bits = math.ceil(math.log2(2 * count)) + _SPARE_BITS
    same_side = 1.0 - math.acos(threshold) / math.pi
    shared = same_side**bits
    wanted = math.ceil(math.log(_MISSED) / math.log1p(-shared))
    return bits, min(_MAX_TABLES, wanted)


def _candidates(view: NDArray[np.int8], threshold: float) -> NDArray[np.int64]:
    """Pairs that share a bucket, as (first * N + second) * 2 + mirrored."""
    count = len(view)
    if count < 2:
        return np.empty(0, np.int64)
    bits, tables = _tables(count, threshold)
    plain, mirrored = _centred(view), _centred(view[:, :, ::-1])
    generator = np.random.default_rng(0)
    signs = np.array([-1, 1], np.float32)
    pair_codes = []
    for _ in range(tables):
        # Whole numbers below 2**24: the sums are exact on every machine.
        planes = generator.choice(signs, (plain.shape[1], bits))
        sides = np.concatenate((plain @ planes, mirrored @ planes))
        keys = (sides > 0) @ (1 << np.arange(bits, dtype=np.int64))
        pair_codes.append(_in_buckets(keys, sides[:, 0], count))
    return np.unique(np.concatenate(pair_codes))


def _centred(view: NDArray[np.int8]) -> NDArray[np.float32]:
    """Quarter the pixels and take away what all pictures share."""
    wide = view.astype(np.int16)
    quarter = (
        wide[:, ::2, ::2]
        + wide[:, 1::2, ::2]
        + wide[:, ::2, 1::2]
        + wide[:, 1::2, 1::2]
    )
    middle = np.rint(quarter.mean(axis=0))
    # The same for a picture and its mirror, which have to share a bucket.
    middle = np.rint((middle + middle[:, ::-1]) / 2.0)
    return np.asarray((quarter - middle).reshape(len(view), -1), np.float32)


def _in_buckets(
    keys: NDArray[np.int64], order_by: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """Pairs with equal keys; in a crowded bucket, the nearest by `order_by`."""
    order = np.lexsort((order_by, keys))
    ordered = keys[order]
    pair_codes = []
    for distance in range(1, min(_WINDOW, len(keys) - 1) + 1):
        hits = np.flatnonzero(ordered[distance:] == ordered[:-distance])
        if hits.size == 0:
            break
        pair_codes.append(_codes(order[hits], order[hits + distance], count))
    return np.concatenate(pair_codes) if pair_codes else np.empty(0, np.int64)


def _codes(
    one: NDArray[np.int64], other: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    # Two mirrored pictures are alike just when the pictures are.
    mirrored = (one >= count) != (other >= count)
    one, other = one % count, other % count
    first, second = np.minimum(one, other), np.maximum(one, other)
    codes = (first * count + second) * 2 + mirrored
    return np.asarray(codes[first != second], np.int64)


def _confirmed(
    view: NDArray[np.int8], codes: NDArray[np.int64], threshold: float
) -> Iterable[Pair]:
    count = len(view)
    lengths = np.sqrt(np.square(view, dtype=np.int32).sum(axis=(1, 2)))
    for start in range(0, len(codes), _CHUNK):
        part = codes[start : start + _CHUNK]
        mirrored = (part % 2).astype(bool)
        first, second = np.divmod(part // 2, count)
        left = view[first].astype(np.float32)
        right = view[second].astype(np.float32)
        right[mirrored] = right[mirrored][:, :, ::-1]
        scale = np.maximum(lengths[first] * lengths[second], 1.0)
        likeness = np.einsum("nij,nij->n", left, right) / scale
        for row in np.flatnonzero(likeness >= threshold):
            yield Pair(
                int(first[row]),
                int(second[row]),
                float(likeness[row]),
                bool(mirrored[row]),
            )


def groups(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """Put everything that is linked, however far around, into one group.

    Parameters
    ----------
    count
        Number of things.
    links
        Pairs of positions that belong together.

    Returns
    -------
    list of int
        Smallest position in the group of each thing.
    """
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for one, other in links:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return [root(item) for item in range(count)]


def take_fingerprints(
    records: Sequence[Record],
    *,
    threads: int = 2,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[list[Fingerprint | None], list[str]]:
    """Take the fingerprint of every picture.

    Returns
    -------
    fingerprints
        One for each record; None for a picture that cannot be read.
    problems
        A sentence for each of those.
    """

    def take(record: Record) -> Fingerprint | str:
        try:
            return fingerprint(record.path)
        except InputError as error:
            return error.message

    prints: list[Fingerprint | None] = []
    problems: list[str] = []
    with ThreadPoolExecutor(threads) as pool:
        for done, item in enumerate(pool.map(take, records), start=1):
            if isinstance(item, str):
                problems.append(item)
            prints.append(None if isinstance(item, str) else item)
            progress(done)
    return prints, problems


def copies(
    prints: Sequence[Fingerprint], threshold: float = NEAR_DUPLICATE
) -> list[Pair]:
    """Find pictures that are copies of one another.

    Parameters
    ----------
    prints
        Fingerprints of the pictures.
    threshold
        Correlation from which two pictures are copies; see `near_pairs`.

    Returns
    -------
    list of Pair
        Exact copies have similarity 1 and are linked to the first of them
        alone, near ones are found among the pictures that differ.
    """
    first: dict[str, int] = {}
    pairs = []
    for row, item in enumerate(prints):
        # Blank pictures are all alike, and no copies of one another.
        if item.blank:
            continue
        first_row = first.setdefault(item.pixels_digest, row)
        if first_row != row:
            pairs.append(Pair(first_row, row, 1.0, False))
    rows = list(first.values())
    if rows:
        views = np.stack([prints[row].views for row in rows])
        pairs += [
            pair._replace(first=rows[pair.first], second=rows[pair.second])
            for pair in near_pairs(views, threshold)
        ]
    return pairs


def measured_pairs(
    pairs: Sequence[Pair], records: Sequence[Record]
) -> list[tuple[int, int]]:
    """Leave out copies that both train only.

    No figure rests on either, and the tops of two heads look alike.

    Parameters
    ----------
    pairs
        Pairs of `copies`.
    records
        Records to compare.

    Returns
    -------
    list of pairs
        Positions in `records`.
    """
    return [
        (pair.first, pair.second)
        for pair in pairs
        if not (records[pair.first].train_only and records[pair.second].train_only)
    ]


def linked_copies(
    records: Sequence[Record],
    *,
    threads: int = 2,
    progress: Callable[[int], None] = lambda done: None,
) -> list[tuple[int, int]]:
    """Find which records of a set must stay together because they are copies.

    Parameters
    ----------
    records
        The set; pictures that cannot be read are linked to nothing.
    threads, progress
        The same as in `take_fingerprints`.

    Returns
    -------
    list of pairs
        Positions in `records`; see `measured_pairs`.
    """
    prints, _ = take_fingerprints(records, threads=threads, progress=progress)
    rows = [row for row, item in enumerate(prints) if item is not None]
    pairs = [
        pair._replace(first=rows[pair.first], second=rows[pair.second])
        for pair in copies([item for item in prints if item is not None])
    ]
    return measured_pairs(pairs, records)


MOST_BITS_APART = 8
"""Most bits of 192, in the better view, that part two copies.

Measured on 6,870 slices of five sets. Of 23.5 million pairs of different groups
none is within it that is not a copy by its full views (correlation from 0.95);
within 10 bits three are, two of them slices near the top of two heads, and one
such pair would take "held out" from a whole evaluation. Of 150 pictures saved
again as JPEG, made smaller or mirrored all are within it, of those brightened
148, of those given a wide border a quarter; of 124 pairs from two sets that are
copies by their full views, 45. A copied set is noticed, not every copy in it. Where
the ends of heads train too, one such pair of tops is within it, at a correlation of
.93: see `TrainingCodes.confirms`.
"""

_FORMAT = "views192-1:"
_BITS = 192
_POOL = 3
_VIEWS = 2
_CELLS = (VIEW_SIZE // _POOL) ** 2
_ROWS_AT_A_TIME = 256


def training_fingerprints(records: Sequence[Record], threads: int = 2) -> str:
    """Make the codes of a training set, as a bundle's provenance keeps them.

    Parameters
    ----------
    records
        Everything that shaped the model: training and validation. Pictures
        that cannot be read, and blank ones, are left out.
    threads
        Number of threads that read pictures.

    Returns
    -------
    str
        ASCII: 64 characters a picture, 390 KB for 6,000 of them. Depends
        on nothing but the pictures and their order.
    """
    return TrainingCodes.make(take_fingerprints(records, threads=threads)[0]).to_text()


@dataclass(frozen=True)
class TrainingCodes:
    """Codes of N pictures.

    Parameters
    ----------
    center
        Shape (2, 256), int16: what the pictures share, taken off before the
        planes; the same for a picture and its mirror.
    codes
        Shape (2, N, 3), uint64: 192 bits for each view.
    """

    center: NDArray[np.int16]
    codes: NDArray[np.uint64]

    @classmethod
    def make(cls, prints: Sequence[Fingerprint | None]) -> Self:
        """Make the codes of pictures by their fingerprints."""
        pooled = _pooled(_views(prints))
        center = np.zeros((_VIEWS, _CELLS), np.int16)
        if pooled.shape[1]:
            middle = pooled.mean(axis=1)
            center = np.rint((middle + _mirrored(middle)) / 2.0).astype(np.int16)
        return cls(center, _side_codes(pooled, center))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `to_text` wrote.

        Raises
        ------
        BundleError
            It is of another format, or cut off.
        """
        if not text.startswith(_FORMAT):
            raise BundleError(
                f"The bundle's training fingerprints start with {text[:12]!r}, "
                f"not {_FORMAT!r}.",
                "Upgrade TumorLens, or export the bundle again.",
            )
        try:
            data = base64.b64decode(text[len(_FORMAT) :], validate=True)
            head = 2 * _VIEWS * _CELLS
            center = np.frombuffer(data[:head], "<i2").reshape(_VIEWS, _CELLS)
            codes = np.frombuffer(data[head:], "<u8").reshape(_VIEWS, -1, _BITS // 64)
        except (ValueError, binascii.Error) as error:
            raise BundleError("The bundle's training fingerprints are cut off.") from (
                error
            )
        return cls(center.astype(np.int16), codes.astype(np.uint64))

    def to_text(self) -> str:
        """Write the codes as ASCII."""
        data = self.center.astype("<i2").tobytes() + self.codes.astype("<u8").tobytes()
        return _FORMAT + base64.b64encode(data).decode("ascii")

    def __len__(self) -> int:
        """Count the pictures."""
        return int(self.codes.shape[1])

    def holds(self, prints: Sequence[Fingerprint | None]) -> NDArray[np.bool_]:
        """Tell which pictures are copies of one of these.

        Parameters
        ----------
        prints
            N fingerprints; None, and blank pictures, are copies of nothing.

        Returns
        -------
        ndarray
            Shape (N,).
        """
        is_copy = np.zeros(len(prints), bool)
        if not len(self):
            return is_copy
        rows = [row for row, item in enumerate(prints) if item and not item.blank]
        pooled = _pooled(_views(prints))
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            part = slice(start, start + _ROWS_AT_A_TIME)
            is_copy[rows[part]] = self._near(pooled[:, part]).any(axis=1)
        return is_copy

    def confirms(
        self,
        suspects: Sequence[Fingerprint | None],
        at_hand: Sequence[Fingerprint | None],
    ) -> NDArray[np.bool_]:
        """Look at the pictures themselves where codes take some for copies.

        Parameters
        ----------
        suspects
            N pictures that `holds` takes for copies.
        at_hand
            Training pictures may be among them.

        Returns
        -------
        ndarray
            Shape (N,): false where every picture that a suspect may be a copy of is
            at hand, and it is a copy of none by its full views.
        """
        shown = [item for item in at_hand if item and not item.blank]
        theirs = _side_codes(_pooled(_views(shown)), self.center)
        near = self._near(_pooled(_views(suspects)))
        return np.array(
            [
                one is None or self._confirms(one, self.codes[:, row], shown, theirs)
                for one, row in zip(suspects, near, strict=True)
            ],
            bool,
        )

    @staticmethod
    def _confirms(
        one: Fingerprint,
        codes: NDArray[np.uint64],
        shown: Sequence[Fingerprint],
        theirs: NDArray[np.uint64],
    ) -> bool:
        same_rows: set[int] = set()
        for code in codes.swapaxes(0, 1):
            same = np.flatnonzero((theirs == code[:, np.newaxis]).all(axis=(0, 2)))
            if not len(same):
                return True
            same_rows.update(same.tolist())
        return near_to_first(
            np.stack([one.views, *(shown[row].views for row in sorted(same_rows))])
        )

    def _near(self, pooled: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Tell which of these each picture may be a copy of, shape (N, M)."""
        apart = [
            np.bitwise_count(mine ^ theirs[:, np.newaxis]).sum(axis=2, dtype=np.int64)
            for cells in (pooled, _mirrored(pooled))
            for mine, theirs in zip(
                self.codes, _side_codes(cells, self.center), strict=True
            )
        ]
        return np.asarray(np.min(apart, axis=0) <= MOST_BITS_APART)


def view_codes(
    prints: Sequence[Fingerprint | None], center: NDArray[np.int16]
) -> NDArray[np.uint64]:
    """Make the codes of pictures about a given middle, for sets that are apart.

    Parameters
    ----------
    prints
        Fingerprints; None and blank pictures are left out.
    center
        The same as in `TrainingCodes`.

    Returns
    -------
    ndarray
        Shape (N, 2, 2, 3): for each view the code as it is, then mirrored.
    """
    pooled = _pooled(_views(prints))
    both = [_side_codes(cells, center) for cells in (pooled, _mirrored(pooled))]
    return np.ascontiguousarray(np.stack(both, axis=2).swapaxes(0, 1))


def _views(prints: Sequence[Fingerprint | None]) -> NDArray[np.int8]:
    """Collect the views of all that are not blank: shape (2, N, 48, 48)."""
    views = [item.views for item in prints if item and not item.blank]
    if not views:
        return np.zeros((_VIEWS, 0, VIEW_SIZE, VIEW_SIZE), np.int8)
    return np.stack(views, axis=1)


def _pooled(views: NDArray[np.int8]) -> NDArray[np.int32]:
    """Sum 3 x 3 pixels each, (2, N, 256)."""
    edge = VIEW_SIZE // _POOL
    cells = views.reshape(_VIEWS, -1, edge, _POOL, edge, _POOL)
    sums: NDArray[np.int32] = cells.sum(axis=(3, 5), dtype=np.int32)
    return sums.reshape(_VIEWS, -1, _CELLS)


def _mirrored(cells: NDArray[Any]) -> NDArray[Any]:
    edge = VIEW_SIZE // _POOL
    square = cells.reshape(*cells.shape[:-1], edge, edge)
    return np.ascontiguousarray(square[..., ::-1]).reshape(cells.shape)


def _side_codes(
    pooled: NDArray[np.int32], center: NDArray[np.int16]
) -> NDArray[np.uint64]:
    # Whole numbers below 2**24: the sums are exact on every machine.
    centred = (pooled - center[:, np.newaxis]).astype(np.float32)
    sides = np.packbits(centred @ _planes() > 0, axis=-1)
    return np.ascontiguousarray(sides).view("<u8").astype(np.uint64)


def _planes() -> NDArray[np.float32]:
    """Draw planes of -1 and 1, (256, 192): by a hash, so that they stay the same."""
    data = hashlib.shake_256(b"tumorlens training fingerprints").digest(
        _CELLS * _BITS // 8
    )
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(_CELLS, _BITS)
    return bits.astype(np.float32) * 2.0 - 1.0


_EXAMPLES = 5


@dataclass(frozen=True)
class Overlap:
    """Numbers of pictures and patients that a set shares with another.

    Parameters
    ----------
    pictures, compared_with
        Numbers of pictures of either that could be read.
    identical
        Number of pictures that are there pixel for pixel.
    copies
        Number of pictures that are there, or nearly so: compressed again, resized,
        brightened or mirrored.
    same_patient
        Number of pictures of a patient who is there.
    shared
        Number of pictures that are copies, or show a patient who is there.
    examples
        The first few of these, by file name.
    """

    pictures: int
    compared_with: int
    identical: int
    copies: int
    same_patient: int
    shared: int
    examples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all as a JSON object (schema ``tumorlens-overlap/1``)."""
        return {
            "schema": "tumorlens-overlap/1",
            **vars(self),
            "examples": list(self.examples),
        }


def measure_overlap(
    records: Sequence[Record],
    others: Sequence[Record],
    known: Sequence[Record] = (),
    *,
    threads: int = 2,
    progress: Callable[[int], None] = lambda done: None,
) -> Overlap:
    """Look for pictures, and patients, of one set in another.

    Parameters
    ----------
    records
        The set in question, such as a test part.
    others
        The other one, such as a training part.
    known
        A set that names patients: a copy of one of its pictures, in either
        set, is taken for a picture of that patient.
    threads
        Readers at work at a time.
    progress
        Called with the number of pictures read so far, of all three sets.
    """
    everything = [*records, *others, *known]
    prints, _ = take_fingerprints(everything, threads=threads, progress=progress)
    own_rows = range(len(records))
    theirs = range(len(records), len(records) + len(others))
    alike = _Likeness(prints)
    named: dict[int, set[str]] = defaultdict(set)
    for row in range(theirs.stop, len(everything)):
        for place in alike.near(row):
            named[place].add(everything[row].patient)

    def people(row: int) -> set[str]:
        return ({everything[row].patient} | named[alike.place(row)]) - {""}

    there = {alike.place(row) for row in theirs if prints[row]} - {_NOWHERE}
    patients = set().union(*(people(row) for row in theirs))
    identical = [row for row in own_rows if alike.place(row) in there]
    copies = [row for row in own_rows if alike.near(row) & there]
    same = [row for row in own_rows if people(row) & patients]
    shared = sorted({*copies, *same})
    return Overlap(
        sum(prints[row] is not None for row in own_rows),
        sum(prints[row] is not None for row in theirs),
        len(identical),
        len(copies),
        len(same),
        len(shared),
        tuple(everything[row].path.name for row in shared[:_EXAMPLES]),
    )


_NOWHERE = -1
"""Place of a picture that cannot be read, or is blank: a copy of nothing."""


class _Likeness:
    """Index of many pictures that tells which are the same, or nearly.

    Parameters
    ----------
    prints
        Fingerprints of N pictures. Those that are the same pixel for pixel get
        one place.
    """

    def __init__(self, prints: Sequence[Fingerprint | None]) -> None:
        places: dict[str, int] = {}
        first: list[Fingerprint] = []
        self._places: list[int] = []
        for item in prints:
            if item is None or item.blank:
                self._places.append(_NOWHERE)
                continue
            if item.pixels_digest not in places:
                places[item.pixels_digest] = len(first)
                first.append(item)
            self._places.append(places[item.pixels_digest])
        self._near: dict[int, set[int]] = defaultdict(set)
        if first:
            for pair in near_pairs(np.stack([item.views for item in first])):
                self._near[pair.first].add(pair.second)
                self._near[pair.second].add(pair.first)

    def place(self, row: int) -> int:
        """Tell where a picture stands; the same for the same pixels."""
        return self._places[row]

    def near(self, row: int) -> set[int]:
        """List the places of a picture and of its near copies."""
        place = self._places[row]
        return set() if place == _NOWHERE else {place, *self._near[place]}
