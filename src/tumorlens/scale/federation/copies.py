"""Copies between sites, found by keyed hashes: no picture leaves, and no key.

The sites share a secret that the server never sees. Each hashes its pictures (HMAC,
RFC 2104): the pixels, the patient, and the codes of `tumorlens.data.duplicates` cut
into pieces, so that near copies still share most pieces. The server compares hashes,
and tells each site which of its own rows another site has too.

The server, without the key, learns how many pieces any two pictures share, and nothing
of what they show. A server that also has the key could try the 4,096 values of a piece
and win the codes back: 48 bytes a picture, from which none can be drawn, but by which a
picture at hand would be known. So whoever runs the server must not hold the key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.duplicates import (
    MOST_BITS_APART,
    TrainingCodes,
    take_fingerprints,
    view_codes,
)
from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError, SettingError
from tumorlens.evaluation.leakage import FINGERPRINTS
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE, load_bundle

PIECES = 16
"""Pieces of a code, of 12 bits each."""
SHARED_PIECES = PIECES - MOST_BITS_APART
"""Pieces that two copies share at least: each bit apart spoils one at most."""

_CODE_BITS = 192
_FEWEST_KEY_BYTES = 32
_ROWS_AT_A_TIME = 64
_NOTHING = np.uint64(0)
"""Hash of what is not there: a picture that cannot be read, a patient not named."""


def read_key(path: Path) -> bytes:
    """Read the secret that the sites share.

    Raises
    ------
    SettingError
        It cannot be read, or is too short to be one.
    """
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise SettingError(
            f"The key {path} cannot be read: {error.strerror}.", "Check --audit-key."
        ) from error
    if len(key) < _FEWEST_KEY_BYTES:
        raise SettingError(
            f"The key {path} has {len(key)} bytes.",
            f"Make one of {_FEWEST_KEY_BYTES} or more that nobody can guess, for "
            "example: head -c 32 /dev/urandom | base64",
        )
    return key


@dataclass(frozen=True)
class SiteHashes:
    """Hashes of a site's N pictures.

    Parameters
    ----------
    key_check
        Shape (1,), uint64: the same at sites with the same key.
    pixels, patients
        Shape (N,), uint64; 0 for a picture that cannot be read or is blank, and for a
        patient that is not named.
    pieces
        Shape (N, 2, 2, `PIECES`), uint64: of each view as it is, then mirrored.
    """

    key_check: NDArray[np.uint64]
    pixels: NDArray[np.uint64]
    patients: NDArray[np.uint64]
    pieces: NDArray[np.uint64]


def hash_records(records: Sequence[Record], key: bytes, threads: int = 2) -> SiteHashes:
    """Hash the pictures of a site.

    Parameters
    ----------
    records
        The site's rows.
    key
        The secret of the sites.
    threads
        Number of threads that read pictures.
    """
    prints, _ = take_fingerprints(records, threads=threads)
    there = [
        row for row, item in enumerate(prints) if item is not None and not item.blank
    ]
    codes = view_codes([prints[row] for row in there], _middle())
    pieces = np.zeros((len(records), 2, 2, PIECES), np.uint64)
    pixels = np.zeros(len(records), np.uint64)
    for row, views in zip(there, codes, strict=True):
        pieces[row] = _piece_hashes(views, key)
        item = prints[row]
        assert item is not None
        pixels[row] = _hash(key, f"pixels:{item.pixels_digest}")
    patients = np.array(
        [
            _hash(key, f"patient:{row.patient}") if row.patient else _NOTHING
            for row in records
        ],
        np.uint64,
    )
    check = np.array([_hash(key, "check")], np.uint64)
    return SiteHashes(check, pixels, patients, pieces)


def _middle() -> NDArray[np.int16]:
    """Read what codes are taken about from the shipped bundle: the same everywhere."""
    text = load_bundle(DEFAULT_BUNDLE).provenance.get(FINGERPRINTS)
    if not isinstance(text, str):
        return np.zeros((2, 256), np.int16)
    return TrainingCodes.parse(text).center


def _piece_hashes(views: NDArray[np.uint64], key: bytes) -> NDArray[np.uint64]:
    """Hash the pieces of one picture's codes, (2, 2, 3) to (2, 2, PIECES)."""
    bits = np.unpackbits(np.ascontiguousarray(views).view(np.uint8), axis=-1)
    width = _CODE_BITS // PIECES
    cut = bits.reshape(2, 2, PIECES, width)
    return np.array(
        [
            [
                [
                    _hash(key, f"piece:{view}:{piece}:{''.join(map(str, part))}")
                    for piece, part in enumerate(side)
                ]
                for side in cut[view]
            ]
            for view in range(2)
        ],
        np.uint64,
    )


