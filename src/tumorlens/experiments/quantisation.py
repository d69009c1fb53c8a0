"""A bundle gets a faster graph in 8-bit integers, if it decides as the float32 one.

Static quantisation after training: each channel of a convolution's weights, and each
value between layers, gets a step of its own, by what calibration slices show there.
Last layers stay in float32, and so do the convolutions that change the probabilities
most, where that is not enough. Slices whose decision is closer to a border than int8 is
mostly off are judged again in float32.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import onnx
import onnx.shape_inference
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
)
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from tumorlens.calibration.series import fold_bundles
from tumorlens.data.labelled_slices import pick, read_labelled_slice
from tumorlens.data.manifest import Record, read_manifest
from tumorlens.data.ood_pictures import CT_FLAG
from tumorlens.errors import DatasetError, TrainingError
from tumorlens.evaluation.ood import gather_ood_pictures
from tumorlens.evaluation.scored_slices import judge_slices
from tumorlens.imaging.study import Slice
from tumorlens.inference.bundle.bundle import (
    MODEL_FILE,
    OOD_FILE,
    Bundle,
    load_bundle,
    record_path,
    sha256_of,
)
from tumorlens.inference.bundle.facts import (
    FLOAT32,
    LEAST_EQUAL,
    Agreement,
    FastPath,
    Margins,
    Precision,
)
from tumorlens.inference.classifier import Classifier, prepare_slice
from tumorlens.inference.slice.decision import (
    Decision,
    finding_probabilities,
    log_odds_of,
)
from tumorlens.inference.slice.ood import OodModel
from tumorlens.inference.slice.session import (
    INPUT_NAME,
    Session,
    fold_graph,
    time_graphs,
)
from tumorlens.statistics import auroc, calibration_error
from tumorlens.taxonomy import is_tumor

INT8: Precision = "int8"
INT8_FILE = "model.int8.onnx"
_FOLDED_FILE = "folded.onnx"

FEWER_IN_INT8 = (0, 2, 4, 8, 16, 32)
"""Numbers of convolutions that are left in float32, one try after the other."""
COVERED = (0.8, 0.9, 0.95, 0.98)
"""Shares of calibration slices whose errors are within the margins, one after the
other: float32 judges what is closer to a border."""
MOST_AGAIN = 0.3
"""Share of slices that float32 may have to judge again, at most."""
CROSS_VALIDATION = "cross-validation"
HELD_OUT = "held-out patients"
TRAINED = "training patients"

_QUANTISED = ("Conv", "Add", "Clip", "Relu")
"""Operators in integers; pooled features and what follows them stay in float32."""
_SENSITIVITY_SLICES = 24
_FIRST_SLICES = 600
"""An attempt is first measured on so many slices."""
_OWN_SLICES = 3000
"""Beside a cross-validation the bundle's own graph is measured on so many slices."""

_AT_A_TIME = 64
"""Slices that are read before they are judged."""
_LEAST = 1e-6
"""Smaller probabilities decide nothing."""

Inputs = NDArray[np.float32]


@dataclass(frozen=True)
class QuantisationConfig:
    """Choices of a quantisation.

    Parameters
    ----------
    manifest
        Labelled slices. Of a cross-validation the manifest that it was trained with.
    folds
        Folder of a finished cross-validation: the figures are then those of its folds'
        graphs on the patients that each left out. None to measure the bundle itself on
        patients who have not shaped it.
    calibration_slices
        Number of training slices, of as many patients as possible, that set the steps.
    ood_of_each_kind
        Number of pictures of each drawn kind that are no brain MRI.
    """

    manifest: Path
    folds: Path | None = None
    calibration_slices: int = 200
    ood_of_each_kind: int = 20


@dataclass(frozen=True)
class _Share:
    """A bundle, the slices that set its steps, and those that it is measured on."""

    measured_on: str
    bundle: Bundle
    calibration: Sequence[Record]
    measured: Sequence[Record]
    ood: Sequence[Slice]


