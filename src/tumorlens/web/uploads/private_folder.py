"""The store's private folder: closed to others, with its index and its key."""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
from pathlib import Path

from tumorlens.errors import OutputError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS analyses (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, made REAL NOT NULL,
    size INTEGER NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS scans (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, made REAL NOT NULL,
    size INTEGER NOT NULL, state TEXT NOT NULL, document TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS scans_by_owner ON scans (owner, made);
CREATE INDEX IF NOT EXISTS by_owner ON analyses (owner, made);
CREATE INDEX IF NOT EXISTS by_age ON analyses (made, size);
"""
INDEX = "index.sqlite"
_KEY_BYTES = 32


def private_folder(folder: Path | None) -> Path:
    """Make a folder that nobody else may enter; a temporary one for None.

    Raises
    ------
    OutputError
        Where the folder holds other things: nobody's folder is closed by mistake.
    """
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="tumorlens-"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(folder.iterdir()) and not (folder / INDEX).exists():
        raise OutputError(
            f"The store {folder} holds files that are not TumorLens's.",
            "Give --store a new or an empty folder.",
        )
    folder.chmod(0o700)
    return folder


def open_index(path: Path) -> sqlite3.Connection:
    """Open the index of analyses, and make it where it is missing."""
    index = sqlite3.connect(path, timeout=10.0, check_same_thread=False)
    # Losing the last second at a power cut is no harm; waiting for the disk is.
    index.execute("PRAGMA journal_mode = WAL")
    index.execute("PRAGMA synchronous = NORMAL")
    index.execute("PRAGMA secure_delete = ON")
    index.executescript(_SCHEMA)
    return index


def signing_key(path: Path) -> bytes:
    """Read the key that signs cookies, and make it where it is missing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) == _KEY_BYTES:
            return key
        path.unlink()
        return signing_key(path)
    with os.fdopen(descriptor, "wb") as file:
        key = secrets.token_bytes(_KEY_BYTES)
        file.write(key)
    return key
