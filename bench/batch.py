"""The command ``tumorlens predict``: many files, memory, and a cold start."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.bare import BATCH, bare_forward
from bench.figures import Amount, Asked, Figure, times
from bench.keras_side import why_not
from bench.pictures import write_heads
from bench.processes import run, tumorlens
from bench.timing import spread
from tumorlens.inference.bundle.bundle import load_bundle
from tumorlens.inference.slice.session import available_cores

PEAK_MB = 300.0
MANY_PEAK_MB = 180.0
COLD_SECONDS = 0.3
GOING = 0.9
WITH_MAPS = 0.6
FLAT = 1.1
"""Memory at many files may be so many times that at few, to be called flat."""


def measure(
    model: Path, many: int = 500, few: int = 100, starts: int = 7
) -> Iterator[Figure | str]:
    """Measure the command on many files, then its cold start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from many_files(model, folder, many, few)
        yield from cold_start(model, folder, starts)


def many_files(model: Path, folder: Path, many: int, few: int) -> Iterator[Figure]:
    """Run it on few and on many files, beside the bare forward pass."""
    write_heads(folder / "few", few)
    write_heads(folder / "many", many)
    command: list[str | Path] = [
        tumorlens(),
        "predict",
        "--model",
        model,
        "--csv",
        folder / "out.csv",
    ]
    rates = [bare_rate(model, few)]
    at_few = run([*command, folder / "few"])
    rates.append(bare_rate(model, few))
    at_many = run([*command, folder / "many"])
    rates.append(bare_rate(model, few))
    with_maps = run([*command, "--maps", folder / "maps", folder / "few"])

    bare = spread(rates, "images/s")
    beside = f"bare forward, batch {BATCH}"
    going = Amount((many - few) / (at_many.seconds - at_few.seconds), "images/s")
    whole = Amount(many / at_many.seconds, "images/s")
    drawn = Amount(few / with_maps.seconds, "images/s")
    yield times(
        f"predict, file {few} to {many}",
        going,
        beside,
        bare,
        "times as fast",
        Asked("ratio", GOING, at_least=True),
    )
    yield times(
        f"predict, {many} files, start included", whole, beside, bare, "times as fast"
    )
    yield times(
        f"predict --maps, {few} files, start included",
        drawn,
        "without maps",
        Amount(few / at_few.seconds, "images/s"),
        "times as fast",
        Asked("ratio", WITH_MAPS, at_least=True),
    )
    yield Figure(
        f"predict, peak memory of {many} files",
        Amount(at_many.peak_mb, "MB"),
        asked=Asked("ours", MANY_PEAK_MB),
    )
    yield times(
        f"predict, peak memory at {many} files",
        Amount(at_many.peak_mb, "MB"),
        f"at {few} files",
        Amount(at_few.peak_mb, "MB"),
        "times as much",
        Asked("ratio", FLAT),
    )


def bare_rate(model: Path, count: int) -> float:
    """Images per second of the bare network, in batches as `predict` makes them."""
    size = load_bundle(model).preprocessing.size
    bare = bare_forward(model, available_cores())
    rng = np.random.default_rng(0)
    ready = rng.random((BATCH, size, size, 3), np.float32)
    bare(ready)
    passes = max(1, count // BATCH)
    start = time.perf_counter()
    for _ in range(passes):
        bare(ready)
    return passes * BATCH / (time.perf_counter() - start)


def cold_start(model: Path, folder: Path, starts: int) -> Iterator[Figure | str]:
    """Judge one picture in a new process, beside Keras in a new process."""
    picture = write_heads(folder / "one", 2)[1]
    ours: list[str | Path] = [tumorlens(), "predict", picture, "--model", model]
    keras: list[str | Path] = [sys.executable, "-m", "bench.keras_side", model, picture]
    reason = why_not(model)
    run(ours)  # Files that are read for the first time come from the disk.
    cold, other = [], []
    for _ in range(starts):
        cold.append(run(ours))
        if reason is None:
            other.append(run(keras))
    wall = spread([item.seconds for item in cold], "s")
    memory = spread([item.peak_mb for item in cold], "MB")
    start_name, memory_name = "predict one.jpg, cold start", "predict one.jpg, peak"
    asked = Asked("ours", COLD_SECONDS), Asked("ours", PEAK_MB)
    if reason is not None:
        yield reason
        yield Figure(start_name, wall, asked=asked[0])
        yield Figure(memory_name, memory, asked=asked[1])
        return
    keras_wall = spread([item.seconds for item in other], "s")
    keras_memory = spread([item.peak_mb for item in other], "MB")
    yield times(
        start_name, wall, "Keras predict", keras_wall, "times as fast", asked[0]
    )
    yield times(
        memory_name, memory, "Keras predict", keras_memory, "times as much", asked[1]
    )
