"""Tests whether the maps are faithful to the network, which most explainers fail.

Deletion and insertion (Petsiuk et al. 2018, BMVC): the spots that a map marks most are
blurred away first, and the probability of the class should fall at once; or a blurred
picture gets them back first, and it should rise at once.

Parameter randomisation (Adebayo et al. 2018, NeurIPS): learned numbers are shuffled,
and maps are compared with those before. A map that stays the same shows the picture,
not the model. The weights of each layer are permuted, so that their distribution stays
as it was; layers go from the output to the input one after the other (cascading), or
band by band with all others left alone (independent).

Repeatability: whether maps stay put when the picture is taken a little otherwise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.stats import rankdata
from skimage.metrics import structural_similarity

from tumorlens.data.labelled_slices import pick, read_labelled_slice
from tumorlens.data.manifest import Record
from tumorlens.evaluation.scored_slices import MeasuredBundle, share_of_each
from tumorlens.imaging.preprocess.slice import (
    Crop,
    Preprocessing,
    cut,
    normalise_intensity,
    prepare,
    to_picture,
)
from tumorlens.imaging.study import Series, Slice, Study
from tumorlens.inference.bundle.bundle import MODEL_FILE, Bundle
from tumorlens.inference.classifier import Classifier
from tumorlens.inference.slice.decision import (
    RawOutputs,
    calibrated_probabilities,
    class_view,
    pool_evidence,
    sequence_shares,
)
from tumorlens.inference.slice.prediction import cell_probabilities
from tumorlens.inference.slice.session import Session
from tumorlens.statistics import (
    center_map,
    mean_figure,
    pointing,
    read_outline,
    share_figure,
)
from tumorlens.taxonomy import CLASSES, clear_places, is_tumor

MAPS = ("evidence", "gradcam")
"""The maps that are tested, by name."""

_ROWS_AT_A_TIME = 16


@dataclass(frozen=True)
class Case:
    """A tumour slice.

    Parameters
    ----------
    record
        The slice's row of the manifest, with its outline if there is one.
    slice_
        The picture.
    pixels
        Shape (S, S, 3), float32, 0 to 1: the network's input.
    crop
        Place of the input in the picture.
    column
        Index of the class that the served maps of this slice speak of.
    bundle
        The bundle whose maps are asked for.
    """

    record: Record
    slice_: Slice
    pixels: NDArray[np.float32]
    crop: Crop
    column: int
    bundle: Bundle


def read_cases(measured_bundles: Sequence[MeasuredBundle], count: int) -> list[Case]:
    """Draw tumour slices, of as many patients as there are, and read them.

    Parameters
    ----------
    measured_bundles
        Bundles, which say which class their maps speak of, and records: flagged
        ones are left out; those with an outline come before others.
    count
        Largest number of slices, shared evenly by bundles and tumour classes.
    """
    cases = []
    for item in measured_bundles:
        tumors = [name for name in item.classifier.bundle.classes if is_tumor(name)]
        each = share_of_each(count // len(tumors), measured_bundles)
        for label in tumors:
            labelled = [
                row for row in item.records if row.label == label and not row.flag
            ]
            drawn = [row for row in labelled if row.mask is not None]
            for record in pick(drawn or labelled, each):
                slice_ = read_labelled_slice(record)
                if slice_ is not None:
                    cases.append(_case(item.classifier, record, slice_))
    return cases


def by_bundle(cases: Sequence[Case]) -> Iterator[tuple[Bundle, list[Case]]]:
    """Sort cases by whose maps are asked for, in their order."""
    for _, own in groupby(cases, key=lambda case: case.bundle.folder):
        together = list(own)
        yield together[0].bundle, together


def with_network(cases: Sequence[Case]) -> Iterator[tuple[Session, Case]]:
    """Give each case the network whose maps are asked for, loaded once."""
    for bundle, own in by_bundle(cases):
        session = Session(bundle)
        for case in own:
            yield session, case


def _case(classifier: Classifier, record: Record, slice_: Slice) -> Case:
    (judged,) = classifier.predict_study(Study((Series((slice_,)),)))
    pixels, crop = prepare(slice_.pixels, classifier.bundle.preprocessing)
    column = classifier.bundle.findings.index(judged.explanation.explained)
    return Case(record, slice_, pixels, crop, column, classifier.bundle)


def run(session: Session, inputs: NDArray[np.float32]) -> RawOutputs:
    """Run the network on many inputs, a few at a time.

    Parameters
    ----------
    session
        The network.
    inputs
        Shape (N, S, S, 3), float32, 0 to 1; N is at least 1.
    """
    parts = [
        session.run(inputs[start : start + _ROWS_AT_A_TIME])
        for start in range(0, len(inputs), _ROWS_AT_A_TIME)
    ]
    return RawOutputs(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.evidence for part in parts]),
        np.concatenate([part.gradcam for part in parts]),
        np.concatenate([part.embedding for part in parts]),
    )


def draw_maps(
    outputs: RawOutputs, cases: Sequence[Case]
) -> dict[str, NDArray[np.float32]]:
    """Draw both maps of each row, over the network's input, as they are served.

    Parameters
    ----------
    outputs
        N rows.
    cases
        N of them: they say what each row's maps speak of.

    Returns
    -------
    dict
        Maps by the names in `MAPS`, shape (N, g, g) each with a g of its own, not
        negative: probability of the class in each cell, and Grad-CAM.
    """
    rows = np.arange(len(cases))
    columns = [case.column for case in cases]
    shares = [
        cell_probabilities(
            cells, case.column, case.bundle.cells, clear_places(case.bundle.classes)
        )
        for cells, case in zip(outputs.evidence, cases, strict=True)
    ]
    return {
        "evidence": np.stack(shares),
        "gradcam": np.asarray(outputs.gradcam[rows, :, :, columns], np.float32),
    }


def is_constant(heat: NDArray[np.float32]) -> bool:
    """Tell whether a map shows nothing: no spot stands out from the others."""
    return float(np.ptp(heat)) <= 1e-6 * max(float(heat.max()), 1e-6)


_STEPS = 10
_BLUR = 0.12
"""Width of the blur, as a share of the input's side: no lesion is left in it."""

