"""A bundle's graphs run by ONNX Runtime: which one answers, inputs in, outputs out."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tumorlens.errors import BundleError, SettingError
from tumorlens.inference.bundle.bundle import (
    MODEL_FILE,
    OOD_FILE,
    Bundle,
    InputKind,
    load_bundle,
)
from tumorlens.inference.bundle.facts import FLOAT32, Margins, Precision
from tumorlens.inference.slice.decision import RawOutputs
from tumorlens.inference.slice.ood import OodModel

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
    facts = {name.strip(): " ".join(value.split()) for name, _, value in pairs}
    known = {name: facts[name] for name in _PROCESSOR_LINES if name in facts}
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


OUTPUT_NAMES = ("logits", "evidence", "gradcam", "embedding")
SEQUENCE_OUTPUT = "sequence"
"""An output of networks that tell MR sequences apart."""

_RANKS = {
    "slices": {"logits": 2, "evidence": 4, "gradcam": 4, "embedding": 2},
    "volumes": {"logits": 2, "evidence": 5, "gradcam": 5, "embedding": 2},
}

_INPUTS: dict[InputKind, str] = {"slices": "slices", "volumes": "whole series"}
_HINTS: dict[InputKind, str] = {
    "slices": "Load it with load_classifier, or take a model of whole series here.",
    "volumes": "Use it with `tumorlens scan`, or take a model of slices here.",
}
"""What to do with a model of that input which was given in the wrong place."""


def available_cores() -> int:
    """Count the physical cores that this process may use.

    Two logical processors on one core (hyper-threading) count once: the
    network's arithmetic gains nothing from the second.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(
            f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        )
        try:
            cores.add(siblings.read_text().strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))


def _file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Tell states of a file apart; None where it is not there."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


