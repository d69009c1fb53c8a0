"""A trained model and its validation patients become a bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tumorlens.calibration.decision_layer import (
    FEWEST_PATIENTS,
    DecisionLayer,
    fit_decision_layer,
    inherited_layer,
    too_few_patients,
    unfitted_layer,
)
from tumorlens.calibration.ood import Embedded, drawn_tomograms, fit_ood_model
from tumorlens.calibration.study import fit_study_model
from tumorlens.data.duplicates import training_fingerprints
from tumorlens.data.manifest import Record, class_names, manifest_digest
from tumorlens.data.ood_pictures import (
    OodSample,
    draw_ood_samples,
    photographs,
    tomograms,
)
from tumorlens.errors import TrainingError
from tumorlens.evaluation.leakage import FINGERPRINTS, PARENTS, Parent, shaped_before
from tumorlens.imaging.geometry import Volume
from tumorlens.imaging.preprocess.slice import Preprocessing, brain_share, prepare_batch
from tumorlens.imaging.preprocess.volume import prepare_volume
from tumorlens.inference.bundle.bundle import (
    MODEL_FILE,
    OOD_FILE,
    WEIGHTS_FILE,
    Bundle,
    save_bundle,
    sha256_of,
)
from tumorlens.inference.bundle.facts import StudyModel
from tumorlens.inference.slice.ood import OodModel
from tumorlens.report.words import counted
from tumorlens.taxonomy import CLASSES, Finding, are_same_classes, info_of
from tumorlens.training.config import TrainingConfig
from tumorlens.training.dataset import (
    Sample,
    load_samples,
    served_pixels,
    without_skull,
)
from tumorlens.training.export import export_onnx, serving_model
from tumorlens.training.held_out import HeldOut, infer
from tumorlens.training.networks.registry import network_of

_DRAWN_OF_EACH_KIND = 40
_TRAINING_ROWS = 2500
"""Training slices that shape the domain model; more change nothing."""

_DRAWN_AS_VOLUMES = 4


@dataclass(frozen=True)
class TrainingData:
    """Data that a model was trained on.

    Parameters
    ----------
    training, validation
        Samples of different patients. Validation may be empty where others'
        word calibrates: then the level of refusal is set on training samples.
    records
        The whole manifest, test patients too, for the provenance.
    took
        Time and machine of the run, from `note_cost`; None where not noted.
    averaged
        Number of networks whose mean weights the model has.
    parent
        The model whose weights the run started from; None for the network's own
        start.
    """

    training: Sequence[Sample]
    validation: Sequence[Sample]
    records: Sequence[Record]
    took: Mapping[str, Any] | None = None
    averaged: int = 1
    parent: Parent | None = None


def make_bundle(
    model: keras.Model,
    config: TrainingConfig,
    data: TrainingData,
    folder: Path,
    say: Callable[[str], None] = print,
    held_out: HeldOut | None = None,
) -> Bundle:
    """Calibrate a trained model, fix its thresholds, and write the bundle.

    Parameters
    ----------
    model
        Trained.
    config
        Configuration of its run.
    data
        Training and validation samples, and what the manifest flags as CT.
    folder
        Created where missing; its bundle files are replaced.
    say
        Receives lines of progress.
    held_out
        Outputs of networks trained alike for patients they had never seen:
        calibration and thresholds are fitted on it. By default on the
        validation samples.

    Raises
    ------
    TrainingError
        There are neither.
    """
    serving = write_network(model, config, folder)
    # What trains only need not show a brain, as the top of a head.
    brains = [item for item in data.training if not item.record.train_only]
    step = max(1, len(brains) // _TRAINING_ROWS)
    passing = data.validation or brains[step // 2 :: 4 * step]
    outputs = infer(serving, _and_stripped(passing), config.size)
    checked = None
    if data.validation:
        output_names, whole = set(model.output_names), len(data.validation)
        checked = HeldOut.seen(
            {
                name: value[:whole]
                for name, value in outputs.items()
                if name in output_names
            },
            data.validation,
        )
    fitted_on = held_out or checked
    if fitted_on is None:
        raise TrainingError(
            "There is no patient to calibrate on.",
            "Give the manifest a validation split, or cross-validate first.",
        )
    layer, apart, calibrated_on = _decision_layer(
        fitted_on,
        data,
        config,
        lambda held_out: _brain_shares(held_out, data, config.size),
        is_own=held_out is None,
        say=say,
    )

    say("Learning what is no brain MRI.")
    brain_outputs = infer(serving, _and_stripped(brains[::step]), config.size)
    ood_pictures = [
        *draw_ood_samples(_DRAWN_OF_EACH_KIND, config.seed),
        *photographs(),
        *tomograms(data.records),
        *drawn_tomograms(brains, _DRAWN_OF_EACH_KIND, config.seed),
    ]
    ood = fit_ood_model(
        Embedded.of_grey(brain_outputs),
        Embedded.of_grey(outputs),
        _embed_ood(serving, ood_pictures, config.size),
        [item.kind for item in ood_pictures],
    )
    facts = {
        **provenance(config, data, held_out),
        **calibrated_on,
        FINGERPRINTS: training_fingerprints(_shaping(data, held_out)),
    }
    metrics = {} if checked is None else {"validation": layer.check(checked)}
    is_own = bool(config.classes)
    study_model = None if is_own else fit_study_model(apart, layer)
    return write_facts(folder, config, layer, ood, facts, metrics, study_model)


def _decision_layer(
    fitted_on: HeldOut,
    data: TrainingData,
    config: TrainingConfig,
    brain_shares: Callable[[HeldOut], NDArray[np.float64] | None],
    *,
    is_own: bool,
    say: Callable[[str], None],
) -> tuple[DecisionLayer, HeldOut, dict[str, Any]]:
    """Fit what decides on patients kept apart, or take it over where they are too few.

    Returns
    -------
    layer, apart, provenance
        `apart` is what has shaped no model of the line; the provenance says who
        calibrated, where it was not all of `fitted_on`.
    """
    line = data.parent.line() if data.parent else []
    is_new = ~shaped_before(fitted_on.records, line)
    apart = fitted_on if is_new.all() else fitted_on.take(is_new)
    if not is_new.all():
        say(
            f"{(~is_new).sum()} of {len(is_new)} slices to calibrate on have shaped "
            "the model that this one started from: they do not count."
        )
    few = too_few_patients(apart.records, classes_to_calibrate(data.training))
    if not few:
        say("Calibrating on patients who did not train.")
        how = "validation" if is_own else "cross-validation"
        calibrated_on = {} if is_new.all() else _calibrated_on(apart, how)
        return fit_decision_layer(apart, brain_shares(apart)), apart, calibrated_on
    network = network_of(config)
    parent = inherited_from(data.parent, config)
    say(f"{too_few_sentence(few)} {instead_sentence(parent)}")
    calibrated_on = _calibrated_on(apart, "nothing" if parent is None else "parent")
    calibrated_on["calibrated_on"] |= {
        "too_few": {name.value: count for name, count in few.items()},
        "needed": FEWEST_PATIENTS,
    }
    if parent is None:
        evidence = fitted_on.evidence
        cells = 0 if evidence is None else int(np.prod(evidence.shape[1:-1]))
        return unfitted_layer(network, cells), apart, calibrated_on
    return inherited_layer(parent), apart, calibrated_on


def inherited_from(parent: Parent | None, config: TrainingConfig) -> Bundle | None:
    """Give the bundle whose decision layer a run may take over, if there is one.

    Parameters
    ----------
    parent
        The model whose weights the run started from.
    config
        Every choice of the run; a bundle of other classes has nothing to hand on.
    """
    if parent is None or parent.bundle is None:
        return None
    names = network_of(config).findings
    return parent.bundle if are_same_classes(parent.bundle.findings, names) else None


def classes_to_calibrate(training: Sequence[Sample]) -> tuple[Finding, ...]:
    """List the classes that need patients kept apart: those that it learned."""
    shown = {sample.findings[0] for sample in training}
    own = class_names([sample.record for sample in training])
    return tuple(name for name in own or CLASSES if name in shown)


def support_lines(
    training: Sequence[Sample], apart: Sequence[Record], parent: Bundle | None
) -> list[str]:
    """Say what data can and cannot support, before hours of training.

    Parameters
    ----------
    training
        Samples to train on.
    apart
        Records to calibrate on, none of which shaped the model's weights.
    parent
        From `inherited_from`.

    Returns
    -------
    list of str
        A sentence for each class, and one where nothing can be fitted. A picture that
        names no patient counts as one.
    """
    lines = []
    classes = classes_to_calibrate(training)
    for name in classes:
        own = [item.record for item in training if item.findings == (name,)]
        others = [row for row in apart if row.findings == (name,)]
        counts = [
            (len(rows), len({row.group for row in rows})) for rows in (own, others)
        ]
        (slices, patients), (held, people) = counts
        line = (
            f"{info_of(name).title}: {counted(slices, 'picture')} of "
            f"{counted(patients, 'patient')} to train on, {held:,} of {people:,} kept "
            "apart"
        )
        lines.append(f"{line}{interval_clause(people)}.")
    few = too_few_patients(apart, classes)
    if not few:
        return lines
    return [*lines, f"{too_few_sentence(few)} {instead_sentence(parent)}"]


def interval_clause(people: int) -> str:
    """Say how little so many patients can tell; empty for none."""
    if not people:
        return ""
    right = round(0.9 * people)
    ends = binomtest(right, people).proportion_ci()
    return (
        f"; {right} right of these {people} would mean a share of "
        f"{100 * ends.low:.0f} to {100 * ends.high:.0f} % (95 % interval)"
    )


def too_few_sentence(
    few: Mapping[Finding, int],
    start: str = "Too few patients are kept apart to fit or measure anything",
) -> str:
    """Say which classes have too few patients to calibrate on."""
    names = ", ".join(
        f"{info_of(name).title.lower()} {count}" for name, count in few.items()
    )
    return f"{start} ({names}; {FEWEST_PATIENTS} of each class are needed)."


def instead_sentence(parent: Bundle | None) -> str:
    """Say what stands in for a calibration that cannot be fitted."""
    if parent is None:
        return (
            "The bundle gets no calibration and no rates: one half is its threshold, "
            "and it rules no class out."
        )
    return (
        "Calibration, thresholds and rates are those of "
        f"{parent.name} {parent.version}, which this model started from."
    )


def _calibrated_on(apart: HeldOut, how: str) -> dict[str, dict[str, Any]]:
    return {
        "calibrated_on": {
            "sets_cover": "patients",
            **_counts(apart.records),
            "how": how,
        }
    }


def _counts(records: Sequence[Record]) -> dict[str, Any]:
    """Count patients, and slices by source and finding; plain JSON."""
    slices = Counter(f"{row.source}/{row.findings[-1].value}" for row in records)
    patients = len({row.group for row in records})
    return {"patients": patients, "slices": dict(sorted(slices.items()))}


def _brain_shares(
    held_out: HeldOut, data: TrainingData, size: int
) -> NDArray[np.float64]:
    at_hand = {item.record.path: item for item in (*data.training, *data.validation)}
    missing = [row for row in held_out.records if row.path not in at_hand]
    if missing:
        at_hand |= {item.record.path: item for item in load_samples(missing)[0]}
    return np.array(
        [
            brain_share(served_pixels([at_hand[row.path]], size)[0])
            for row in held_out.records
        ]
    )


def _and_stripped(samples: Sequence[Sample]) -> list[Sample]:
    """Add every other slice skull-stripped: both are brain MRI."""
    return [*samples, *without_skull(samples[::2])]


def _embed_ood(
    serving: keras.Model, ood_pictures: Sequence[OodSample], size: int
) -> Embedded:
    parts = []
    for start in range(0, len(ood_pictures), 32):
        pictures = [item.pixels for item in ood_pictures[start : start + 32]]
        inputs, _ = prepare_batch(pictures, Preprocessing(size=size))
        parts.append(serving.predict_on_batch(inputs))
    return Embedded(
        np.concatenate([np.asarray(part["embedding"]) for part in parts]),
        np.concatenate([np.asarray(part["logits"]) for part in parts]),
        np.array([item.colorfulness for item in ood_pictures], np.float32),
    )


def _shaping(data: TrainingData, held_out: HeldOut | None) -> list[Record]:
    """List what shaped weights, calibration or thresholds, each once."""
    samples = (*data.training, *data.validation)
    rows = [
        *(sample.record for sample in samples),
        *(held_out.records if held_out else ()),
    ]
    judged = {sample.record.path for sample in samples if sample.record.split == "test"}
    # The fold that a bundle of a cross-validation is to judge shaped nothing.
    return list({row.path: row for row in rows if row.path not in judged}.values())


def provenance(
    config: TrainingConfig, data: TrainingData, held_out: HeldOut | None
) -> dict[str, Any]:
    """Say what a bundle was made of, and with what.

    Parameters
    ----------
    config, data, held_out
        The same as for `make_bundle`.

    Returns
    -------
    dict
        Plain JSON.
    """
    counts: dict[str, dict[str, Any]] = {}
    for name, samples in (
        ("train", data.training),
        ("validation", data.validation),
    ):
        if not samples:
            continue
        counts[name] = _counts([sample.record for sample in samples])
    patients_of_splits: dict[str, set[str]] = {}
    for record in data.records:
        patients_of_splits.setdefault(record.split, set()).add(record.patient)
    return {
        "manifest_sha256": manifest_digest(data.records),
        # Who trained and who validated, so that nobody is later called held out.
        "patients": {
            split: sorted(names - {""}) for split, names in patients_of_splits.items()
        },
        "config": config.to_json(),
        "averaged": data.averaged,
        "calibrated_on": {
            "sets_cover": "patients",
            **(
                {
                    "patients": len({row.group for row in held_out.records}),
                    "slices": len(held_out.records),
                    "how": "cross-validation",
                }
                if held_out
                else {**counts["validation"], "how": "validation"}
            ),
        },
        "sets": counts,
        **({} if data.parent is None else {PARENTS: data.parent.line()}),
        **({} if data.took is None else {"training": dict(data.took)}),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }


def make_volume_bundle(
    model: keras.Model,
    config: TrainingConfig,
    data: TrainingData,
    folder: Path,
    say: Callable[[str], None] = print,
) -> Bundle:
    """Calibrate a trained model, fix its thresholds, and write the bundle.

    Parameters
    ----------
    model
        Trained; of a network that judges volumes.
    config
        Configuration of its run.
    data
        Training and validation volumes.
    folder
        Created where missing; its bundle files are replaced.
    say
        Receives lines of progress.
    """
    serving = write_network(model, config, folder)
    outputs = infer(serving, data.validation, config.size)
    checked = HeldOut(
        tuple(sample.record for sample in data.validation),
        outputs["logits"],
        outputs["evidence"],
        np.full((len(data.validation), 1, 1), np.nan, np.float32),
    )
    # No rule on the brain: a volume shows what it shows.
    layer, _, calibrated_on = _decision_layer(
        checked, data, config, lambda _: None, is_own=True, say=say
    )

    say("Learning what is no series of a head.")
    kinds, ood_pictures = _ood_volumes(config.seed, config.size)
    # Volumes are grey; a coloured one is refused by its slices' colour.
    ood = fit_ood_model(
        Embedded.of_grey(infer(serving, data.training, config.size)),
        Embedded.of_grey(outputs),
        Embedded.of_grey(_volume_outputs(serving, ood_pictures)),
        kinds,
    )
    facts = {**provenance(config, data, None), **calibrated_on}
    metrics = {"validation": layer.check(checked)}
    return write_facts(folder, config, layer, ood, facts, metrics)


def _ood_volumes(seed: int, size: int) -> tuple[list[str], list[NDArray[np.float32]]]:
    """Make volumes that are no head: a picture in every slice, or many in a pile."""
    originals = [*draw_ood_samples(_DRAWN_AS_VOLUMES, seed), *photographs()[::5]]
    # Twice the input's edge is as much as it can see of them.
    edge = 2 * size
    pictures = [
        np.asarray(cv2.resize(item.pixels, (edge, edge)), np.float32)
        for item in originals
    ]
    kinds = [item.kind for item in originals]
    piles = [np.repeat(item[None], edge, axis=0) for item in pictures]
    rng = np.random.default_rng(seed)
    for _ in range(2 * _DRAWN_AS_VOLUMES):
        rows = rng.integers(0, len(pictures), edge)
        kinds.append("pile")
        piles.append(np.stack([pictures[row] for row in rows]))
    facts = Preprocessing(size=size)
    blocks = [prepare_volume(Volume.of(item, np.eye(4)), facts)[0] for item in piles]
    return kinds, blocks


def _volume_outputs(
    serving: keras.Model, blocks: Sequence[NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    parts = [
        serving.predict_on_batch(np.stack(blocks[start : start + 8]))
        for start in range(0, len(blocks), 8)
    ]
    return {
        name: np.concatenate([np.asarray(part[name]) for part in parts])
        for name in ("embedding", "logits")
    }


def write_network(
    model: keras.Model, config: TrainingConfig, folder: Path
) -> keras.Model:
    """Write a network to serve, and its weights to start fine-tuning from.

    Parameters
    ----------
    model
        Trained.
    config
        Configuration of its run.
    folder
        Folder of the bundle; created where missing.

    Returns
    -------
    keras.Model
        The network with the outputs that serving sees, to fit the rest on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    serving = serving_model(model, config.size, network_of(config))
    export_onnx(serving, folder / MODEL_FILE)
    model.save_weights(folder / WEIGHTS_FILE)
    return serving


