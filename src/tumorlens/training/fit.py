"""The training loop.

Read it top to bottom: build, compile, then for each step one batch; after each epoch
validate the averaged weights, log (CSV, JSON lines, TensorBoard), and write a
checkpoint; at the end count normalisation anew, and draw the curves.
"""

from __future__ import annotations

import csv
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tensorboardX import SummaryWriter

from tumorlens.errors import DivergedError, TrainingError
from tumorlens.taxonomy import CLASSES, FINDINGS, Finding, clear_places, is_tumor
from tumorlens.training.batches import Batch, BatchStream
from tumorlens.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import Sample, sampling_weights
from tumorlens.training.held_out import infer
from tumorlens.training.losses import CandidateLoss, EvidenceLoss
from tumorlens.training.networks.registry import network_of
from tumorlens.training.plan import Pace, StepProgress, duration, expected_cost
from tumorlens.training.volumes import VolumeStream
from tumorlens.training.weights import count_normalisation, load_weights


class RunLog:
    """Writes one row for each epoch, in three forms.

    Parameters
    ----------
    folder
        Folder for ``log.csv``, ``log.jsonl`` and the events.
    history
        Rows that a resumed run already has: the files are brought back to
        them, so that an epoch that is run again is not listed twice.
    """

    def __init__(self, folder: Path, history: list[dict[str, Any]]) -> None:
        self._csv = folder / "log.csv"
        self._jsonl = folder / "log.jsonl"
        self._events = SummaryWriter(str(folder / "tensorboard"))
        self._csv.unlink(missing_ok=True)
        self._jsonl.unlink(missing_ok=True)
        for row in history:
            self._append(row)

    def _append(self, row: dict[str, Any]) -> None:
        fresh = not self._csv.exists()
        with self._csv.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        with self._jsonl.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def write(self, row: dict[str, Any]) -> None:
        """Add the row of an epoch that is done."""
        self._append(row)
        for name, value in row.items():
            if isinstance(value, float):
                self._events.add_scalar(name, value, row["step"])
        self._events.flush()

    def close(self) -> None:
        """Close the event file."""
        self._events.close()


def draw_curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw loss and validation over the steps of a run.

    Parameters
    ----------
    history
        One row for each epoch, at least one.
    path
        PNG to write.
    """
    steps = [row["step"] for row in history]
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    loss, shares = figure.subplots(1, 2)
    loss.plot(steps, [row["loss"] for row in history], marker=".", color="#0072B2")
    loss.set(title="Training loss", xlabel="Step", ylim=(0.0, None))
    for name, title, color in (
        ("accuracy", "Accuracy, patients and classes alike", "#D55E00"),
        ("tumor_recall", "Recall of tumours", "#009E73"),
    ):
        if name in history[0]:
            values = [row[name] for row in history]
            shares.plot(steps, values, marker=".", label=title, color=color)
    shares.set(title="Validation", xlabel="Step", ylim=(0.0, 1.0))
    if shares.lines:
        best = max(history, key=lambda row: (row["accuracy"], row["step"]))
        shares.axvline(best["step"], color="0.6", ls=":", label="Weights kept")
        shares.legend(loc="lower right")
    figure.savefig(path, dpi=120)


CHECKPOINT = "checkpoint.npz"
CURVES = "curves.png"
BEST_WEIGHTS = "best.weights.h5"
SEQUENCE_LOSS = 0.4
"""Weight of the sequence head beside the slice head's 1: it learns sooner."""
STRONGEST_LOSS = 0.5
"""Weight of what the strongest cells say of a slice without an outline."""
_STEPS_BETWEEN_CHECKPOINTS = 50


@dataclass(frozen=True)
class FitResult:
    """Model and history that a run ends with.

    Parameters
    ----------
    model
        Model with the averaged weights of the best epoch; of the last one where there
        was nothing to validate on.
    history
        One row for each epoch.
    """

    model: keras.Model
    history: list[dict[str, Any]]


class _LaterRate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that starts in its middle, for an optimizer that starts anew."""

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        first_step: keras.Variable,
    ) -> None:
        self._schedule = schedule
        self._first_step = first_step

    def __call__(self, step: Any) -> Any:  # noqa: ANN401 - a tensor of the backend
        return self._schedule(step + self._first_step)


def build_first(
    config: TrainingConfig, initial_weights: Path | None = None
) -> keras.Model:
    """Build a run's network with its first weights, its frozen blocks frozen.

    Parameters
    ----------
    config, initial_weights
        The same as in `fit`.
    """
    network = network_of(config)
    keras.utils.set_random_seed(config.seed)
    with _arithmetic(config):
        model = network.build(None)
    if initial_weights is not None:
        load_weights(model, initial_weights, new_heads=bool(config.classes))
    elif network.initialise is not None:
        network.initialise(model)
    network.freeze(model)
    return model


@contextmanager
def _arithmetic(config: TrainingConfig) -> Iterator[None]:
    """Build layers that compute in a run's precision; the heads stay in float32."""
    usual = keras.config.dtype_policy()
    if config.precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(usual)