@dataclass(frozen=True)
class _Part:
    """A bundle that is quantised in a folder of its own, as often as it takes."""

    share: _Share
    folder: Path
    inputs: Inputs
    ranges: TensorsData
    convolutions: tuple[str, ...]

    @classmethod
    def open(cls, share: _Share, folder: Path) -> Self:
        """Fold the graph, and measure its values on calibration slices."""
        folder.mkdir()
        shutil.copy(share.bundle.folder / MODEL_FILE, folder / MODEL_FILE)
        graph = folder / _FOLDED_FILE
        fold_graph(folder / MODEL_FILE, graph)
        onnx.shape_inference.infer_shapes_path(graph)
        inputs = _inputs(share.calibration, share.bundle)
        ranges = calibrate_graph(graph, inputs)
        return cls(share, folder, inputs, ranges, _convolutions(graph))

    def names(self, places: Sequence[int]) -> tuple[str, ...]:
        """Name the convolutions in some places."""
        return tuple(self.convolutions[place] for place in places)

    def quantise(self, in_float32: Sequence[int], only: Sequence[int] = ()) -> None:
        """Write the graph in int8, but for the convolutions in some places."""
        quantise_graph(
            self.folder / _FOLDED_FILE,
            self.folder / INT8_FILE,
            self.ranges,
            self.names(in_float32),
            self.names(only),
        )

    def session(self, covered: float | None = None) -> Session:
        """Run what was written last, alone or with float32 near borders."""
        margins = Margins(0.0, 0.0) if covered is None else self.margins(covered)
        path = FastPath(INT8_FILE, "", (), margins, ())
        bundle = replace(self.share.bundle, folder=self.folder, paths={INT8: path})
        return Session(bundle, precision=INT8)

    def judge_in_float32(self, say: Callable[[str], None]) -> _Judged:
        """Judge all that it is measured on by the bundle as it is."""
        return _judge(self, Session(self.share.bundle), say)

    def margins(self, covered: float) -> Margins:
        """Find how far such a share of calibration slices is from float32, at most."""
        exact = self.log_odds(Session(self.share.bundle))
        apart = np.abs(self.log_odds(self.session()) - exact)
        return Margins(
            float(np.quantile(apart[:, :-1].max(axis=1), covered)),
            float(np.quantile(apart[:, -1], covered)),
        )

    def log_odds(self, session: Session, step: int = 1) -> NDArray[np.float64]:
        """Give findings' logs of probabilities, then log-odds of the domain score."""
        bundle = self.share.bundle
        ood = OodModel.load(bundle.folder / OOD_FILE)
        rows = []
        for item in self.inputs[::step]:
            outputs = session.run(item[None])
            findings = finding_probabilities(outputs, 0, bundle)[0][0]
            score = ood.score(outputs.embedding[0], outputs.logits[0], 0.0)
            logs = np.log(np.maximum(findings, _LEAST))
            # Moving all findings alike moves no probability.
            rows.append([*(logs - np.median(logs)), log_odds_of(score)])
        return np.array(rows)


@dataclass(frozen=True)
class _Judged:
    """What a graph says of N labelled slices, and of pictures that are no brain MRI.

    `again` is the share of the slices that float32 judged.
    """

    records: Sequence[Record]
    decisions: Sequence[Decision]
    ood: Sequence[Decision]
    again: float


def quantise(
    folder: Path, config: QuantisationConfig, say: Callable[[str], None] = print
) -> FastPath:
    """Make a bundle's graph in int8, measure it, and put it into the bundle.

    Parameters
    ----------
    folder
        Folder of the bundle.
    config
        What it is calibrated and measured on.
    say
        Receives lines of progress.

    Returns
    -------
    FastPath
        The first graph whose agreement holds the limits; it is in the bundle.

    Raises
    ------
    BundleError
        The bundle does not verify.
    DatasetError
        There is nothing to calibrate or to measure on.
    TrainingError
        No graph holds the limits, and the bundle is as it was; or it judges whole
        series.
    """
    bundle = load_bundle(folder)
    if bundle.judges != "slices":
        raise TrainingError(
            f"The model in {folder} judges whole series; int8 is for models of slices.",
            "Give a bundle that judges slices.",
        )
    with tempfile.TemporaryDirectory() as work:
        say("Measuring the values between layers.")
        # Folds, if any, and the bundle itself, which comes last.
        parts = [
            _Part.open(item, Path(work) / str(row))
            for row, item in enumerate(_shares(bundle, config))
        ]
        own = parts[-1]
        # Exports number their nodes anew: convolutions are known by their places.
        if len({len(part.convolutions) for part in parts}) > 1:
            raise TrainingError(
                f"The folds in {config.folds} are of another network than {folder}.",
                "Give the folder of the folds that the bundle was made of.",
            )
        first = pick(own.share.measured, _FIRST_SLICES)
        plain_first = _judge(own, Session(bundle), say, first)
        plain: list[_Judged] = []
        ranked: list[int] = []
        for count in (item for item in FEWER_IN_INT8 if item < len(own.convolutions)):
            if count and not ranked:
                say("Measuring which convolutions change the probabilities most.")
                ranked = _most_sensitive(own)
            places = ranked[:count]
            say(f"int8, {count} convolutions left in float32:")
            own.quantise(places)
            for covered in COVERED:
                quick_first = _judge(own, own.session(covered), say, first)
                equal = _equal_share(plain_first, quick_first)
                say(
                    f"  Margins of {covered:.0%} of the errors: of {len(first)} "
                    f"decisions {equal:.1%} agree, and float32 has to judge "
                    f"{quick_first.again:.1%} again."
                )
                if quick_first.again > MOST_AGAIN:
                    break
                if equal < LEAST_EQUAL:
                    continue
                plain = plain or [
                    _judge(x, Session(x.share.bundle), say) for x in parts
                ]
                quick = []
                for part in parts:
                    part.quantise(places)
                    quick.append(_judge(part, part.session(covered), say))
                agreements = _agreements(parts, plain, quick)
                for line in agreement_lines(agreements):
                    say(line)
                if any(item.shortfalls() for item in agreements):
                    continue
                graph = own.folder / INT8_FILE
                path = FastPath(
                    INT8_FILE,
                    sha256_of(graph),
                    own.names(places),
                    own.margins(covered),
                    agreements,
                )
                record_path(folder, INT8, graph, path)
                return path
    raise TrainingError(
        f"No graph in int8 decides as float32 does; {folder} is as it was.",
        "More calibration slices may help (--calibration-slices).",
    )