def write_facts(
    folder: Path,
    config: TrainingConfig,
    layer: DecisionLayer,
    ood: tuple[OodModel, Mapping[str, float]],
    provenance: Mapping[str, Any],
    metrics: Mapping[str, Any],
    study_model: StudyModel | None = None,
) -> Bundle:
    """Write what was fitted beside a network, and verify the whole.

    Parameters
    ----------
    folder
        Folder that `write_network` has filled.
    config
        Configuration of the run.
    layer
        Decision layer of the bundle.
    ood
        Result of `fit_ood_model`: the model and its figures.
    provenance, metrics
        Plain JSON, see `Bundle`.
    study_model
        Result of `fit_study_model`.

    Raises
    ------
    BundleError
        A fact is not what it has to be.
    """
    ood_model, figures = ood
    network = network_of(config)
    ood_model.save(folder / OOD_FILE)
    return save_bundle(
        folder,
        name=config.network,
        version=f"{datetime.now(UTC):%Y.%m.%d}-{sha256_of(folder / MODEL_FILE)[:8]}",
        preprocessing=Preprocessing(size=config.size),
        calibration=layer.calibration,
        operating_points=layer.operating_points,
        default_operating_point="screening",
        prediction_sets=layer.prediction_sets,
        rules=layer.rules,
        cells=layer.cells,
        domain=figures,
        provenance=provenance,
        metrics=metrics,
        judges=network.judges,
        findings=network.findings,
        sequence_head=layer.sequence_head,
        study_model=study_model,
    )
