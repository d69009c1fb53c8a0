"""A bundle's folder becomes a model in memory: facts, network, domain model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tumorlens.errors import BundleError
from tumorlens.inference.bundle.bundle import DOMAIN_FILE, Bundle, Judges, load_bundle
from tumorlens.inference.slice.ood import DomainModel
from tumorlens.inference.slice.session import Session

_INPUT: dict[Judges, str] = {"slices": "slices", "volumes": "whole scans"}
_MEND: dict[Judges, str] = {
    "slices": "Load it with load_classifier, or take a model of whole scans here.",
    "volumes": "Use it with `tumorlens scan`, or take a model of slices here.",
}
"""By what a model judges: what to do with one that was given in the wrong place."""


class LoadedModel(NamedTuple):
    """A verified bundle, and what of it is in memory.

    Parameters
    ----------
    bundle
        The model's facts.
    session
        Its network.
    domain
        What it knows of brain MRI.
    """

    bundle: Bundle
    session: Session
    domain: DomainModel


def load_model(
    folder: str | Path, threads: int | None = None, judges: Judges | None = None
) -> LoadedModel:
    """Load a bundle, ready to run.

    Parameters
    ----------
    folder
        Of the bundle.
    threads
        Threads of one forward pass; by default one for each physical core.
    judges
        What it has to judge; None for either.

    Raises
    ------
    BundleError
        Where the bundle is missing, foreign or damaged, or judges another kind
        of input.
    SettingError
        Where `threads` is less than 1.
    """
    bundle = load_bundle(Path(folder))
    if judges not in (None, bundle.judges):
        raise BundleError(
            f"The model in {bundle.folder} judges {_INPUT[bundle.judges]}, "
            f"not {_INPUT[judges]}.",
            _MEND[bundle.judges],
        )
    domain = DomainModel.load(bundle.folder / DOMAIN_FILE)
    return LoadedModel(bundle, Session(bundle, threads), domain)
