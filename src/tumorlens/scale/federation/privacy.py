"""Training steps that are differentially private for every patient of a site.

Each step draws patients at random (Poisson), bounds the gradient of each patient's
slices, adds them up, and adds Gaussian noise (Abadi et al. 2016, CCS; for groups of
rows McMahan et al. 2018, ICLR). The steps that left a site are counted on disk, before
their weights are sent, so that a round that is run twice is paid for twice.
"""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tumorlens.errors import MissingExtraError, TrainingError
from tumorlens.scale.federation.plan import Privacy
from tumorlens.training.batches import augmented
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import Sample
from tumorlens.training.fit import targets_and_weights
from tumorlens.training.networks.registry import find_network

LEDGER = "privacy.json"


def epsilon_of(noise: float, rate: float, steps: int, delta: float) -> float:
    """Account for a run: the epsilon of so many noisy steps.

    Parameters
    ----------
    noise
        Deviation of the noise over the bound on a patient's gradient.
    rate
        Chance of a patient to be drawn in a step.
    steps
        Steps taken.
    delta
        The promise's delta.

    Raises
    ------
    MissingExtraError
        The extra ``federated``, whose accountant does it, is not installed.
    """
    accounting = _accounting()
    accountant = accounting.rdp.RdpAccountant()
    accountant.compose(_steps(accounting, noise, rate), steps)
    return float(accountant.get_epsilon(delta))


def noise_for(privacy: Privacy, rate: float, steps: int) -> float:
    """Find the least noise that keeps a promise over so many steps.

    Parameters
    ----------
    privacy
        The promise.
    rate, steps
        The same as in `epsilon_of`.
    """
    accounting = _accounting()
    return float(
        accounting.calibrate_dp_mechanism(
            accounting.rdp.RdpAccountant,
            lambda noise: accounting.SelfComposedDpEvent(
                _steps(accounting, noise, rate), steps
            ),
            privacy.epsilon,
            privacy.delta,
        )
    )


def _accounting() -> Any:  # noqa: ANN401 - a module without types
    try:
        import dp_accounting
    except ImportError as error:
        raise MissingExtraError("Differential privacy", "federated") from error
    return dp_accounting


def _steps(accounting: Any, noise: float, rate: float) -> Any:  # noqa: ANN401
    return accounting.PoissonSampledDpEvent(rate, accounting.GaussianDpEvent(noise))


@dataclass(frozen=True)
class Budget:
    """What a site may still spend, and what it has spent.

    Parameters
    ----------
    path
        The ledger.
    privacy
        The promise.
    rate
        Chance of a patient to be drawn in a step.
    noise
        Deviation of the noise over the bound on a patient's gradient.
    total
        Steps of the whole run.
    """

    path: Path
    privacy: Privacy
    rate: float
    noise: float
    total: int

    @classmethod
    def open(cls, folder: Path, privacy: Privacy, patients: int, total: int) -> Budget:
        """Open a site's ledger, or begin one.

        Raises
        ------
        TrainingError
            The ledger is of another promise, or of other patients.
        """
        rate = min(1.0, privacy.patients_per_step / patients)
        path = folder / LEDGER
        facts = {
            "epsilon": privacy.epsilon,
            "delta": privacy.delta,
            "rate": rate,
            "total": total,
        }
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if {key: stored.get(key) for key in facts} != facts:
                raise TrainingError(
                    f"{path} was begun with another promise, or other patients.",
                    "Keep the plan and the manifest, or begin in an empty folder: what "
                    "was sent before stays spent.",
                )
            return cls(path, privacy, rate, float(stored["noise"]), total)
        noise = noise_for(privacy, rate, total)
        path.write_text(
            json.dumps({**facts, "noise": noise, "steps": 0}) + "\n", encoding="utf-8"
        )
        return cls(path, privacy, rate, noise, total)

    def spend(self, steps: int) -> float:
        """Book steps whose weights are about to be sent; return epsilon so far.

        Raises
        ------
        TrainingError
            More would break the promise.
        """
        stored = json.loads(self.path.read_text(encoding="utf-8"))
        spent = int(stored["steps"]) + steps
        if spent > self.total:
            raise TrainingError(
                f"The privacy budget is spent: {stored['steps']} of {self.total} steps "
                "were sent.",
                "This site takes part no longer.",
            )
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({**stored, "steps": spent}) + "\n", encoding="utf-8")
        part.replace(self.path)
        return epsilon_of(self.noise, self.rate, spent, self.privacy.delta)


def private_steps(
    model: keras.Model,
    samples: Sequence[Sample],
    config: TrainingConfig,
    budget: Budget,
    first_step: int,
    count: int,
    rng: np.random.Generator | None = None,
) -> None:
    """Take private steps.

    Parameters
    ----------
    model
        Compiled; its batch normalisation is frozen.
    samples
        The site's training slices.
    config
        Choices of the training.
    budget
        Noise, bound and chance.
    first_step, count
        The first step, and how many.
    rng
        Generator of draws and noise; by default one that nobody can foretell.
    """
    rng = rng or np.random.default_rng(secrets.randbits(128))
    slices: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        slices[sample.record.group].append(sample)
    patients = [slices[name] for name in sorted(slices)]
    variables = model.trainable_variables
    for step in range(first_step, first_step + count):
        drawn = np.flatnonzero(rng.random(len(patients)) < budget.rate)
        total = [np.zeros(item.shape, np.float64) for item in variables]
        for row in drawn:
            gradient = _patient_gradient(
                model, patients[row], config, budget.privacy, step, rng
            )
            norm = np.sqrt(sum(float((part**2).sum()) for part in gradient))
            scale = min(1.0, budget.privacy.clip / max(norm, 1e-12))
            for sums, part in zip(total, gradient, strict=True):
                sums += scale * part
        deviation = budget.noise * budget.privacy.clip
        mean = budget.rate * len(patients)
        model.optimizer.apply(
            [
                tf.constant(
                    (sums + rng.normal(0.0, deviation, sums.shape)) / mean, tf.float32
                )
                for sums in total
            ],
            variables,
        )


def _patient_gradient(
    model: keras.Model,
    samples: Sequence[Sample],
    config: TrainingConfig,
    privacy: Privacy,
    step: int,
    rng: np.random.Generator,
) -> list[NDArray[np.float64]]:
    """Gradient of the mean loss of some of one patient's slices."""
    count = min(len(samples), privacy.slices_per_patient)
    chosen = [samples[row] for row in rng.permutation(len(samples))[:count]]
    network, size = find_network(config.network), config.size_at(step)
    batch = augmented(
        chosen,
        size,
        size // network.evidence_stride,
        (int(rng.integers(2**62)), step),
        config.strip_share,
        network.findings,
    )
    targets, weights = targets_and_weights(model, batch)
    gradients = _gradient_of(model)(batch.pixels, targets, weights)
    return [np.asarray(part, np.float64) for part in gradients]


@lru_cache(maxsize=2)
def _gradient_of(model: keras.Model) -> Callable[..., list[Any]]:
    variables = [item.value for item in model.trainable_variables]

    @tf.function(reduce_retracing=True)
    def gradient(pixels: Any, targets: Any, weights: Any) -> Any:  # noqa: ANN401
        with tf.GradientTape() as tape:
            outputs = model(pixels, training=True)
            loss = model.compute_loss(
                x=pixels, y=targets, y_pred=outputs, sample_weight=weights
            )
        return tape.gradient(
            loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    return lambda *inputs: list(gradient(*inputs))