def _hash(key: bytes, text: str) -> np.uint64:
    digest = hmac.new(key, text.encode(), hashlib.sha256).digest()
    # 0 says that there is nothing.
    return np.uint64(int.from_bytes(digest[:8], "big") | 1)


@dataclass(frozen=True)
class SharedCopies:
    """What two sites have in common, in pictures of the second.

    Parameters
    ----------
    first, second
        The sites.
    identical, near, patients
        Rows of the second that are the same pixel for pixel; that are near copies,
        the identical ones among them; whose patient the first has too.
    """

    first: str
    second: str
    identical: tuple[int, ...]
    near: tuple[int, ...]
    patients: tuple[int, ...]

    def counts(self) -> dict[str, str | int]:
        """Return the numbers as a JSON object."""
        return {
            "sites": f"{self.first}, {self.second}",
            "identical": len(self.identical),
            "near": len(self.near),
            "patients": len(self.patients),
        }


def compare_hashes(sites: Mapping[str, SiteHashes]) -> list[SharedCopies]:
    """Find copies between sites.

    Parameters
    ----------
    sites
        Hashes by the site's name.

    Returns
    -------
    list of SharedCopies
        One for each pair of sites, sorted; those without a copy too.

    Raises
    ------
    DatasetError
        The sites hold different keys.
    """
    keys = {name: int(hashes.key_check[0]) for name, hashes in sites.items()}
    if len(set(keys.values())) > 1:
        odd = min(keys, key=lambda name: list(keys.values()).count(keys[name]))
        raise DatasetError(
            f"The sites hold different keys; {odd} differs from others.",
            "Give all sites the same file as --audit-key.",
        )
    return [
        _compared(first, second, sites[first], sites[second])
        for first, second in combinations(sorted(sites), 2)
    ]


def _compared(
    first: str, second: str, one: SiteHashes, other: SiteHashes
) -> SharedCopies:
    known = set(one.pixels.tolist()) - {0}
    people = set(one.patients.tolist()) - {0}
    identical = [row for row, item in enumerate(other.pixels.tolist()) if item in known]
    near = set(identical) | set(np.flatnonzero(_near(other, one)).tolist())
    patients = [
        row for row, item in enumerate(other.patients.tolist()) if item in people
    ]
    return SharedCopies(
        first, second, tuple(identical), tuple(sorted(near)), tuple(patients)
    )


def _near(these: SiteHashes, those: SiteHashes) -> NDArray[np.bool_]:
    """Tell which of these share pieces enough with any of those, shape (N,)."""
    is_near = np.zeros(len(these.pixels), bool)
    there = those.pixels != _NOTHING
    for view in range(2):
        as_it_is = those.pieces[there, view, 0]
        for side in range(2):
            for start in range(0, len(is_near), _ROWS_AT_A_TIME):
                part = slice(start, start + _ROWS_AT_A_TIME)
                mine = these.pieces[part, view, side]
                shared = (mine[:, None, :] == as_it_is).sum(axis=2)
                is_near[part] |= (shared >= SHARED_PIECES).any(axis=1)
    return is_near & (these.pixels != _NOTHING)


def rows_to_leave_out(copies: Sequence[SharedCopies]) -> dict[str, list[int]]:
    """Say which rows each site leaves out: the first by name keeps a copy."""
    rows_by_site: dict[str, set[int]] = {}
    for pair in copies:
        rows_by_site.setdefault(pair.second, set()).update(pair.near, pair.patients)
    return {name: sorted(rows) for name, rows in rows_by_site.items() if rows}
