"""One hospital's side of a federation: it trains and counts; only weights leave.

A round takes the steps of `tumorlens.training.fit` that the run is at, on the batches
that the site's own slices give by seed and step.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record, read_manifest
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.evaluation.scored_slices import ScoredSlices
from tumorlens.scale.federation.plan import BatchNorm, FederationPlan
from tumorlens.scale.federation.privacy import Budget, private_steps
from tumorlens.scale.federation.site_counts import site_counts
from tumorlens.taxonomy import CLASSES, NO_TUMOR_INDEX, Finding, TumorClass
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import Sample, load_samples
from tumorlens.training.fit import (
    build_first,
    compile_model,
    train_step,
    training_stream,
)
from tumorlens.training.held_out import infer
from tumorlens.training.networks.registry import find_network

Arrays = dict[str, NDArray[np.float32]]
"""Weights that are shared, by layer and name."""

COPIES = "copies.json"
FINAL_WEIGHTS = "final.weights.h5"
_LOCAL = "local.npz"


def first_model(
    training: TrainingConfig, batch_norm: BatchNorm, weights: Path | None = None
) -> keras.Model:
    """Build the network of a federation, with its first weights.

    Parameters
    ----------
    training
        Choices of the training.
    batch_norm
        The same as in `FederationPlan`.
    weights
        Keras weights to start from; None for the network's own.
    """
    if find_network(training.network).judges != "slices":
        raise TrainingError(
            f"{training.network} judges whole scans.",
            "Federate a network of slices, such as evidence-net.",
        )
    model = build_first(training, weights)
    if batch_norm == "frozen":
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    return model


def _by_layer(model: keras.Model) -> list[tuple[str, keras.layers.Layer, Any]]:
    return [
        (f"{layer.name}/{variable.name}", layer, variable)
        for layer in model.layers
        for variable in layer.weights
    ]


def _is_local(layer: keras.layers.Layer, batch_norm: BatchNorm) -> bool:
    is_norm = isinstance(layer, keras.layers.BatchNormalization)
    return batch_norm == "local" and is_norm and layer.trainable


def shared_arrays(model: keras.Model, batch_norm: BatchNorm) -> Arrays:
    """Take the weights that are sent: neither frozen ones nor local ones."""
    return {
        name: np.asarray(keras.ops.convert_to_numpy(variable.value), np.float32)
        for name, layer, variable in _by_layer(model)
        if layer.trainable and not _is_local(layer, batch_norm)
    }


def frozen_digest(model: keras.Model) -> str:
    """Sum up the weights that are never sent, which have to be the same everywhere."""
    digest = hashlib.sha256()
    for name, layer, variable in _by_layer(model):
        if not layer.trainable:
            digest.update(name.encode())
            digest.update(
                np.ascontiguousarray(keras.ops.convert_to_numpy(variable.value)).data
            )
    return digest.hexdigest()


def check_first_weights(plan: FederationPlan, weights: Path) -> None:
    """Refuse first weights that sites cannot start from.

    Raises
    ------
    TrainingError
        What is never sent has other values there than sites build it with.
    """
    given, built = (
        frozen_digest(first_model(plan.training, plan.batch_norm, path))
        for path in (weights, None)
    )
    if given != built:
        raise TrainingError(
            f"{weights} has other values in layers that are never sent: no site could "
            "start from it.",
            "Leave --weights out; with --batch-norm frozen (and so with --dp-epsilon) "
            "normalisation is among these layers.",
        )


def put_arrays(model: keras.Model, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Put weights in place.

    Raises
    ------
    TrainingError
        They are of another network.
    """
    places = {name: variable for name, _, variable in _by_layer(model)}
    wrong = [
        name
        for name, values in arrays.items()
        if name not in places or tuple(places[name].shape) != values.shape
    ]
    if wrong:
        raise TrainingError(
            f"The weights are of another network: {wrong[0]} does not fit "
            f"{model.name}.",
            "Run the same version of TumorLens at the server and at every site.",
        )
    for name, values in arrays.items():
        places[name].assign(values)


class _Pull(keras.regularizers.Regularizer):
    """FedProx's term: squared distance from the weights that the server sent."""

    def __init__(self, variable: keras.Variable, weight: float) -> None:
        self._variable = variable
        self._weight = weight
        values = keras.ops.convert_to_numpy(variable.value)
        self._start = keras.Variable(values, trainable=False)

    def start(self) -> None:
        """Pull towards where the variable is now."""
        self._start.assign(self._variable.value)

    def __call__(self, x: Any) -> Any:  # noqa: ANN401 - a tensor of the backend
        distance = keras.ops.sum(keras.ops.square(x - self._start))
        return 0.5 * self._weight * distance


