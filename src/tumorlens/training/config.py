"""Settings of a training run; stored with it, so that it can be repeated.

Tested in `tests/training/test_fit.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from tumorlens.data.manifest import Record, class_names
from tumorlens.data.sources import UNCLEAR_LICENCES
from tumorlens.errors import SettingError
from tumorlens.training.dataset import Sampling

Precision = Literal["float32", "bfloat16"]
_FLOAT32: Precision = "float32"
# Fields that a document may lack, since they came later or hold what is usual.
_USUAL: dict[str, Any] = {
    "open_licences": False,
    "classes": {},
    "precision": _FLOAT32,
    "draw_factors": {},
}

_SHARES = (
    "warmup",
    "final_rate",
    "early_share",
    "strip_share",
    "ema",
    "label_smoothing",
)


@dataclass(frozen=True)
class TrainingConfig:
    """Every choice of a run.

    Parameters
    ----------
    network
        Name in the registry.
    epochs
        Rounds between validations.
    steps_per_epoch, batch_size
        An epoch is so many batches, whatever the size of the set: sampling is
        by chance, so "once through" has no meaning.
    learning_rate
        Learning rate at its peak.
    weight_decay
        Decoupled (AdamW, Loshchilov and Hutter 2019); 0 is plain Adam.
    warmup
        Share of the run in which the rate climbs; then it falls as a cosine.
    final_rate
        Rate at the end, as a share of its peak. A rate that stays high keeps the
        weights on the move, and their average then lies in the middle of a wide
        valley (Izmailov et al. 2018, UAI; Cha et al. 2021, arXiv:2102.08604).
    size, early_size, early_share
        Edge of the input in pixels at the end of the run, and in its first
        share: small pictures teach most of it in half the time.
    sampling
        Sampling of the pictures; see `dataset.sampling_weights`.
    strip_share
        Share of the heads shown without skull.
    transplant_share
        Share of the tumour-free slices that are given a tumour; twice as many
        are given other tumour-free tissue. See `transplant.Transplants`.
    label_smoothing
        Label smoothing of the slice head.
    evidence_loss
        Weight of the evidence head's loss; the slice head's is 1.
    ema
        Momentum of the averaged weights, which are the ones kept.
    patience
        Epochs without a better validation score before the run ends.
    seed
        Seed of everything random.
    open_licences
        Whether sets of mixed or unclear licences teach and calibrate nothing; see
        `tumorlens.data.sources.UNCLEAR_LICENCES`. They are still judged.
    classes
        Classes of the user's own by name, and whether each is a tumour; none for the
        four.
    precision
        Arithmetic of a step: float32, or bfloat16 with weights, heads, losses and
        optimizer in float32 (mixed precision: Micikevicius et al. 2018, ICLR; Kalamkar
        et al. 2019, arXiv:1905.12322). What is kept and served is float32.
    draw_factors
        How much more often slices are drawn than `sampling` says; see
        `dataset.sampling_weights`.
    """

    network: str = "evidence-net"
    epochs: int = 20
    steps_per_epoch: int = 110
    batch_size: int = 24
    learning_rate: float = 6e-4
    weight_decay: float = 1e-2
    warmup: float = 0.06
    final_rate: float = 0.01
    size: int = 224
    early_size: int = 160
    early_share: float = 0.75
    sampling: Sampling = "class-source"
    strip_share: float = 0.3
    transplant_share: float = 0.0
    label_smoothing: float = 0.05
    evidence_loss: float = 1.0
    ema: float = 0.997
    patience: int = 8
    seed: int = 1
    open_licences: bool = False
    # Left out of the hash, which a dict has none of; equality counts it.
    classes: dict[str, bool] = field(default_factory=dict, hash=False)
    precision: Precision = _FLOAT32
    draw_factors: dict[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Refuse values that cannot be.

        Raises
        ------
        SettingError
            Names the field and what it may be.
        """
        for name in ("epochs", "steps_per_epoch", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise SettingError(
                    f"{name} is {getattr(self, name)}.", "Use 1 or more."
                )
        for name in ("size", "early_size"):
            if getattr(self, name) < 32 or getattr(self, name) % 32:
                raise SettingError(
                    f"{name} is {getattr(self, name)}.", "Use a multiple of 32."
                )
        for name in _SHARES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SettingError(f"{name} is {getattr(self, name)}.", "Use 0 to 1.")
        if not 0.0 <= self.transplant_share <= 1.0 / 3.0:
            raise SettingError(
                f"transplant_share is {self.transplant_share}.", "Use 0 to 0.33."
            )
        if self.learning_rate <= 0.0:
            raise SettingError(
                f"learning_rate is {self.learning_rate}.", "Use above 0."
            )
        for source, factor in self.draw_factors.items():
            if not 0.0 < factor < math.inf:
                raise SettingError(
                    f"The draw factor of {source} is {factor}.", "Use above 0."
                )
        for name, known in (("sampling", Sampling), ("precision", Precision)):
            if getattr(self, name) not in get_args(known):
                raise SettingError(
                    f"{name} is '{getattr(self, name)}'.",
                    f"Choose one of: {', '.join(get_args(known))}.",
                )

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, if it does not stop early."""
        return self.epochs * self.steps_per_epoch

    def size_at(self, step: int) -> int:
        """Edge of the input at a step, in pixels."""
        early = step < self.early_share * self.total_steps
        return self.early_size if early else self.size

    def may_use(self, record: Record) -> bool:
        """Tell whether a picture may teach or calibrate, by its set's licence."""
        return not (self.open_licences and record.source in UNCLEAR_LICENCES)

    def for_classes_of(self, records: Sequence[Record]) -> Self:
        """Take the classes over that a manifest's rows are labelled with."""
        own = {str(item): item.is_tumor for item in class_names(records)}
        return replace(self, classes=own)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object; without those that are as usual."""
        document = asdict(self)
        for name in ("classes", "precision", "draw_factors"):
            if document[name] == _USUAL[name]:
                del document[name]
        return document

    def write(self, path: Path) -> None:
        """Write the fields as JSON."""
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises
        ------
        SettingError
            The file is not such a file.
        """
        try:
            document = cast(
                dict[str, Any], json.loads(path.read_text(encoding="utf-8"))
            )
            document = {**_USUAL, **document}
            names = {field.name for field in fields(cls)}
            return cls(**{key: document[key] for key in names})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingError(
                f"{path} is not the config of a run: {error!r}.",
                "Give the config.json that a run wrote, or start again in an empty "
                "folder.",
            ) from error
