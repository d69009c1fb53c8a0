"""Short codes of training pictures, by which a bundle knows copies of them later.

A code is 192 bits for each of a fingerprint's two views: on which side of 192
fixed random planes the view lies (Charikar 2002, STOC). 48 bytes a picture are
enough to find copies, and far too few to draw the picture from.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.duplicates.copies import take_fingerprints
from tumorlens.data.duplicates.fingerprint import VIEW_SIZE, Fingerprint
from tumorlens.data.duplicates.neighbours import near_to_first
from tumorlens.data.manifest import Record
from tumorlens.errors import BundleError

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
        That read pictures.

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
        return cls(center, _codes(pooled, center))

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
        theirs = _codes(_pooled(_views(shown)), self.center)
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
            for mine, theirs in zip(self.codes, _codes(cells, self.center), strict=True)
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
    both = [_codes(cells, center) for cells in (pooled, _mirrored(pooled))]
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


def _codes(pooled: NDArray[np.int32], center: NDArray[np.int16]) -> NDArray[np.uint64]:
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