@contextmanager
def all_devices(batch_size: int) -> Iterator[int]:
    """Share batches out over this machine's GPUs, weights alike on each.

    On JAX, the backend that can (`keras.distribution`); any other takes one device.

    Parameters
    ----------
    batch_size
        As many devices are used as share it evenly.

    Yields
    ------
    int
        Number of devices.
    """
    if keras.backend.backend() != "jax":
        yield 1
        return
    devices = keras.distribution.list_devices()
    count = max(
        number for number in range(1, len(devices) + 1) if batch_size % number == 0
    )
    if count == 1:
        yield 1
        return
    shared = keras.distribution.DataParallel(
        devices=devices[:count], auto_shard_dataset=False
    )
    with shared.scope():
        yield count


def compile_model(
    model: keras.Model,
    config: TrainingConfig,
    first_step: keras.Variable | None = None,
    present: keras.Variable | None = None,
) -> None:
    """Give a network its losses and its optimizer (Adam, or AdamW).

    Parameters
    ----------
    model
        The network.
    config
        Every choice of the run.
    first_step
        Step of the run at which an optimizer starts that remembers nothing; None for
        the first.
    present
        The same as of `CandidateLoss`; None for all findings.
    """
    losses: dict[str, keras.losses.Loss] = {
        "logits": CandidateLoss(config.label_smoothing, present)
    }
    weights = {"logits": 1.0}
    if "evidence" in model.output_names:
        # On whole volumes the place of the peak was not measured.
        network = network_of(config)
        slices = network.judges == "slices"
        losses["evidence"] = (
            EvidenceLoss(clear_places(network.findings))
            if slices
            else keras.losses.CategoricalCrossentropy(from_logits=True)
        )
        weights["evidence"] = config.evidence_loss
    if "sequence" in model.output_names:
        losses |= {"sequence": CandidateLoss(), "strongest": CandidateLoss()}
        weights |= {"sequence": SEQUENCE_LOSS, "strongest": STRONGEST_LOSS}
    warmup = max(1, round(config.warmup * config.total_steps))
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 25.0,
        max(1, config.total_steps - warmup),
        alpha=config.final_rate,
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        rate if first_step is None else _LaterRate(rate, first_step),
        weight_decay=config.weight_decay,
        global_clipnorm=2.0,
        use_ema=True,
        ema_momentum=config.ema,
        ema_overwrite_frequency=None,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer=optimizer, loss=losses, loss_weights=weights)


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Put the moving average of the weights in place for a while."""
    current = [
        keras.ops.convert_to_numpy(item.value) for item in model.trainable_variables
    ]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    for variable in model.trainable_variables:
        # JAX frees what it predicts with: the optimizer's own must not be that.
        variable.assign(keras.ops.convert_to_numpy(variable.value))
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, current, strict=True):
            variable.assign(value)


def validation_score(
    logits: NDArray[np.float32],
    samples: Sequence[Sample],
    names: Sequence[Finding] = FINDINGS,
) -> dict[str, float]:
    """Score slices, each patient counting the same.

    Parameters
    ----------
    logits
        Shape (N, F).
    samples
        N of them; those of which it is not known what they show are left out.
    names
        What the logits are of, in their order.

    Returns
    -------
    dict
        ``accuracy``: mean over findings of the mean over patients of the share
        of slices that are right. ``tumor_recall``: mean over patients with a
        tumour of the share of slices called a tumour of any kind.
    """
    predicted = logits.argmax(axis=1)
    right: dict[Finding, dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    tumor_hits: dict[str, list[float]] = defaultdict(list)
    for row, sample in enumerate(samples):
        if len(sample.findings) > 1:
            continue
        (shown,), predicted_finding = sample.findings, names[predicted[row]]
        patient = sample.record.group
        right[shown][patient].append(float(predicted_finding == shown))
        if is_tumor(shown):
            tumor_hits[patient].append(float(is_tumor(predicted_finding)))
    classes = [
        float(np.mean([np.mean(rows) for rows in patients.values()]))
        for patients in right.values()
    ]
    recall = [float(np.mean(rows)) for rows in tumor_hits.values()]
    return {
        "accuracy": float(np.mean(classes)),
        "tumor_recall": float(np.mean(recall)) if recall else 1.0,
    }


def fit(
    config: TrainingConfig,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    folder: Path,
    *,
    resume: bool = False,
    initial_weights: Path | None = None,
    say: Callable[[str], None] = print,
    progress: Callable[[StepProgress], None] | None = None,
    on_epoch: Callable[[Mapping[str, Any]], None] | None = None,
) -> FitResult:
    """Train one network.

    Parameters
    ----------
    config
        Every choice of the run.
    training, validation
        Samples of different patients. Without validation samples the run goes
        to its end and keeps its last weights: nothing is chosen, so patients
        kept for testing stay untouched.
    folder
        Exists; receives checkpoint, best weights, log.csv, log.jsonl, TensorBoard
        events and curves.png.
    resume
        Go on from the folder's checkpoint.
    initial_weights
        Keras weights to start from instead of the network's own.
    say
        Receives lines of progress.
    progress
        Called after each step; where given, steps, time and memory are told before
        the first.
    on_epoch
        Called after each epoch with its row of the log.

    Raises
    ------
    TrainingError
        A patient is in both sets, a class is missing, the weights are of
        another network, or there is no usable checkpoint to resume from.
    """
    network = network_of(config)
    slices = network.judges == "slices"
    # Of whole volumes there are too few to ask for every kind of tumour, and sets of
    # open licence show no other lesions.
    needed = network.own_classes or CLASSES
    _check_sets(training, validation, needed if slices else ())
    with all_devices(config.batch_size) as devices:
        if devices > 1:
            say(f"Each batch is shared out over {devices} devices.")
        result = _run(
            *(config, training, validation, folder, resume, initial_weights),
            *(say, progress, on_epoch),
        )
    if devices == 1 and config.precision == "float32":
        return result
    # What is calibrated and served is one device's float32.
    model = network.build(None)
    load_weights(model, folder / BEST_WEIGHTS)
    return FitResult(model, result.history)


def _run(
    config: TrainingConfig,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    folder: Path,
    resume: bool,
    initial_weights: Path | None,
    say: Callable[[str], None],
    progress: Callable[[StepProgress], None] | None,
    on_epoch: Callable[[Mapping[str, Any]], None] | None,
) -> FitResult:
    """Run the loop; see `fit`."""
    model = build_first(config, initial_weights)
    compile_model(model, config)
    done = Progress(0, [])
    if resume:
        done = load_checkpoint(folder / CHECKPOINT, model)
        say(f"Going on from step {done.step} of {config.total_steps}.")
    stream = training_stream(training, config)
    if progress is not None:
        say(expected_cost(model, config, training, validation).sentence(config))
    history = done.history
    losses: list[float] = []
    pace = Pace(config, len(validation))
    started = before = time.monotonic()
    step = done.step
    if _stalled(history, config.patience):
        step = config.total_steps
    with closing(RunLog(folder, history)) as log:
        for batch in stream.batches(step, config.total_steps, config.size_at):
            losses.append(train_step(model, batch))
            step += 1
            now = time.monotonic()
            pace.step_done(now - before, config.size_at(step - 1))
            before = now
            if step % config.steps_per_epoch == 0:
                row = _end_epoch(model, config, validation, history, folder, step)
                row |= {
                    "loss": float(np.mean(losses)),
                    "seconds_per_step": (now - started) / (step - done.step),
                }
                losses.clear()
                history.append(row)
                log.write(row)
                if on_epoch is not None:
                    on_epoch(row)
                pace.epoch_done(time.monotonic() - now)
                say(_line(row, config, pace.left(step) or 0.0))
                save_checkpoint(folder / CHECKPOINT, model, Progress(step, history))
                before = time.monotonic()
                pace.epoch_done(before - now)
                if _stalled(history, config.patience):
                    say(f"No better epoch in {config.patience}: stopping.")
                    break
            elif step % _STEPS_BETWEEN_CHECKPOINTS == 0:
                save_checkpoint(folder / CHECKPOINT, model, Progress(step, history))
            if progress is not None:
                progress(_progress(step, config, pace))
    draw_curves(history, folder / CURVES)
    load_weights(model, folder / BEST_WEIGHTS)
    # What it counted is of the weights on their way, not of their average.
    count_normalisation(model, stream, config)
    _keep(model, folder)
    return FitResult(model, history)


def _progress(step: int, config: TrainingConfig, pace: Pace) -> StepProgress:
    epoch = min(config.epochs, step // config.steps_per_epoch + 1)
    left = None if pace.knows_compiling_alone else pace.left(step)
    return StepProgress(step, config.total_steps, epoch, config.epochs, left)


def training_stream(training: Sequence[Sample], config: TrainingConfig) -> BatchStream:
    """Draw the batches that a run trains on, of slices or whole volumes.

    Parameters
    ----------
    training
        Samples of what the run's network judges.
    config
        Every choice of the run.
    """
    network = network_of(config)
    kind = BatchStream if network.judges == "slices" else VolumeStream
    return kind(
        training,
        sampling_weights(training, config.sampling, config.draw_factors),
        config.batch_size,
        config.seed,
        config.strip_share,
        config.transplant_share,
        network.evidence_stride,
        network.findings,
    )


def _check_sets(
    training: Sequence[Sample],
    validation: Sequence[Sample],
    needed: Sequence[Finding],
) -> None:
    if not training:
        raise TrainingError(
            "The training set is empty.",
            "Run `tumorlens data split` on the manifest.",
        )
    patients = {sample.record.patient for sample in training} - {""}
    both = patients & {sample.record.patient for sample in validation}
    if both:
        raise TrainingError(
            f"{len(both)} patients are in training and validation, "
            f"for example {min(both)}.",
            "Split by patient: run `tumorlens data split` on the manifest.",
        )
    missing = set(needed) - {sample.findings[0] for sample in training}
    if missing:
        names = ", ".join(sorted(item.value for item in missing))
        raise TrainingError(
            f"The training set shows no slice of: {names}.",
            "Add such slices, or split again.",
        )


def targets_and_weights(
    model: keras.Model, batch: Batch
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Give each of a network's outputs its targets, and the weights of its rows."""
    targets = {"logits": batch.labels}
    weights = {"logits": np.ones(len(batch.labels), np.float32)}
    if "evidence" in model.output_names:
        targets["evidence"] = batch.cells
        weights["evidence"] = batch.cell_weights
    if "sequence" in model.output_names:
        targets |= {"sequence": batch.sequences, "strongest": batch.labels}
        weights |= {
            "sequence": batch.sequences.sum(axis=1),
            "strongest": batch.unplaced,
        }
    return targets, weights


