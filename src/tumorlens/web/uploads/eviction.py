"""What lies in a full store gives way, the oldest first; what is under way does not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import NamedTuple

from tumorlens.web.uploads.series_record import State

_TOTAL = (
    "SELECT (SELECT coalesce(sum(size), 0) FROM analyses) + "
    "(SELECT coalesce(sum(size), 0) FROM scans)"
)
_IS_OVER = "state IN ({})".format(", ".join(f"'{s}'" for s in State if s.is_over))
_OF_THOSE_UNDER_WAY = (
    f"SELECT value FROM scans, json_each(document, '$.analyses') WHERE NOT {_IS_OVER}"
)
_OLDEST_FIRST = (
    "SELECT id, size, 0, made FROM analyses WHERE id != :newest "
    f"AND id NOT IN ({_OF_THOSE_UNDER_WAY}) UNION ALL "
    f"SELECT id, size, 1, made FROM scans WHERE {_IS_OVER} AND id != :newest "
    "ORDER BY made"
)
# One whose files are still being written has no size yet.
_UNDER_WAY = f"SELECT sum(size), count(*) FROM scans WHERE size > 0 AND NOT {_IS_OVER}"


class Given(NamedTuple):
    """What has to go.

    Parameters
    ----------
    id
        Of the analysis or scan.
    is_scan
        Which of both it is.
    """

    id: str
    is_scan: bool


def total_bytes(index: sqlite3.Connection) -> int:
    """Add up all analyses and scans."""
    return int(index.execute(_TOTAL).fetchone()[0])


def giving_way(index: sqlite3.Connection, limit_bytes: int, newest: str) -> list[Given]:
    """Name the oldest analyses and scans that have to go until the others fit.

    Parameters
    ----------
    index
        The store's.
    limit_bytes
        For all of them together.
    newest
        Stays; so does every scan that waits or is being judged, with the analyses
        of its pictures.
    """
    total = total_bytes(index)
    found: list[Given] = []
    if total <= limit_bytes:
        return found
    # No more rows are read than have to go: the index may have many.
    with closing(index.execute(_OLDEST_FIRST, {"newest": newest})) as rows:
        for item, size, is_scan, _ in rows:
            found.append(Given(item, bool(is_scan)))
            total -= size
            if total <= limit_bytes:
                break
    return found


def under_way_fits(index: sqlite3.Connection, limit_bytes: int) -> bool:
    """Tell whether the scans that are not over fit; one alone always does."""
    size, count = index.execute(_UNDER_WAY).fetchone()
    return bool(count <= 1 or size <= limit_bytes)
