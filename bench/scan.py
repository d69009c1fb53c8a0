"""The command ``tumorlens scan``: time, memory, and both by the number of slices."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.bare import BATCH
from bench.batch import bare_rate
from bench.figures import Amount, Asked, Figure, times
from bench.processes import Run, run, tumorlens
from bench.timing import spread
from bench.volumes import SIZE, write_volume

SLICES = 160
HALF, TWICE = SLICES // 2, SLICES * 2
BESIDE_BARE = 1.5
PEAK_MB = 600.0
LINEAR = 1.05
"""So many times a slice of a short series may one of a long series cost."""


def measure(model: Path, rounds: int = 5) -> Iterator[Figure | str]:
    """Scan drawn volumes of three lengths by turns, beside the bare forward pass."""
    counts = (HALF, SLICES, TWICE)
    runs: dict[int, list[Run]] = {count: [] for count in counts}
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        volumes = {
            count: write_volume(folder / f"{count}.nii.gz", count) for count in counts
        }
        scan(model, volumes[HALF], folder)  # Its code is read from the disk once.
        for _ in range(rounds):
            bare.append(SLICES / bare_rate(model, SLICES))
            for count in counts:
                runs[count].append(scan(model, volumes[count], folder))
    seconds = {
        count: spread([item.seconds for item in found], "s")
        for count, found in runs.items()
    }
    memory = {
        count: spread([item.peak_mb for item in found], "MB")
        for count, found in runs.items()
    }
    yield times(
        f"scan, {SLICES} slices {SIZE}x{SIZE}: NIfTI in, JSON and evidence out, "
        "start included",
        seconds[SLICES],
        f"bare forward of {SLICES}, batch {BATCH}",
        spread(bare, "s"),
        "times as long",
        Asked("ratio", BESIDE_BARE),
    )
    yield times(
        f"scan, peak memory at {SLICES} slices",
        memory[SLICES],
        f"at {HALF} slices",
        memory[HALF],
        "times as much",
        Asked("ours", PEAK_MB),
    )
    times_of = {count: found.value for count, found in seconds.items()}
    later = (times_of[TWICE] - times_of[SLICES]) / (TWICE - SLICES)
    sooner = (times_of[SLICES] - times_of[HALF]) / (SLICES - HALF)
    yield times(
        f"scan, each slice from {SLICES} to {TWICE}",
        Amount(1000.0 * later, "ms"),
        f"each from {HALF} to {SLICES}",
        Amount(1000.0 * sooner, "ms"),
        "times as long",
        Asked("ratio", LINEAR),
    )


def scan(model: Path, volume: Path, folder: Path) -> Run:
    """Judge a volume as people do.

    Raises
    ------
    RuntimeError
        Where a slice was passed over, so that the time would say too little.
    """
    report = folder / "scan.json"
    evidence = folder / "evidence.nii.gz"
    done = run(
        [
            tumorlens(),
            "scan",
            volume,
            "--model",
            model,
            "--json",
            report,
            "--evidence",
            evidence,
        ]
    )
    (found,) = json.loads(report.read_text(encoding="utf-8"))
    if found["without_brain"]:
        raise RuntimeError(f"{found['without_brain']} drawn slices show no brain.")
    return done