def train_step(model: keras.Model, batch: Batch) -> float:
    """Take one step, and return its loss; raises `DivergedError` where it is none."""
    targets, weights = targets_and_weights(model, batch)
    logs = model.train_on_batch(batch.pixels, targets, weights, return_dict=True)
    loss = float(logs["loss"])
    model.reset_metrics()
    if not np.isfinite(loss):
        raise DivergedError
    return loss


def _end_epoch(
    model: keras.Model,
    config: TrainingConfig,
    validation: Sequence[Sample],
    history: list[dict[str, Any]],
    folder: Path,
    step: int,
) -> dict[str, Any]:
    """Validate the averaged weights, and keep them if none were better."""
    row: dict[str, Any] = {"epoch": step // config.steps_per_epoch, "step": step}
    with averaged_weights(model):
        best = True
        if validation:
            outputs = infer(model, validation, config.size)
            names = network_of(config).own_classes or FINDINGS
            row |= validation_score(outputs["logits"], validation, names)
            earlier = max((old["accuracy"] for old in history), default=0.0)
            best = row["accuracy"] >= earlier
        if best:
            _keep(model, folder)
    return row


def _keep(model: keras.Model, folder: Path) -> None:
    part = folder / f"part-{BEST_WEIGHTS}"
    model.save_weights(part)
    part.replace(folder / BEST_WEIGHTS)


def _stalled(history: list[dict[str, Any]], patience: int) -> bool:
    if not history or "accuracy" not in history[0]:
        return False
    scores = [row["accuracy"] for row in history]
    best = len(scores) - 1 - scores[::-1].index(max(scores))
    return len(scores) - 1 - best >= patience


def _line(row: dict[str, Any], config: TrainingConfig, seconds_left: float) -> str:
    words = [f"epoch {row['epoch']:3d}/{config.epochs}", f"loss {row['loss']:.4f}"]
    if "accuracy" in row:
        words.append(f"validation accuracy {row['accuracy']:.4f}")
        words.append(f"tumour recall {row['tumor_recall']:.4f}")
    return "  ".join([*words, f"{duration(seconds_left)} left"])
