"""Every network that `tumorlens train` knows, by name.

Tested in `tests/training/networks/test_contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras

from tumorlens.data.manifest import LEARNED_SEQUENCES, Record
from tumorlens.errors import SettingError
from tumorlens.imaging.study import MRSequence
from tumorlens.inference.bundle.bundle import InputKind
from tumorlens.taxonomy import CLASSES, FINDINGS, Finding, OwnClass, own_classes
from tumorlens.training.config import TrainingConfig
from tumorlens.training.networks import cnn3d, evidence_net, seed_cnn
from tumorlens.training.networks.efficientnet_lite import (
    LITE0,
    LITE2,
    Lite,
    load_imagenet_weights,
)


@dataclass(frozen=True)
class Network:
    """A network and what training must know of it.

    Parameters
    ----------
    build
        Takes the input's edge in pixels, or None for any.
    last_convolution
        Name of the layer whose output is pooled and feeds the dense head:
        what Grad-CAM explains.
    embedding_layers
        Layers whose pooled features make the embedding that the out-of-domain
        score looks at: shallow ones know texture, deep ones content, and what
        is no MRI may differ in either.
    initialise
        Loads weights to start from; None to start from scratch.
    evidence_stride
        Pixels or voxels of the input that one cell of the evidence grid spans.
    frozen
        Blocks, by the first part of their layers' names, that training leaves
        as they were initialised.
    judges
        Kind of input: a slice or a whole volume.
    defaults
        Fields of `TrainingConfig` that start from other values for it.
    findings
        Findings that it tells apart, in the order of its outputs.
    sequences
        MR sequences that it tells apart, in the order of its outputs; none for a
        network without that head.
    """

    build: Callable[..., keras.Model]
    last_convolution: str
    embedding_layers: tuple[str, ...]
    initialise: Callable[[keras.Model], None] | None
    evidence_stride: int
    frozen: tuple[str, ...] = ()
    judges: InputKind = "slices"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = CLASSES
    sequences: tuple[MRSequence, ...] = ()

    @property
    def own_classes(self) -> tuple[OwnClass, ...]:
        """Classes of the user's own that it tells apart; none for the four."""
        return tuple(item for item in self.findings if isinstance(item, OwnClass))

    def learns_from(self, record: Record) -> bool:
        """Tell whether what a picture may show is all among the findings."""
        return bool(record.findings) and set(record.findings) <= set(self.findings)

    def freeze(self, model: keras.Model) -> None:
        """Leave the frozen blocks as they are, normalisation's statistics too."""
        for layer in model.layers:
            if layer.name.partition("_")[0] in self.frozen:
                layer.trainable = False


def _evidence_net(
    name: str,
    lite: Lite,
    findings: tuple[Finding, ...] = CLASSES,
    sequences: tuple[MRSequence, ...] = (),
    defaults: Mapping[str, Any] | None = None,
) -> Network:
    return Network(
        partial(
            evidence_net.build,
            lite=lite,
            name=name,
            findings=findings,
            sequences=len(sequences),
            dropout=evidence_net.DROPOUT_OF_SEQUENCES
            if sequences
            else evidence_net.DROPOUT,
        ),
        evidence_net.LAST_CONVOLUTION,
        evidence_net.embedding_layers(lite),
        partial(load_imagenet_weights, lite=lite),
        evidence_net.EVIDENCE_STRIDE,
        evidence_net.frozen(lite),
        defaults=defaults or {},
        findings=findings,
        sequences=sequences,
    )


NETWORKS: dict[str, Network] = {
    "evidence-net": _evidence_net("evidence-net", LITE0),
    "evidence-net-lite2": _evidence_net("evidence-net-lite2", LITE2),
    "evidence-net-sequences": _evidence_net(
        "evidence-net-sequences",
        LITE0,
        FINDINGS,
        LEARNED_SEQUENCES,
        {"sampling": "class-source-sequence"},
    ),
    "seed-cnn": Network(
        seed_cnn.build,
        seed_cnn.LAST_CONVOLUTION,
        seed_cnn.EMBEDDING_LAYERS,
        None,
        seed_cnn.EVIDENCE_STRIDE,
    ),
    "cnn3d": Network(
        cnn3d.build,
        cnn3d.LAST_CONVOLUTION,
        cnn3d.EMBEDDING_LAYERS,
        None,
        cnn3d.EVIDENCE_STRIDE,
        judges="volumes",
        defaults=cnn3d.DEFAULTS,
    ),
}


def network_of(config: TrainingConfig) -> Network:
    """Look up the network of a run, with the classes of that run.

    Raises
    ------
    SettingError
        No network has that name, or it takes no classes of the user's own.
    """
    network = find_network(config.network)
    if not config.classes:
        return network
    if network.judges != "slices" or network.findings != CLASSES:
        raise SettingError(
            f"{config.network} does not take classes of your own.",
            "Use evidence-net, evidence-net-lite2 or seed-cnn.",
        )
    own = own_classes(config.classes)
    return replace(network, build=partial(network.build, findings=own), findings=own)


def find_network(name: str) -> Network:
    """Look a network up.

    Raises
    ------
    SettingError
        No network has that name.
    """
    if name not in NETWORKS:
        raise SettingError(
            f"There is no network '{name}'.", f"Choose one of: {', '.join(NETWORKS)}."
        )
    return NETWORKS[name]