SHARES = tuple((step / _STEPS) ** 2 for step in range(_STEPS + 1))
"""Shares of the input's pixels, denser at the start, where a tumour is used up."""

EARLY = 6
"""Shares up to a quarter: beyond, every order has taken the tumour, and what is
left to see is how much healthy head the network wants."""

ORDERS = (*MAPS, "center", "random")
"""Orders: both maps, always the middle of the head first, and cells at random."""


def measure_deletion(cases: Sequence[Case]) -> dict[str, Any]:
    """Delete and insert by each order, and follow the class's probability.

    Parameters
    ----------
    cases
        At least one case.

    Returns
    -------
    dict
        ``shares`` of pixels; under ``deletion`` and ``insertion``, by order:
        ``curve`` (mean calibrated probability of the class that the maps speak
        of, at each share), ``area`` below it, and ``early`` (mean height over
        the first quarter), both 0 to 1. ``gain_over_center`` and
        ``gain_over_random`` hold, by map, by how much ``area`` and ``early``
        are better: smaller for deletion, larger for insertion, slice by slice.
    """
    curves = np.stack(
        [
            _curves(session, case, row)
            for row, (session, case) in enumerate(with_network(cases))
        ]
    )
    patients = [case.record.group for case in cases]
    heights = {"area": _height(curves, len(SHARES)), "early": _height(curves, EARLY)}
    figures: dict[str, Any] = {"shares": list(SHARES)}
    for way, name in enumerate(("deletion", "insertion")):
        figures[name] = {
            order: {
                "curve": curves[:, way, column].mean(axis=0).tolist(),
                **{
                    key: mean_figure(height[:, way, column], patients)
                    for key, height in heights.items()
                },
            }
            for column, order in enumerate(ORDERS)
        }
        sign = (-1.0, 1.0)[way]
        for column, against in list(enumerate(ORDERS))[len(MAPS) :]:
            figures[name][f"gain_over_{against}"] = {
                order: {
                    key: mean_figure(
                        sign * (height[:, way, row] - height[:, way, column]), patients
                    )
                    for key, height in heights.items()
                }
                for row, order in enumerate(MAPS)
            }
    return figures