def agreement_lines(agreements: Sequence[Agreement]) -> list[str]:
    """Say how well a graph agrees, line by line."""
    lines = []
    for item in agreements:
        lines.append(
            f"  {item.measured_on}: {item.slices} slices of {item.patients} patients, "
            f"equal decisions {100 * item.equal_decisions:.2f} %, "
            f"{100 * item.judged_again:.1f} % judged again by float32, "
            f"AUROC {item.auroc_change:+.5f}, ECE {item.ece_change:+.5f}, "
            f"AUROC of the domain score {item.ood_auroc_change:+.5f}"
        )
        lines += [f"  {text}" for text in item.shortfalls()]
    return lines


def time_ratio(folder: Path, threads: int) -> float:
    """Time int8 against float32 on this machine: below 1 where int8 is faster.

    Passes of slices that float32 judges again count.
    """
    bundle = load_bundle(folder)
    names = (MODEL_FILE, bundle.paths[INT8].file)
    plain, quick = time_graphs(
        [folder / name for name in names], threads, bundle.preprocessing.size
    )
    return quick / plain + bundle.paths[INT8].judged_again


def _shares(bundle: Bundle, config: QuantisationConfig) -> list[_Share]:
    """Deal the manifest's rows; the bundle itself comes last."""
    manifest = read_manifest(config.manifest, may_be_own=True)
    rows = [
        row
        for row in manifest
        if (row.label or row.lesion) and not row.train_only and not row.flag
    ]
    flagged = [row for row in manifest if row.flag == CT_FLAG]
    if config.folds is None:
        return [_held_out_share(bundle, rows, flagged, config)]
    parts = []
    bundles = fold_bundles(config.folds)
    each = max(1, config.ood_of_each_kind // len(bundles))
    pictures: list[Slice] = []
    for fold, place in bundles.items():
        own = [row for row in rows if row.fold == fold]
        others = [row for row in rows if row.fold != fold]
        if not own:
            raise DatasetError(
                f"{config.manifest} has no slice of fold {fold}.",
                "Give the manifest that the folds were trained with.",
            )
        of_fold = load_bundle(place)
        _check_left_out(of_fold, own)
        ct = [row for row in flagged if row.fold == fold]
        shown = [x.slice_ for x in gather_ood_pictures(ct, each, fold * each)[0]]
        pictures += shown
        chosen = pick(others, config.calibration_slices)
        parts.append(_Share(CROSS_VALIDATION, of_fold, chosen, own, shown))
    chosen = pick(rows, config.calibration_slices)
    left_out = [row for part in parts for row in part.measured]
    own = pick(left_out, _OWN_SLICES)
    return [*parts, _Share(TRAINED, bundle, chosen, own, pictures)]


def _held_out_share(
    bundle: Bundle,
    rows: Sequence[Record],
    flagged: Sequence[Record],
    config: QuantisationConfig,
) -> _Share:
    shaped = bundle.provenance.get("patients", {})
    known = {
        name for split in ("train", "validation") for name in shaped.get(split, ())
    }
    training = [row for row in rows if row.patient in known]
    # Who is not named may have shaped it.
    measured = [row for row in rows if row.patient and row.patient not in known]
    if not training or not measured:
        raise DatasetError(
            f"{config.manifest} has {len(training)} slices of patients who shaped the "
            f"model, to calibrate on, and {len(measured)} of others, to measure on.",
            "Give the manifest that it was trained with, and --folds where every "
            "patient in it trained the model.",
        )
    shown = gather_ood_pictures(flagged, config.ood_of_each_kind)[0]
    chosen = pick(training, config.calibration_slices)
    pictures = [item.slice_ for item in shown]
    return _Share(HELD_OUT, bundle, chosen, measured, pictures)


def _check_left_out(bundle: Bundle, rows: Sequence[Record]) -> None:
    trained = set(bundle.provenance.get("patients", {}).get("train", ()))
    seen = trained & {row.patient for row in rows if row.patient}
    if seen:
        raise DatasetError(
            f"{bundle.folder} was trained on {len(seen)} patients that it should have "
            f"left out, such as {min(seen)!r}.",
            "Give the manifest that the folds were trained with.",
        )


def _inputs(records: Sequence[Record], bundle: Bundle) -> Inputs:
    """Prepare slices for the network, shape (N, size, size, 3)."""
    slices = (read_labelled_slice(row) for row in records)
    pixels = [
        prepare_slice(item, (), bundle.preprocessing).pixels
        for item in slices
        if item is not None
    ]
    if not pixels:
        raise DatasetError(
            "None of the slices to calibrate on can be read.",
            "Run `tumorlens data audit` on the manifest to see why.",
        )
    return np.stack(pixels)


class _Reader(CalibrationDataReader):
    """Hands inputs to the calibration, one by one."""

    def __init__(self, inputs: Inputs) -> None:
        self._rest = iter(inputs)

    def get_next(self) -> dict[str, Inputs] | None:
        item = next(self._rest, None)
        return None if item is None else {INPUT_NAME: item[None]}


def calibrate_graph(source: Path, inputs: Inputs) -> TensorsData:
    """Measure between which values everything in a graph lies.

    Parameters
    ----------
    source
        Folded, with the shapes of its values.
    inputs
        Shape (N, size, size, 3), float32, in [0, 1].

    Returns
    -------
    TensorsData
        Least and largest value, by name of the tensor.
    """
    calibrator = create_calibrator(
        source,
        _QUANTISED,
        augmented_model_path=str(source.with_suffix(".ranges.onnx")),
        calibrate_method=CalibrationMethod.MinMax,
    )
    calibrator.collect_data(_Reader(inputs))
    return calibrator.compute_data()


def quantise_graph(
    source: Path,
    target: Path,
    ranges: TensorsData,
    float32_nodes: Sequence[str] = (),
    only: Sequence[str] = (),
) -> None:
    """Write a graph's convolutions in int8, between pairs of (de)quantising nodes.

    Parameters
    ----------
    source, target
        Files; the source is folded, with the shapes of its values.
    ranges
        Result of `calibrate_graph`.
    float32_nodes
        Names of nodes that stay as they are.
    only
        Names of the only nodes to quantise; none for all of them.
    """
    model = onnx.load(source)
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=list(only),
        nodes_to_exclude=[*_last_layers(model.graph), *float32_nodes],
        op_types_to_quantize=list(_QUANTISED),
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(target), False)


