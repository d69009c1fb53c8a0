"""A bundle in memory, and its network run by ONNX Runtime: inputs in, outputs out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tumorlens.errors import BundleError, SettingError
from tumorlens.inference.bundle.bundle import (
    OOD_FILE,
    Bundle,
    InputKind,
    load_bundle,
)
from tumorlens.inference.bundle.facts import FLOAT32, Margins
from tumorlens.inference.slice.decision import RawOutputs
from tumorlens.inference.slice.graph import (
    AUTO,
    INPUT_NAME,
    choose_precision,
    graph_file,
    load_graph,
)
from tumorlens.inference.slice.ood import OodModel

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