class _Network:
    """A network of a plan, compiled once and started anew in each round.

    Tracing its graph takes far longer than a round's first steps.
    """

    def __init__(self, plan: FederationPlan) -> None:
        training = plan.training
        self._batch_norm = plan.batch_norm
        self.model = first_model(training, plan.batch_norm)
        self._first_step = keras.Variable(0, dtype="int64", trainable=False)
        self._pulls = []
        if plan.strategy == "fedprox":
            for variable in self.model.trainable_variables:
                variable.regularizer = _Pull(variable, plan.proximal)
                self._pulls.append(variable.regularizer)
        self._present = keras.Variable(
            np.ones(len(find_network(training.network).findings), np.float32),
            trainable=False,
        )
        compile_model(self.model, training, self._first_step, self._present)
        self.model.optimizer.build(self.model.trainable_variables)
        self._seeds = [
            (layer.seed_generator.state, np.asarray(layer.seed_generator.state.value))
            for layer in self.model.layers
            if isinstance(layer, keras.layers.Dropout)
        ]
        self._local = self.local_arrays()

    def local_arrays(self) -> dict[str, Any]:
        """Take the weights that never leave a site."""
        return {
            name: np.asarray(keras.ops.convert_to_numpy(variable.value))
            for name, layer, variable in _by_layer(self.model)
            if _is_local(layer, self._batch_norm)
        }

    def put(self, arrays: Mapping[str, NDArray[np.float32]], local: Path) -> None:
        """Put the server's weights in place, and the site's own."""
        put_arrays(self.model, arrays)
        put_arrays(self.model, self._local)
        if self._local and local.exists():
            with np.load(local, allow_pickle=False) as stored:
                put_arrays(self.model, {name: stored[name] for name in stored.files})

    def start(
        self, round_number: int, first_step: int, present: NDArray[np.float32]
    ) -> None:
        """Forget what the optimizer remembers, and draw dropout anew.

        Parameters
        ----------
        round_number, first_step
            Number of the round, and the step of the run that it starts at.
        present
            Shape (F,): 1 for each finding that the softmax of the site's loss holds.
        """
        self._present.assign(present)
        for variable in self.model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable.value))
        self._first_step.assign(first_step)
        for pull in self._pulls:
            pull.start()
        for state, seed in self._seeds:
            later = seed.copy()
            later[1] += (round_number - 1) * 100_003
            state.assign(later)


@lru_cache(maxsize=4)
def _network(plan: FederationPlan) -> _Network:
    return _Network(plan)


@dataclass(frozen=True)
class SiteUpdate:
    """What a site sends after a round.

    Parameters
    ----------
    arrays
        Its weights.
    weight
        How much it counts in the mean; see `weight_of`.
    patients, slices
        Numbers that it trains on.
    loss
        Mean over the round's steps; None where it would say something of a patient.
    seconds
        Time the round took.
    epsilon
        What was spent of the privacy budget so far; None without.
    counts
        How the weights that the round started from fare on the site's validation
        patients; None where it has too few.
    """

    arrays: Arrays
    weight: float
    patients: int
    slices: int
    loss: float | None
    seconds: float
    epsilon: float | None
    counts: dict[str, Any] | None


