"""Whether the files of a bundle are those that were exported."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tumorlens.errors import BundleError
from tumorlens.inference.bundle.json_file import FACTS_FILE


def check_digests(
    folder: Path, files: Mapping[str, str], required: Sequence[str]
) -> None:
    """Check every file of a bundle against its digest.

    Parameters
    ----------
    folder
        Of the bundle.
    files
        SHA-256 in hexadecimal, by file name.
    required
        Names that must be among them.

    Raises
    ------
    BundleError
        Where a file is not listed, lies outside the bundle, cannot be read or is
        another one.
    """
    facts = folder / FACTS_FILE
    for name in required:
        if name not in files:
            raise BundleError(f"{facts} lists no {name}.")
    for name, digest in files.items():
        # A name with a folder in it could reach files outside the bundle.
        if name in {"", ".", ".."} or "/" in name or "\\" in name or "\0" in name:
            raise BundleError(
                f"{facts} lists {name!r}, which lies outside the bundle.",
                "Do not use this bundle; get it from where you trust.",
            )
        if sha256_of(folder / name) != digest:
            raise BundleError(
                f"{folder / name} is not the file that was exported "
                "(its SHA-256 differs)."
            )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a bundle's file, in hexadecimal.

    Raises
    ------
    BundleError
        Where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