def _last_layers(graph: onnx.GraphProto) -> list[str]:
    """List the nodes after which no convolution comes: their steps would show."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    before_a_convolution: set[str] = set()
    last = []
    for node in reversed(graph.node):
        following = [item for name in node.output for item in readers.get(name, [])]
        if any(
            item.op_type == "Conv" or item.name in before_a_convolution
            for item in following
        ):
            before_a_convolution.add(node.name)
        else:
            last.append(node.name)
    return last


def _convolutions(path: Path) -> tuple[str, ...]:
    graph = onnx.load(path).graph
    last = set(_last_layers(graph))
    return tuple(
        node.name
        for node in graph.node
        if node.op_type == "Conv" and node.name not in last
    )


def _most_sensitive(part: _Part) -> list[int]:
    """Rank places of convolutions by how much each alone changes probabilities."""
    step = max(1, len(part.inputs) // _SENSITIVITY_SLICES)
    exact = part.log_odds(Session(part.share.bundle), step)
    changes = []
    for place in range(len(part.convolutions)):
        part.quantise((), only=[place])
        log_odds = part.log_odds(part.session(), step)
        changes.append(float(np.abs(log_odds - exact).mean()))
    return [int(place) for place in np.argsort(changes)[::-1]]


def _judge(
    part: _Part,
    session: Session,
    say: Callable[[str], None],
    rows: Sequence[Record] | None = None,
) -> _Judged:
    """Judge as users' slices are judged; by default all that it is measured on."""
    share = part.share
    rows = share.measured if rows is None else rows
    ood = OodModel.load(share.bundle.folder / OOD_FILE)
    classifier = Classifier(share.bundle, session, ood)
    say(f"Judging {len(rows)} slices in {session.precision}.")
    records: list[Record] = []
    decisions: list[Decision] = []
    by_float32 = 0
    for start in range(0, len(rows), _AT_A_TIME):
        chosen = rows[start : start + _AT_A_TIME]
        shown = [(row, read_labelled_slice(row)) for row in chosen]
        readable = [item for _, item in shown if item is not None]
        records += [row for row, item in shown if item is not None]
        for prediction in classifier.predict_slices(readable):
            decisions.append(prediction.decision)
            by_float32 += prediction.model_precision == FLOAT32
    if not records:
        raise DatasetError(
            "None of the slices to measure on can be read.",
            "Run `tumorlens data audit` on the manifest to see why.",
        )
    others = judge_slices(classifier, share.ood)
    return _Judged(records, decisions, others, by_float32 / len(records))


