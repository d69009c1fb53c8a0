"""What is put into a bundle after it was made; its network stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tumorlens.inference.bundle.bundle import Bundle, load_bundle
from tumorlens.inference.bundle.digests import sha256_of
from tumorlens.inference.bundle.json_file import read_document, write_document
from tumorlens.inference.bundle.series_model import ScanModel

_RATES = {"sensitivity", "specificity"}
"""A pair: of one set they are set side by side, of two they would be mixed."""


def record_metrics(folder: Path, name: str, figures: Mapping[str, Any]) -> Bundle:
    """Put measured figures into a bundle, under a name; the model stays as it is.

    Where the figures are held out, and of both kinds of slices, the operating
    points' rates become the measured ones: those that a bundle is made with come
    from the patients on whom the thresholds were chosen, and flatter it.

    Parameters
    ----------
    folder
        Of the bundle.
    name
        What the figures were measured on, for example ``test``.
    figures
        Plain JSON; `operating_points` holds the rates by point, `held_out`
        whether no patient among them shaped the model.

    Raises
    ------
    BundleError
        Where the bundle does not verify, or a figure is no plain JSON.
    """
    load_bundle(folder)
    document = read_document(folder)
    document["metrics"] = {**document["metrics"], name: dict(figures)}
    for point, rates in figures.get("operating_points", {}).items():
        if figures.get("held_out") and set(rates) >= _RATES:
            document["operating_points"][point] |= rates
    write_document(folder, document)
    return load_bundle(folder)


def record_scans(folder: Path, scans: ScanModel) -> Bundle:
    """Put into a bundle how it judges whole scans; the model stays as it is.

    Parameters
    ----------
    folder
        Of the bundle.
    scans
        Fitted on scans of patients that networks trained alike had never seen.

    Raises
    ------
    BundleError
        Where the bundle does not verify, or the facts do not fit it.
    """
    load_bundle(folder)
    write_document(folder, {**read_document(folder), "scans": scans.to_json()})
    return load_bundle(folder)


def attach_file(folder: Path, name: str, content: bytes) -> Bundle:
    """Put a file into a bundle, or replace it there; the rest stays as it is.

    Parameters
    ----------
    folder
        Of the bundle.
    name, content
        Of the file.

    Raises
    ------
    BundleError
        Where the bundle does not verify.
    OSError
        Where it cannot be written.
    """
    load_bundle(folder)
    document = read_document(folder)
    part = folder / f"{name}.part"
    part.write_bytes(content)
    part.replace(folder / name)
    document["files"] = {**document["files"], name: sha256_of(folder / name)}
    write_document(folder, document)
    return load_bundle(folder)
