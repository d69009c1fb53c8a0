"""Measures whether maps depend on what the network has learned.

Parameter randomisation (Adebayo et al. 2018, NeurIPS): learned numbers are
shuffled, and maps are compared with those before. A map that stays the same
shows the picture, not the model. The weights of each layer are permuted, so
that their distribution stays as it was; layers go from the output to the input
one after the other (cascading), or band by band with all others left alone
(independent).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.stats import rankdata
from skimage.metrics import structural_similarity

from tumorlens.evaluation.explanations.cases import (
    MAPS,
    Case,
    by_bundle,
    draw_maps,
    is_constant,
    run,
)
from tumorlens.inference.bundle.bundle import MODEL_FILE, Bundle
from tumorlens.inference.slice.session import Session
from tumorlens.statistics import mean_figure

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