class Session:
    """A loaded network; safe to use from several threads.

    A pass that has the processor for itself is shared among threads; passes that run
    side by side get one thread each, so that none waits for another's.

    Parameters
    ----------
    bundle
        Verified.
    threads
        Threads of one forward pass; by default one for each physical core
        that this process may use.
    side_by_side
        Whether most passes will run side by side.
    precision
        Arithmetic of the graph that answers: one of `graph.CHOICES`. The float32 graph
        is loaded in any case, as `float32`.

    Raises
    ------
    BundleError
        Where the network cannot be loaded, or has other inputs or outputs.
    SettingError
        Where `threads` is less than 1, or the bundle has no such graph.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int | None = None,
        side_by_side: bool = False,
        precision: str = FLOAT32,
    ) -> None:
        self.threads = available_cores() if threads is None else threads
        if self.threads < 1:
            raise SettingError(
                f"The number of threads is {threads}.", "Give 1 or more."
            )
        first = 1 if side_by_side else self.threads
        self.precision = choose_precision(bundle, precision, first)
        self._path = graph_file(bundle, self.precision)
        self._bundle = bundle
        # Loaded now: later its file may be another than the one that was verified.
        self._exact: Session | None = None
        if self.precision != FLOAT32:
            self._exact = Session(bundle, self.threads, side_by_side)
        self._ranks = dict(_RANKS[bundle.judges])
        self._findings = len(bundle.findings)
        self._sequences = 0
        if bundle.sequence_head is not None:
            self._sequences = len(bundle.sequence_head.sequences)
            self._ranks[SEQUENCE_OUTPUT] = 2
        self._lock = threading.Lock()
        self._running = 0
        self._sessions: dict[int, ort.InferenceSession] = {}
        self._stamp = _file_stamp(self._path)
        self._check(self._session(first))

    @property
    def margins(self) -> Margins | None:
        """How close to a border float32 has to judge again; None where it judges."""
        if self.precision == FLOAT32:
            return None
        return self._bundle.paths[self.precision].margins

    @property
    def float32(self) -> Session:
        """The float32 graph, which judges what is close to a border."""
        return self if self._exact is None else self._exact

    def _session(self, threads: int) -> ort.InferenceSession:
        """Load the network for so many threads a pass, unless it is loaded already."""
        if threads not in self._sessions:
            if self._sessions and _file_stamp(self._path) != self._stamp:
                # The file was replaced meanwhile: what was verified goes on serving.
                return next(iter(self._sessions.values()))
            self._sessions[threads] = load_graph(self._path, threads)
        return self._sessions[threads]

    @contextmanager
    def _pass(self, side_by_side: bool) -> Iterator[ort.InferenceSession]:
        with self._lock:
            is_alone = not side_by_side and self._running == 0
            session = self._session(self.threads if is_alone else 1)
            self._running += 1
        try:
            yield session
        finally:
            with self._lock:
                self._running -= 1

    def _check(self, session: ort.InferenceSession) -> None:
        inputs = [(item.name, item.type) for item in session.get_inputs()]
        if inputs != [(INPUT_NAME, "tensor(float)")]:
            raise BundleError(
                f"{self._path} takes {inputs}, not one float input {INPUT_NAME!r}."
            )
        ranks = {item.name: len(item.shape) for item in session.get_outputs()}
        if any(ranks.get(name) != rank for name, rank in self._ranks.items()):
            raise BundleError(
                f"{self._path} has the outputs {ranks} (name: dimensions), "
                f"not {self._ranks}."
            )

    def run(
        self, inputs: NDArray[np.float32], side_by_side: bool = False
    ) -> RawOutputs:
        """Run the network.

        Parameters
        ----------
        inputs
            Shape (N, size, size, 3), or (N, D, size, size, 1) for volumes;
            float32, in [0, 1].
        side_by_side
            Whether the caller runs other passes at the same time. It is seen anyway
            where one is under way.

        Returns
        -------
        RawOutputs
            N rows each.

        Raises
        ------
        BundleError
            Where the network fails, or its outputs have other shapes.
        """
        with self._pass(side_by_side) as session:
            try:
                values = session.run(list(self._ranks), {INPUT_NAME: inputs})
            except Exception as error:  # ONNX Runtime's own classes are not public.
                raise BundleError(
                    f"{self._path} fails on inputs of shape {inputs.shape}."
                ) from error
        logits, evidence, gradcam, embedding, *rest = values
        sequence = rest[0] if rest else None
        count, classes = len(inputs), self._findings
        if (
            logits.shape != (count, classes)
            or (evidence.shape[0], evidence.shape[-1]) != (count, classes)
            or evidence.shape[-3] != evidence.shape[-2]
            or (gradcam.shape[0], gradcam.shape[-1]) != (count, classes)
            or len(embedding) != count
            or (sequence is not None and sequence.shape != (count, self._sequences))
        ):
            shapes = {
                name: value.shape
                for name, value in zip(self._ranks, values, strict=True)
            }
            raise BundleError(f"{self._path} gives outputs of the shapes {shapes}.")
        return RawOutputs(logits, evidence, gradcam, embedding, sequence)


class LoadedModel(NamedTuple):
    """A verified bundle, and what of it is in memory.

    Parameters
    ----------
    bundle
        The model's facts.
    session
        The network.
    ood
        The model that tells brain MRI from everything else.
    """

    bundle: Bundle
    session: Session
    ood: OodModel


def load_model(
    folder: str | Path,
    threads: int | None = None,
    judges: InputKind | None = None,
    *,
    side_by_side: bool = False,
    precision: str = AUTO,
) -> LoadedModel:
    """Load a bundle, ready to run.

    Parameters
    ----------
    folder
        Folder of the bundle.
    threads
        Threads of one forward pass; by default one for each physical core.
    judges
        What it has to judge; None for either.
    side_by_side
        Whether most passes will run side by side, see `Session`; a network that sees
        volumes runs alone all the same.
    precision
        Arithmetic of the graph that answers: one of `graph.CHOICES`.

    Raises
    ------
    BundleError
        Where the bundle is missing, foreign or damaged, or judges another kind
        of input.
    SettingError
        Where `threads` is less than 1, or the bundle has no such graph.
    """
    bundle = load_bundle(Path(folder))
    if judges not in (None, bundle.judges):
        raise BundleError(
            f"The model in {bundle.folder} judges {_INPUTS[bundle.judges]}, "
            f"not {_INPUTS[judges]}.",
            _HINTS[bundle.judges],
        )
    ood = OodModel.load(bundle.folder / OOD_FILE)
    side_by_side = side_by_side and bundle.judges == "slices"
    session = Session(bundle, threads, side_by_side, precision)
    return LoadedModel(bundle, session, ood)
