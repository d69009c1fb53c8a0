"""A bundle's graphs: how ONNX Runtime loads one, and which of them answers here."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import onnxruntime as ort

from tumorlens.errors import BundleError, SettingError
from tumorlens.inference.bundle.bundle import MODEL_FILE, Bundle
from tumorlens.inference.bundle.facts import FLOAT32, Precision

INPUT_NAME = "pixels"

AUTO = "auto"
"""Whichever graph is faster on this machine, as was measured here."""
CHOICES = (AUTO, *get_args(Precision))

_ERRORS_ONLY = 3
_WARM_UP = 3
_TURNS = 15
_FEWEST_TURNS = 5
_SECONDS = 2.0
"""A slow machine stops turning after as many, but not before the fewest turns."""
_CLEARLY_FASTER = 0.95
"""A graph has to take less than this share of the time that float32 takes: where both
are alike, float32 answers."""
_PROCESSOR_LINES = ("vendor_id", "model name", "cpu family", "model", "flags")
"""Lines of /proc/cpuinfo; the flags list what a virtual machine's processor can do."""


def load_graph(path: Path, threads: int) -> ort.InferenceSession:
    """Load a graph for so many threads a pass.

    Raises
    ------
    BundleError
        It is no network that ONNX Runtime can load.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _ERRORS_ONLY
    # Threads that still spin after a pass would take the time in which the
    # next picture is decoded; within a pass spinning is faster than sleeping.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return ort.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's own classes are not public.
        raise BundleError(
            f"{path} is no network that ONNX Runtime can load."
        ) from error


def fold_graph(source: Path, target: Path) -> None:
    """Have ONNX Runtime fold what is constant; only standard operators come out."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = _ERRORS_ONLY
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def graph_file(bundle: Bundle, precision: Precision) -> Path:
    """Name the file of one of a bundle's graphs."""
    name = MODEL_FILE if precision == FLOAT32 else bundle.paths[precision].file
    return bundle.folder / name


def choose_precision(bundle: Bundle, wanted: str, threads: int) -> Precision:
    """Say which of a bundle's graphs answers.

    For ``auto`` the graphs are timed by turns where the bundle has several, once for
    these files, this processor, this release of ONNX Runtime and this number of
    threads; the choice is remembered in the user's cache folder.

    Parameters
    ----------
    bundle
        Verified.
    wanted
        One of `CHOICES`.
    threads
        Threads of one forward pass.

    Raises
    ------
    BundleError
        A graph cannot be loaded, or fails.
    SettingError
        There is no such choice, or the bundle has no such graph.
    """
    if wanted not in CHOICES:
        raise SettingError(
            f"There is no precision {wanted!r}.", f"Give one of: {', '.join(CHOICES)}."
        )
    if wanted == AUTO:
        return _fastest(bundle, threads) if bundle.paths else FLOAT32
    chosen = cast(Precision, wanted)
    if chosen != FLOAT32 and chosen not in bundle.paths:
        raise SettingError(
            f"The model in {bundle.folder} has no graph in {wanted}.",
            "Make one with `tumorlens quantise`, or leave the precision to 'auto'.",
        )
    return chosen


def _fastest(bundle: Bundle, threads: int) -> Precision:
    names: tuple[Precision, ...] = (FLOAT32, *bundle.paths)
    files = {name: bundle.files[graph_file(bundle, name).name] for name in names}
    facts = {
        "files": files,
        "processor": processor_facts(),
        "onnxruntime": ort.__version__,
        "threads": threads,
    }
    known = _remembered(facts, names)
    if known is not None:
        return known
    paths = [graph_file(bundle, name) for name in names]
    medians = dict(
        zip(names, time_graphs(paths, threads, bundle.preprocessing.size), strict=True)
    )
    for name, path in bundle.paths.items():
        # Slices that are close to a border pass through both.
        medians[name] += path.judged_again * medians[FLOAT32]
    chosen = clearly_fastest(medians)
    _remember(facts, chosen, medians)
    return chosen


def clearly_fastest(medians: Mapping[Precision, float]) -> Precision:
    """Choose by median times; float32 unless another is clearly faster."""
    best = min(medians, key=lambda name: medians[name])
    is_clear = medians[best] < _CLEARLY_FASTER * medians[FLOAT32]
    return best if is_clear else FLOAT32


def time_graphs(paths: Sequence[Path], threads: int, size: int) -> list[float]:
    """Time a pass of one slice through each graph, by turns.

    Parameters
    ----------
    paths
        Files of the graphs.
    threads
        Threads of one forward pass.
    size
        Edge of the input.

    Returns
    -------
    list of float
        Medians in ms.

    Raises
    ------
    BundleError
        A graph cannot be loaded, or fails.
    """
    rng = np.random.default_rng(0)
    inputs = {INPUT_NAME: rng.random((1, size, size, 3), np.float32)}
    graphs = [load_graph(path, threads) for path in paths]
    times: list[list[float]] = [[] for _ in graphs]
    begin = time.perf_counter()
    for turn in range(_WARM_UP + _TURNS):
        for path, graph, own in zip(paths, graphs, times, strict=True):
            start = time.perf_counter()
            try:
                graph.run(None, inputs)
            except Exception as error:  # ONNX Runtime's own classes are not public.
                raise BundleError(f"{path} fails on a slice.") from error
            own.append(1000.0 * (time.perf_counter() - start))
        is_late = time.perf_counter() - begin > _SECONDS
        if is_late and turn + 1 >= _WARM_UP + _FEWEST_TURNS:
            break
    return [float(np.median(own[_WARM_UP:])) for own in times]


def processor_facts() -> dict[str, str]:
    """Say what processor this is, and what it can do, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {"machine": platform.machine(), "processor": platform.processor()}
    # Every processor is listed; the first speaks for all.
    first = lines[: lines.index("")] if "" in lines else lines
    pairs = (line.partition(":") for line in first)
    found = {name.strip(): " ".join(value.split()) for name, _, value in pairs}
    known = {name: found[name] for name in _PROCESSOR_LINES if name in found}
    return {"machine": platform.machine(), **known}


def cache_folder() -> Path | None:
    """Name the folder in which the user's programs keep what can be made again.

    Returns
    -------
    Path or None
        It need not be there; None where the user has no home.
    """
    if stated := os.environ.get("XDG_CACHE_HOME"):
        return Path(stated) / "tumorlens"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "tumorlens" / "cache"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    caches = (
        home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    )
    return caches / "tumorlens"


def _place(facts: Mapping[str, Any]) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return folder / "precision" / f"{digest[:32]}.json"


def _remembered(
    facts: Mapping[str, Any], names: Sequence[Precision]
) -> Precision | None:
    """Read what was chosen for the same facts; None where nothing usable is there."""
    place = _place(facts)
    if place is None:
        return None
    try:
        chosen = json.loads(place.read_text(encoding="utf-8"))["chosen"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return next((name for name in names if name == chosen), None)


def _remember(
    facts: Mapping[str, Any], chosen: Precision, medians: Mapping[Precision, float]
) -> None:
    """Write what was chosen; without a place to write, the next start times anew."""
    place = _place(facts)
    if place is None:
        return
    text = json.dumps({**facts, "chosen": chosen, "ms": dict(medians)}, indent=2)
    # Processes that start together write the same file.
    part = place.with_suffix(f".{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(place)
    except OSError:
        return