def _agreements(
    parts: Sequence[_Part], plain: Sequence[_Judged], quick: Sequence[_Judged]
) -> tuple[Agreement, ...]:
    """Pool the folds; the bundle's own graph comes by itself."""
    own = _agreement(parts[-1], plain[-1], quick[-1])
    if len(parts) == 1:
        return (own,)
    return (_agreement(parts[0], _pooled(plain[:-1]), _pooled(quick[:-1])), own)


def _pooled(parts: Sequence[_Judged]) -> _Judged:
    slices = [len(part.records) for part in parts]
    return _Judged(
        [row for part in parts for row in part.records],
        [item for part in parts for item in part.decisions],
        [item for part in parts for item in part.ood],
        float(np.average([part.again for part in parts], weights=slices)),
    )


def _agreement(part: _Part, plain: _Judged, quick: _Judged) -> Agreement:
    before, after = (_figures(item, part.share.bundle) for item in (plain, quick))
    return Agreement(
        measured_on=part.share.measured_on,
        slices=len(plain.records),
        patients=len({row.group for row in plain.records}),
        equal_decisions=_equal_share(plain, quick),
        judged_again=quick.again,
        auroc_change=after["auroc"] - before["auroc"],
        ece_change=after["ece"] - before["ece"],
        ood_pictures=len(plain.ood),
        ood_auroc_change=after["ood_auroc"] - before["ood_auroc"],
    )


def _equal_share(plain: _Judged, quick: _Judged) -> float:
    """Share of slices with the same finding and the same kinds."""
    equal = [
        before.finding == after.finding and before.kinds == after.kinds
        for before, after in zip(plain.decisions, quick.decisions, strict=True)
    ]
    return float(np.mean(equal))


def _figures(judged: _Judged, bundle: Bundle) -> dict[str, float]:
    rows = [
        (row.label, item)
        for row, item in zip(judged.records, judged.decisions, strict=True)
        if row.label is not None
    ]
    labels = np.array([bundle.classes.index(label) for label, _ in rows], np.int64)
    probabilities = np.array(
        [[item.raw_probabilities[name] for name in bundle.classes] for _, item in rows]
    )
    shows_tumor = np.array([is_tumor(label) for label, _ in rows], bool)
    if shows_tumor.all() or not shows_tumor.any():
        kinds = Counter(str(label) for label, _ in rows)
        raise DatasetError(
            f"The slices to measure on show one kind alone: {dict(kinds)}.",
            "Give slices with and without a tumour.",
        )
    shown = [*judged.decisions, *judged.ood]
    is_brain = np.arange(len(shown)) < len(judged.decisions)
    return {
        "auroc": auroc(np.array([item.raw_p_tumor for _, item in rows]), shows_tumor),
        "ece": calibration_error(probabilities, labels),
        "ood_auroc": auroc(np.array([item.domain_score for item in shown]), is_brain),
    }
