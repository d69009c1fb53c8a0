"""Reads the store that TumorLens 0.1.0 left in a folder."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumorlens.errors import OutputError
from tumorlens.web.uploads.upload import Kind, State

OLDER_INDEX = "index.sqlite"
_SCAN, _SENT = "scan-", "upload"
_INTERRUPTED = {
    "code": "interrupted",
    "message": "The server was stopped before this scan was judged.",
    "mend": "Send it again.",
}


@dataclass(frozen=True)
class OlderUpload:
    """A picture or an upload as the older store knew it.

    Parameters
    ----------
    id, kind, owner, made, state, document
        The same as in `Upload`; one that was being judged waits again.
    error
        Why it failed.
    parent
        The upload that a picture is of.
    sent, results
        Files as they were sent, and those that were made of them, by name.
    """

    id: str
    kind: Kind
    owner: str
    made: float
    state: State
    document: dict[str, Any]
    error: dict[str, str] | None
    parent: str | None
    sent: Mapping[str, Path]
    results: Mapping[str, Path]


def read_older(folder: Path) -> list[OlderUpload] | None:
    """Read an older store, uploads before their pictures; None where there is none.

    Raises
    ------
    OutputError
        It cannot be read.
    """
    path = folder / OLDER_INDEX
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=10.0)) as index:
            scans = index.execute(
                "SELECT id, owner, made, state, document FROM scans ORDER BY rowid"
            ).fetchall()
            pictures = index.execute(
                "SELECT id, owner, made, document FROM analyses ORDER BY rowid"
            ).fetchall()
    except sqlite3.Error as error:
        raise OutputError(
            f"The older store in {folder} cannot be taken over: {error}.",
            "Give --store another folder.",
        ) from error
    uploads = [_scan(folder, *row) for row in scans]
    parents = {
        picture: scan.id for scan in uploads for picture in scan.document["analyses"]
    }
    for picture, owner, made, text in pictures:
        file = folder / f"{picture}.npy"
        if file.exists():
            uploads.append(
                OlderUpload(
                    picture,
                    Kind.PICTURE,
                    owner,
                    made,
                    State.DONE,
                    json.loads(text),
                    None,
                    parents.get(picture),
                    {},
                    {"pictures": file},
                )
            )
    return uploads


def remove_older(folder: Path) -> None:
    """Remove an older store, but for its key."""
    for home in folder.glob(f"{_SCAN}*"):
        shutil.rmtree(home)
    for file in folder.glob("*.npy"):
        file.unlink()
    # The index last: without it nobody would look for the files again.
    for end in ("-wal", "-shm", ""):
        (folder / f"{OLDER_INDEX}{end}").unlink(missing_ok=True)


def _scan(
    folder: Path, scan_id: str, owner: str, made: float, state: str, text: str
) -> OlderUpload:
    home = folder / f"{_SCAN}{scan_id}"
    sent = _files(home / _SENT)
    document = json.loads(text)
    error = document.pop("error")
    now = State(state)
    if not now.is_over:
        # What was read already has been removed; only what waited can be judged.
        now = State.WAITING if sent else State.FAILED
        error = None if sent else _INTERRUPTED
    return OlderUpload(
        scan_id,
        Kind.SCAN,
        owner,
        made,
        now,
        document,
        error,
        None,
        sent,
        _files(home),
    )


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {item.name: item for item in sorted(folder.iterdir()) if item.is_file()}
