"""The file `bundle.json`: written whole, read within a limit, checked for change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tumorlens.errors import BundleError

FORMAT_NAME = "tumorlens-bundle"
FORMAT_VERSION = 1
FACTS_FILE = "bundle.json"

_MAX_FACTS_BYTES = 4 * 2**20
"""A bundle.json is half a megabyte, most of it the codes of its training pictures;
a much larger one is not ours."""


def write_document(folder: Path, document: dict[str, Any]) -> None:
    """Write a bundle's facts with their digest; whole or not at all.

    Parameters
    ----------
    folder
        Of the bundle.
    document
        Plain JSON; an old digest in it is replaced.

    Raises
    ------
    BundleError
        Where a fact is no plain JSON.
    """
    document = {key: value for key, value in document.items() if key != "digest"}
    try:
        document["digest"] = digest_of(document)
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"The facts of bundle {document['name']!r} are not plain JSON: {error}.",
            "Give numbers, text, lists and objects; no NaN and no arrays.",
        ) from error
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    part = folder / f"{FACTS_FILE}.part"
    part.write_text(text, encoding="utf-8")
    part.replace(folder / FACTS_FILE)


def read_document(folder: Path) -> dict[str, Any]:
    """Read a bundle's facts, unchecked.

    Parameters
    ----------
    folder
        Of the bundle.

    Raises
    ------
    BundleError
        Where there are none, or they are no JSON object of a fitting size.
    """
    path = folder / FACTS_FILE
    if not folder.is_dir():
        raise BundleError(
            f"There is no model bundle at {folder}.",
            "Give the folder of a bundle, or install TumorLens again.",
        )
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FACTS_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read: {error.strerror}.",
            "Give a folder that 'tumorlens export' has written.",
        ) from error
    if len(data) > _MAX_FACTS_BYTES:
        raise BundleError(f"{path} is larger than any bundle's facts.")
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON; it may be cut off.") from error
    if not isinstance(document, dict):
        raise BundleError(f"{path} holds no JSON object.")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def check_format(document: Mapping[str, Any], path: Path) -> None:
    """Check that facts are of this format and unchanged since they were written.

    Parameters
    ----------
    document
        From `read_document`.
    path
        Where it was read, for the message.

    Raises
    ------
    BundleError
        Where they are foreign, of another version, or changed.
    """
    stated = document.get("format")
    name, _, version = str(stated).partition("/")
    if name != FORMAT_NAME or not version.isdecimal():
        raise BundleError(
            f"{path} is not a TumorLens bundle (its format is {stated!r}).",
            "Give a folder that 'tumorlens export' has written.",
        )
    if int(version) != FORMAT_VERSION:
        raise BundleError(
            f"{path} is of bundle format {version}; "
            f"this TumorLens reads format {FORMAT_VERSION}.",
            "Upgrade TumorLens."
            if int(version) > FORMAT_VERSION
            else "Export the bundle again with this version.",
        )
    rest = {key: value for key, value in document.items() if key != "digest"}
    if document.get("digest") != digest_of(rest):
        raise BundleError(f"{path} was changed after it was exported.")


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain JSON, whatever the order of its keys.

    Raises
    ------
    TypeError, ValueError
        Where it is no plain JSON.
    """
    canonical = json.dumps(
        document, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()
