"""Drawn hospitals for federations: few people each, in three splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.samples.heads import TINY, draw_people
from tumorlens.data.manifest import write_manifest
from tumorlens.scale.federation.deployment import site_facts
from tumorlens.scale.federation.plan import FederationPlan

TINY_TRAINING = replace(TINY, epochs=2, size=32)
TINY_PLAN = FederationPlan(training=TINY_TRAINING, min_cell=1, round_timeout=120.0)
_SPLITS = ("train", "train", "validation", "test")


def draw_site(folder: Path, name: str, people: int = 16) -> Path:
    """Draw a hospital's people, and return its manifest.

    People of two hospitals look alike, yet are others.
    """
    home = folder / name
    home.mkdir(parents=True)
    rows = [
        replace(
            row,
            patient=f"{name}-{row.patient}",
            split=_SPLITS[number // 4 % 4],
            source=name,
        )
        for number, row in enumerate(draw_people(home, people))
    ]
    write_manifest(rows, home / "manifest.csv")
    return home / "manifest.csv"


def told_sites(folder: Path, manifests: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Say what each site is told of itself in a simulation."""
    return {
        name: site_facts(name, path, folder / "sites" / name)
        for name, path in manifests.items()
    }