class Site:
    """A hospital with its own slices.

    Parameters
    ----------
    name
        Name of the site.
    manifest
        CSV or folder; its split ``train`` teaches, the others are counted.
    folder
        Folder of the site: what stays here between rounds.
    max_epsilon
        The site's own limit: plans that promise less privacy are refused.
    say
        Receives lines of progress.
    """

    def __init__(
        self,
        name: str,
        manifest: Path,
        folder: Path,
        max_epsilon: float | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.name = name
        self.folder = folder
        self.max_epsilon = max_epsilon
        self._say = say
        self._records = [row for row in read_manifest(manifest) if not row.flag]
        self._samples: dict[tuple[str, ...], list[Sample]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def records(self, split: str) -> list[Record]:
        """List the rows of a split, without copies that another site keeps."""
        left_out = set(self._left_out())
        return [
            row
            for place, row in enumerate(self._records)
            if row.split == split and place not in left_out
        ]

    def audited(self) -> list[Record]:
        """List all rows, in the order in which `leave_out` counts them."""
        return list(self._records)

    def leave_out(self, rows: Sequence[int]) -> None:
        """Keep on disk which rows are copies of another site's."""
        text = json.dumps(sorted(set(rows)))
        (self.folder / COPIES).write_text(text + "\n", encoding="utf-8")
        self._samples.clear()

    def _left_out(self) -> list[int]:
        path = self.folder / COPIES
        if not path.exists():
            return []
        return [int(row) for row in json.loads(path.read_text(encoding="utf-8"))]

    def samples(self, split: str, training: TrainingConfig) -> list[Sample]:
        """Read a split's slices, once.

        Raises
        ------
        DatasetError
            There is none.
        """
        key = (split, training.network, str(training.open_licences))
        if key not in self._samples:
            network = find_network(training.network)
            rows = [
                row
                for row in self.records(split)
                if network.learns_from(row)
                and training.may_use(row)
                and (split == "train" or not row.train_only)
            ]
            if not rows:
                raise DatasetError(
                    f"{self.name} has no row in the split '{split}'.",
                    "Run `tumorlens data split` on its manifest.",
                )
            loaded, left_out = load_samples(rows)
            for sentence in left_out:
                self._say(f"Left out: {sentence}")
            self._samples[key] = loaded
        return self._samples[key]

    def judged_samples(self, split: str, training: TrainingConfig) -> list[Sample]:
        """Give those of `samples` that show one of the four classes.

        Raises
        ------
        DatasetError
            There is none: other lesions teach a network that knows them, and are not
            counted.
        """
        judged = [
            item
            for item in self.samples(split, training)
            if item.record.label is not None
        ]
        if not judged:
            raise DatasetError(
                f"{self.name} has no slice of the four classes in the split '{split}'.",
                "Other lesions are not counted.",
            )
        return judged

    def train(
        self,
        plan: FederationPlan,
        round_number: int,
        arrays: Mapping[str, NDArray[np.float32]],
        digest: str | None = None,
    ) -> SiteUpdate:
        """Take a round's steps.

        Parameters
        ----------
        plan
            Choices of the federation.
        round_number
            Number of the round, from 1.
        arrays
            The server's weights.
        digest
            `frozen_digest` of the server's network; None where it is not known.

        Raises
        ------
        TrainingError
            The site takes no part in such a plan, or the network is another one.
        """
        self._check_limit(plan)
        started = time.monotonic()
        training = plan.training
        samples = self.samples("train", training)
        patients = len({item.record.group for item in samples})
        first_step = (round_number - 1) * training.steps_per_epoch
        network = _network(plan)
        model = network.model
        if digest is not None and frozen_digest(model) != digest:
            raise TrainingError(
                "The weights that are never sent differ from the server's.",
                "Run the same version of TumorLens at the server and at every site.",
            )
        network.put(arrays, self.folder / _LOCAL)
        counts = self._counts(plan, network, "validation")
        network.start(round_number, first_step, present_findings(samples, plan))
        steps = training.steps_per_epoch
        loss, epsilon = None, None
        if plan.privacy is None:
            stream = training_stream(samples, training)
            batches = stream.batches(first_step, first_step + steps, training.size_at)
            loss = float(np.mean([train_step(model, batch) for batch in batches]))
        else:
            total = training.total_steps
            budget = Budget.open(self.folder, plan.privacy, patients, total)
            epsilon = budget.spend(steps)
            private_steps(model, samples, training, budget, first_step, steps)
        self._keep_local(network.local_arrays())
        return SiteUpdate(
            shared_arrays(model, plan.batch_norm),
            weight_of(samples),
            patients,
            len(samples),
            loss,
            time.monotonic() - started,
            epsilon,
            counts,
        )

    def finish(
        self, plan: FederationPlan, arrays: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, Any] | None:
        """Keep the final network here, with what is local to it, and count its test.

        Parameters
        ----------
        plan
            Choices of the federation.
        arrays
            The server's last weights.

        Returns
        -------
        dict or None
            Counts of the split ``test``, as `site_counts` says; None where the site has
            too few patients in it. Probabilities are the network's own, before any
            calibration; a slice is called a tumour from one half on.
        """
        network = _network(plan)
        network.put(arrays, self.folder / _LOCAL)
        network.model.save_weights(self.folder / FINAL_WEIGHTS)
        return self._counts(plan, network, "test")

    def _counts(
        self, plan: FederationPlan, network: _Network, split: str
    ) -> dict[str, Any] | None:
        try:
            samples = self.judged_samples(split, plan.training)
            return site_counts(
                scored_by_network(network.model, samples, plan.training.size),
                {
                    "source": [item.record.source for item in samples],
                    "plane": [item.record.plane for item in samples],
                },
                plan.min_cell,
            )
        except DatasetError as error:
            self._say(f"No counts of the split '{split}': {error.message}")
            return None

    def shared_names(self, plan: FederationPlan) -> list[str]:
        """List the weights that are sent, in their order."""
        return list(shared_arrays(_network(plan).model, plan.batch_norm))

    def _keep_local(self, arrays: Mapping[str, Any]) -> None:
        if not arrays:
            return
        part = self.folder / "local.part"
        with part.open("wb") as file:
            np.savez(file, **arrays)
        part.replace(self.folder / _LOCAL)

    def _check_limit(self, plan: FederationPlan) -> None:
        if self.max_epsilon is None:
            return
        if plan.privacy is None or plan.privacy.epsilon > self.max_epsilon:
            promised = "none" if plan.privacy is None else f"{plan.privacy.epsilon:g}"
            raise TrainingError(
                f"{self.name} takes part up to an epsilon of {self.max_epsilon:g}; the "
                f"plan's is {promised}.",
                "Agree on a plan with more privacy.",
            )


def weight_of(samples: Sequence[Sample]) -> float:
    """Weigh a site by the square roots of its patients, class by class.

    Parameters
    ----------
    samples
        Training slices of the site.

    Returns
    -------
    float
        Sum over findings of the root of the number of patients who show it: halfway
        between all patients alike and all sites alike, and more for a site that shows
        several classes.
    """
    groups: dict[tuple[Finding, ...], set[str]] = {}
    for sample in samples:
        groups.setdefault(sample.findings, set()).add(sample.record.group)
    return float(sum(np.sqrt(len(patients)) for patients in groups.values()))


def present_findings(
    samples: Sequence[Sample], plan: FederationPlan
) -> NDArray[np.float32]:
    """Mark the findings that a site's loss is to tell apart.

    Parameters
    ----------
    samples
        Training slices of the site.
    plan
        Choices of the federation.

    Returns
    -------
    ndarray
        Shape (F,), float32, in the order of the network's outputs: 1 for what the
        slices may show, else 0. All 1 where the plan does not restrict the softmax, and
        with differential privacy, which no fact about the slices may bypass.
    """
    findings = find_network(plan.training.network).findings
    if not plan.restricted_softmax or plan.privacy is not None:
        return np.ones(len(findings), np.float32)
    shown = {finding for sample in samples for finding in sample.findings}
    return np.array([item in shown for item in findings], np.float32)


def scored_by_network(
    model: keras.Model, samples: Sequence[Sample], size: int
) -> ScoredSlices:
    """Score slices by a bare network: its softmax, a tumour from one half on."""
    logits = infer(model, samples, size)["logits"][:, : len(CLASSES)].astype(np.float64)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    tumors = probabilities.copy()
    tumors[:, NO_TUMOR_INDEX] = -1.0
    decisions = [
        TumorClass.NO_TUMOR if row[NO_TUMOR_INDEX] > 0.5 else CLASSES[best]
        for row, best in zip(probabilities, tumors.argmax(axis=1), strict=True)
    ]
    count = len(samples)
    unknown, half = np.full(count, np.nan), np.full(count, 0.5)
    return ScoredSlices(
        records=[item.record for item in samples],
        probabilities=probabilities,
        slice_head=probabilities,
        evidence_head=np.full(probabilities.shape, np.nan),
        decisions=decisions,
        sets=probabilities == probabilities.max(axis=1, keepdims=True),
        domain_scores=np.ones(count),
        brain_shares=unknown,
        peak_inside=unknown,
        dice=unknown,
        gradcam_peak_inside=unknown,
        gradcam_dice=unknown,
        center_peak_inside=unknown,
        center_dice=unknown,
        outline_shares=unknown,
        sharpness=unknown,
        thresholds=half,
        balanced_thresholds=unknown,
        lesions=np.full((count, 2), np.nan),
        sequences=[None] * count,
    )