def _height(curves: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Mean height of the first `steps` points of each curve, over shares."""
    area = np.trapezoid(curves[..., :steps], SHARES[:steps], axis=-1)
    return np.asarray(area / SHARES[steps - 1])


def _curves(session: Session, case: Case, seed: int) -> NDArray[np.float64]:
    """Probabilities of one case: (2 ways, orders, steps + 1)."""
    grey = case.pixels[:, :, 0]
    blurred = cv2.GaussianBlur(grey, (0, 0), _BLUR * len(grey))
    pictures = []
    ranks = [_ranks(item, seed) for item in _order_maps(session, case, seed).values()]
    for kept, lost in ((blurred, grey), (grey, blurred)):
        for rank in ranks:
            for share in SHARES:
                pictures.append(np.where(rank < share, kept, lost))
    inputs = np.repeat(np.stack(pictures)[..., None], 3, axis=-1)
    outputs = run(session, inputs.astype(np.float32))
    calibration = case.bundle.calibration
    clear = clear_places(case.bundle.classes)
    pooled = pool_evidence(outputs.evidence, calibration.evidence_cells, clear)
    shares = sequence_shares(outputs, case.bundle)
    probabilities = calibrated_probabilities(
        outputs.logits, pooled, calibration, shares
    )
    # A lesion of another kind has no place among the four classes.
    if case.column < len(CLASSES) and not case.bundle.has_own_classes:
        probabilities = class_view(probabilities)
    return probabilities[:, case.column].reshape(2, len(ORDERS), len(SHARES))


def _order_maps(
    session: Session, case: Case, seed: int
) -> Mapping[str, NDArray[np.float32]]:
    """Draw what each of `ORDERS` goes by, over the input: (S, S) each."""
    side = len(case.pixels)
    drawn = draw_maps(run(session, case.pixels[None]), [case])
    # Cells as large as the evidence's: single pixels at random would be noise,
    # which harms a network more than any hole.
    cells = np.random.default_rng(seed).random(drawn["evidence"].shape[1:])
    return {
        **{name: cv2.resize(grid[0], (side, side)) for name, grid in drawn.items()},
        "center": center_map(Crop(0, 0, side), side, side),
        "random": cv2.resize(cells.astype(np.float32), (side, side)),
    }


def _ranks(heat: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Give each pixel's place in the order, 0 to 1; ties fall at random."""
    chance = np.random.default_rng((seed, 1)).random(heat.size)
    order = np.lexsort((chance, -heat.ravel()))
    places = np.empty(heat.size)
    places[order] = np.arange(heat.size) / heat.size
    return places.reshape(heat.shape)


_BANDS = 5
_DRAWS = 3
_EDGE = 56
"""Maps are compared in structure at this size, in cells."""

Maps = Mapping[str, NDArray[np.float32]]
Likeness = Mapping[str, NDArray[np.float64]]
"""Likeness of each case's maps before and after, by map and measure."""


@dataclass(frozen=True)
class _Trained:
    """A network, its bands of layers, output first, and its maps of some cases."""

    bundle: Bundle
    model: onnx.ModelProto
    bands: Sequence[Sequence[Sequence[str]]]
    cases: Sequence[Case]
    maps: Maps


def measure_randomisation(
    cases: Sequence[Case], say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Compare maps before and after the network's weights are shuffled.

    Parameters
    ----------
    cases
        At least one case. The networks, of one kind, are copied, never changed.
    say
        Receives lines of progress.

    Returns
    -------
    dict
        ``cascading`` and ``independent``: a list of stages, output first, each
        with the ``layers`` it shuffles and, by map, ``spearman`` (rank
        correlation cell by cell) and ``ssim`` (structural similarity, Wang et
        al. 2004), means over three shuffles. ``other_patient`` holds the same
        between maps of different patients by the trained network: what any two
        maps have in common. A map that shuffling leaves without any contrast
        counts as 0; slices whose trained map has none are left out.
    """
    networks = [_trained(bundle, own) for bundle, own in by_bundle(cases)]
    patients = [case.record.group for case in cases]
    figures: dict[str, Any] = {"cascading": [], "independent": []}
    bands = len(networks[0].bands)
    for row in range(bands):
        say(f"Shuffling weights: stage {row + 1} of {bands}.")
        for name, chosen in (
            ("cascading", slice(row + 1)),
            ("independent", slice(row, row + 1)),
        ):
            shuffled = [
                _pooled([_after_shuffle(item, chosen, seed) for item in networks])
                for seed in range(_DRAWS)
            ]
            layers = sum(len(band) for band in networks[0].bands[chosen])
            figures[name].append({"layers": layers, **_stage(shuffled, patients)})
    others = _pooled([_other_patients(item) for item in networks])
    figures["other_patient"] = _stage([others], patients)
    return figures


def _trained(bundle: Bundle, cases: Sequence[Case]) -> _Trained:
    model = onnx.load(str(bundle.folder / MODEL_FILE))
    layers = learned_layers(model)
    rows = np.array_split(np.arange(len(layers)), min(_BANDS, len(layers)))
    bands = [[layers[row] for row in part] for part in rows]
    return _Trained(bundle, model, bands, cases, _maps_of(bundle, model, cases))


def _after_shuffle(network: _Trained, chosen: slice, seed: int) -> Likeness:
    """Shuffle some bands, and compare the maps with those before."""
    layers = [layer for band in network.bands[chosen] for layer in band]
    model = shuffle(network.model, layers, seed)
    return _likeness(network.maps, _maps_of(network.bundle, model, network.cases))


def _other_patients(network: _Trained) -> Likeness:
    """Set each case's maps beside those of the nearest case before of another patient.

    NaN where all cases are of one patient: then there is nothing to set beside.
    """
    groups = np.array([case.record.group for case in network.cases])
    pairs = []
    for row, group in enumerate(groups):
        others = np.flatnonzero(np.roll(groups, -row)[::-1] != group)
        pairs.append(row - 1 - others[0] if others.size else row)
    likeness = _likeness(
        network.maps, {name: values[pairs] for name, values in network.maps.items()}
    )
    alone = np.array(pairs) == np.arange(len(groups))
    return {key: np.where(alone, np.nan, values) for key, values in likeness.items()}


def _pooled(parts: Sequence[Likeness]) -> Likeness:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def learned_layers(model: onnx.ModelProto) -> list[list[str]]:
    """List the learned numbers of a network, layer by layer, output first.

    Parameters
    ----------
    model
        The network, whose graph holds what it learned as initialisers.

    Returns
    -------
    list of list of str
        Names of initialisers by the node that reads them first; floats of more
        than one number (single ones are limits and scales), but for the factors by
        which a map is enlarged.
    """
    sizes = {
        name
        for node in model.graph.node
        if node.op_type == "Resize"
        for name in node.input
    }
    learned = {
        item.name
        for item in model.graph.initializer
        if item.data_type == onnx.TensorProto.FLOAT and np.prod(item.dims) > 1
    } - sizes
    layers = []
    # ONNX lists nodes so that each comes after what it reads.
    for node in model.graph.node:
        names = [name for name in node.input if name in learned]
        learned -= set(names)
        if names:
            layers.append(names)
    return layers[::-1]


def shuffle(
    model: onnx.ModelProto, layers: Sequence[Sequence[str]], seed: int
) -> onnx.ModelProto:
    """Copy a network with the numbers of some layers permuted.

    Parameters
    ----------
    model
        Left as it is.
    layers
        Result of `learned_layers`.
    seed
        The same seed permutes alike.
    """
    names = {name for layer in layers for name in layer}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    rng = np.random.default_rng(seed)
    for item in copy.graph.initializer:
        if item.name in names:
            values = numpy_helper.to_array(item)
            mixed = rng.permutation(values.ravel()).reshape(values.shape)
            item.CopyFrom(numpy_helper.from_array(mixed, item.name))
    return copy


def _maps_of(bundle: Bundle, model: onnx.ModelProto, cases: Sequence[Case]) -> Maps:
    """Draw the maps of the class that the trained network's maps speak of."""
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / MODEL_FILE)
        session = Session(replace(bundle, folder=Path(folder)))
        outputs = run(session, np.stack([case.pixels for case in cases]))
    return draw_maps(outputs, cases)


def _likeness(before: Maps, after: Maps) -> Likeness:
    """Rank correlation and structural similarity of each case's maps."""
    likeness = {}
    for name in MAPS:
        pairs = list(zip(before[name], after[name], strict=True))
        likeness[f"{name}_spearman"] = np.array([spearman(*pair) for pair in pairs])
        likeness[f"{name}_ssim"] = np.array([_structure(*pair) for pair in pairs])
    return likeness


def spearman(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Correlate the ranks of two maps of one shape.

    Returns
    -------
    float
        -1 to 1; 0 where the second is constant, NaN where the first is: a map
        that shows nothing has no likeness to lose.
    """
    if is_constant(first):
        return float("nan")
    if is_constant(second):
        return 0.0
    ranks = [rankdata(item.ravel()) for item in (first, second)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _structure(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Structural similarity of two maps, each scaled to its own peak."""
    if is_constant(first):
        return float("nan")
    if is_constant(second):
        return 0.0
    scaled = [cv2.resize(item / item.max(), (_EDGE, _EDGE)) for item in (first, second)]
    return float(structural_similarity(scaled[0], scaled[1], data_range=1.0))


def _stage(likenesses: Sequence[Likeness], patients: Sequence[str]) -> dict[str, Any]:
    return {
        name: {
            kind: mean_figure(
                np.mean([item[f"{name}_{kind}"] for item in likenesses], axis=0),
                patients,
            )
            for kind in ("spearman", "ssim")
        }
        for name in MAPS
    }


SHIFTS = (0.02, 0.05)
"""Shifts as shares of the head's square, in each of four directions."""

TURNS = (-8.0, -3.0, 3.0, 8.0)
"""Turns in degrees."""

SAME_SPOT = 10.0
"""A peak that moves by less, in per cent of the head, has stayed."""

_COMPARED = 0.42
"""Radius of the disc in which maps are compared, as a share of the square."""

Map = NDArray[np.float32]


def measure_repeatability(cases: Sequence[Case]) -> dict[str, Any]:
    """Shift and turn slices a little, lay their maps back, and compare.

    Parameters
    ----------
    cases
        At least one case.

    Returns
    -------
    dict
        ``shift`` (the square around the head was found a little off; the
        network sees other pixels) and ``turn`` (the head was held a little
        otherwise): by map, ``correlation`` (Pearson, over the middle of the
        head) of the map and the one laid back, ``peak_moved`` in per cent of
        the head's size, and ``peak_stayed``, the share that moved by less than
        10 per cent. Slices whose map shows nothing are left out.
    """
    patients = [case.record.group for case in cases]
    rows = [_compare_views(session, case) for session, case in with_network(cases)]
    figures: dict[str, Any] = {}
    for way, name, key in rows[0]:
        values = np.array([row[way, name, key] for row in rows])
        of_map = figures.setdefault(way, {}).setdefault(name, {})
        of_map[key] = mean_figure(values, patients)
    return figures


def _compare_views(session: Session, case: Case) -> dict[tuple[str, str, str], float]:
    """Mean over all shifts, and over all turns, of one case."""
    facts = case.bundle.preprocessing
    first = _laid_back(session, case, case.pixels, case.crop)
    head = case.crop.side / (1.0 + 2.0 * facts.margin)
    middle = _disc(case)
    values = {}
    for way, others in (
        ("shift", list(_shifted(session, facts, case))),
        ("turn", list(_turned(session, facts, case))),
    ):
        for name in MAPS:
            empty = is_constant(first[name])
            moved = np.array(
                [100.0 * _gap(first[name], item[name]) / head for item in others]
            )
            alike = [_correlation(first[name], item[name], middle) for item in others]
            for key, value in (
                ("correlation", np.mean(alike)),
                ("peak_moved", moved.mean()),
                ("peak_stayed", (moved < SAME_SPOT).mean()),
            ):
                values[way, name, key] = float("nan") if empty else float(value)
    return values


def _laid_back(session: Session, case: Case, pixels: Map, crop: Crop) -> dict[str, Map]:
    """Lay both maps over the picture: (H, W) each."""
    drawn = draw_maps(run(session, pixels[None]), [case])
    height, width = case.slice_.height, case.slice_.width
    return {
        name: to_picture(grid[0], crop, height, width) for name, grid in drawn.items()
    }


def _shifted(
    session: Session, facts: Preprocessing, case: Case
) -> Iterator[dict[str, Map]]:
    lifted = case.slice_.pixels - case.slice_.pixels.min()
    for share in SHIFTS:
        step = max(1, round(share * case.crop.side))
        for x, y in ((step, 0), (-step, 0), (0, step), (0, -step)):
            crop = Crop(case.crop.x + x, case.crop.y + y, case.crop.side)
            square = normalise_intensity(cut(lifted, crop, facts.size), facts)
            pixels = np.repeat(square[..., None], 3, axis=-1)
            yield _laid_back(session, case, pixels, crop)


def _turned(
    session: Session, facts: Preprocessing, case: Case
) -> Iterator[dict[str, Map]]:
    lifted = case.slice_.pixels - case.slice_.pixels.min()
    size = (case.slice_.width, case.slice_.height)
    for degrees in TURNS:
        turn = cv2.getRotationMatrix2D(_middle(case.crop), degrees, 1.0)
        turned = np.asarray(cv2.warpAffine(lifted, turn, size), np.float32)
        pixels, crop = prepare(turned, facts)
        drawn = _laid_back(session, case, pixels, crop)
        back = cv2.getRotationMatrix2D(_middle(case.crop), -degrees, 1.0)
        yield {
            name: np.asarray(cv2.warpAffine(item, back, size), np.float32)
            for name, item in drawn.items()
        }


def _middle(crop: Crop) -> tuple[float, float]:
    return crop.x + 0.5 * crop.side, crop.y + 0.5 * crop.side


def _disc(case: Case) -> NDArray[np.bool_]:
    """Mark the part of the picture that every shift and turn still shows."""
    x, y = _middle(case.crop)
    rows, columns = np.ogrid[: case.slice_.height, : case.slice_.width]
    reach = _COMPARED * case.crop.side
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= reach**2)


def _correlation(first: Map, second: Map, where: NDArray[np.bool_]) -> float:
    """Pearson's; 0 where a map is constant there."""
    pair = first[where], second[where]
    if any(is_constant(item) for item in pair):
        return 0.0
    return float(np.corrcoef(*pair)[0, 1])


def _gap(first: Map, second: Map) -> float:
    """Distance between the peaks of two maps, in pixels."""
    (y, x), (other_y, other_x) = (
        np.unravel_index(int(item.argmax()), item.shape) for item in (first, second)
    )
    return float(np.hypot(int(y) - int(other_y), int(x) - int(other_x)))


_CASES = 60


def measure_faithfulness(
    measured_bundles: Sequence[MeasuredBundle],
    say: Callable[[str], None] = print,
    count: int = _CASES,
) -> dict[str, Any]:
    """Test the evidence map and Grad-CAM on tumour slices.

    Parameters
    ----------
    measured_bundles
        Bundles, of networks of one kind, and records: plain tumour slices are drawn
        from, those with an outline first.
    say
        Receives lines of progress.
    count
        Slices at most, shared evenly by the bundles and between the tumour classes.

    Returns
    -------
    dict
        Plain JSON: ``bundles``, ``slices``, ``patients``, and what `measure_agreement`,
        `measure_deletion`, `measure_randomisation` and `measure_repeatability`
        found, under ``agreement``, ``deletion``, ``randomisation`` and
        ``repeatability``; these are left out without tumour slices.
    """
    cases = read_cases(measured_bundles, count)
    figures: dict[str, Any] = {
        "bundles": len(measured_bundles),
        "slices": len(cases),
        "patients": len({case.record.group for case in cases}),
    }
    if not cases:
        return figures
    say(f"Comparing the maps of {len(cases)} tumour slices with outlines.")
    figures["agreement"] = measure_agreement(cases)
    say("Deleting and inserting what the maps mark.")
    figures["deletion"] = measure_deletion(cases)
    say("Shifting and turning slices.")
    figures["repeatability"] = measure_repeatability(cases)
    figures["randomisation"] = measure_randomisation(cases, say)
    return figures


def measure_agreement(cases: Sequence[Case]) -> dict[str, Any]:
    """Compare both maps, and the middle of the head, with outlines.

    Parameters
    ----------
    cases
        Those without an outline are left out.

    Returns
    -------
    dict
        ``slices`` with an outline; by map and for ``center``: ``peak_inside``
        (pointing game, Zhang et al. 2018) and ``dice`` at half of the peak.
        ``gain_over_center`` holds, by map, how much larger both are, slice by
        slice.
    """
    outlined = [case for case in cases if case.record.mask is not None]
    figures: dict[str, Any] = {"slices": len(outlined)}
    if not outlined:
        return figures
    values = np.array(
        [
            _compare_with_outline(session, case)
            for session, case in with_network(outlined)
        ]
    )
    patients = [case.record.group for case in outlined]

    for row, name in enumerate((*MAPS, "center")):
        figures[name] = {
            "peak_inside": share_figure(values[:, row, 0], patients),
            "dice": mean_figure(values[:, row, 1], patients),
        }
    figures["gain_over_center"] = {
        name: {
            key: mean_figure(values[:, row, place] - values[:, -1, place], patients)
            for place, key in enumerate(("peak_inside", "dice"))
        }
        for row, name in enumerate(MAPS)
    }
    return figures


def _compare_with_outline(session: Session, case: Case) -> list[tuple[float, float]]:
    """Peak inside and Dice of both maps and of the middle."""
    assert case.record.mask is not None  # `measure_agreement`
    height, width = case.slice_.height, case.slice_.width
    inside = read_outline(case.record.mask, (height, width))
    drawn = draw_maps(run(session, case.pixels[None]), [case])
    heats = [to_picture(drawn[name][0], case.crop, height, width) for name in MAPS]
    heats.append(center_map(case.crop, height, width))
    return [pointing(heat, inside) for heat in heats]
