"""A federation's plan: what its server asks of every site, as one JSON document.

Tested in `tests/scale/federation/test_site.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

from tumorlens.errors import SettingError
from tumorlens.training.config import TrainingConfig

PLAN, HISTORY, WEIGHTS = "plan.json", "federation.json", "global.weights.h5"
"""Files in the folder of a federation."""

Strategy = Literal["fedavg", "fedprox", "fedadam"]
BatchNorm = Literal["shared", "local", "frozen"]
Aggregation = Literal["mean", "trimmed-mean"]


@dataclass(frozen=True)
class Privacy:
    """Differential privacy of every patient, at every site, for the whole run.

    Parameters
    ----------
    epsilon, delta
        The promise: what leaves the site would have been nearly as likely without any
        one patient (Dwork et al. 2006; Abadi et al. 2016, CCS).
    clip
        Largest norm of one patient's gradient.
    patients_per_step
        Patients drawn in a step, on average (Poisson sampling).
    slices_per_patient
        Slices of a drawn patient that his gradient is the mean of, at most.
    """

    epsilon: float
    delta: float = 1e-5
    clip: float = 1.0
    patients_per_step: int = 16
    slices_per_patient: int = 4

    def __post_init__(self) -> None:
        """Refuse values that cannot be."""
        if not (self.epsilon > 0.0 and 0.0 < self.delta < 1.0 and self.clip > 0.0):
            raise SettingError(
                f"Privacy has epsilon {self.epsilon}, delta {self.delta}, clip "
                f"{self.clip}.",
                "Use epsilon and clip above 0, and delta between 0 and 1.",
            )


@dataclass(frozen=True)
class FederationPlan:
    """Every choice of a federation.

    Parameters
    ----------
    training
        Choices of the training; an epoch of it is a round, with so many steps at
        every site.
    strategy
        ``fedavg`` (McMahan et al. 2017), ``fedprox`` (Li et al. 2020): also holds a
        site's weights near those it was sent, ``fedadam`` (Reddi et al. 2021): the
        server takes the mean update for a gradient.
    proximal
        Weight of that pull, for ``fedprox``.
    server_rate
        The server's learning rate, for ``fedadam``.
    batch_norm
        ``shared``: like all weights. ``local``: batch-norm layers with their statistics
        never leave a site (FedBN, Li et al. 2021). ``frozen``: they stay as the first
        weights have them.
    aggregation
        ``mean`` over sites, weighed by `site.weight_of`; or ``trimmed-mean`` of each
        weight, without the highest and lowest fifth of the sites, at least one each.
    norm_bound
        Largest norm of a site's update; None for three times the median of the sites'.
        With secure aggregation it is needed, and the sites themselves keep it.
    min_sites
        Sites without which no round starts or counts.
    round_timeout
        Seconds that a round waits for its sites.
    secure
        Whether sites send masked weights, of which the server reads only the sum
        (SecAgg+, Bell et al. 2020).
    privacy
        None without differential privacy.
    audit
        Whether the sites' pictures are compared by keyed hashes beforehand, and copies
        are left out of training at all sites but one.
    min_cell
        Patients or slices below which a site sends no count.
    restricted_softmax
        Whether a site's loss leaves out the classes that the site has not. Else a site
        without meningiomas teaches all others that there are none. Not with
        differential privacy, which such facts would bypass.
    """

    training: TrainingConfig = field(default_factory=TrainingConfig)
    strategy: Strategy = "fedavg"
    proximal: float = 0.01
    server_rate: float = 0.01
    batch_norm: BatchNorm = "shared"
    aggregation: Aggregation = "mean"
    norm_bound: float | None = None
    min_sites: int = 2
    round_timeout: float = 3600.0
    secure: bool = False
    privacy: Privacy | None = None
    audit: bool = False
    min_cell: int = 5
    restricted_softmax: bool = True

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises
        ------
        SettingError
            Says what, and what to choose instead.
        """
        for name, kind in (
            ("strategy", Strategy),
            ("batch_norm", BatchNorm),
            ("aggregation", Aggregation),
        ):
            if getattr(self, name) not in get_args(kind):
                raise SettingError(
                    f"{name} is '{getattr(self, name)}'.",
                    f"Choose one of: {', '.join(get_args(kind))}.",
                )
        if self.min_sites < 1 or self.round_timeout <= 0 or self.min_cell < 1:
            raise SettingError(
                f"min_sites is {self.min_sites}, round_timeout {self.round_timeout}, "
                f"min_cell {self.min_cell}.",
                "Use 1 or more.",
            )
        if self.norm_bound is not None and self.norm_bound <= 0:
            raise SettingError(f"norm_bound is {self.norm_bound}.", "Use above 0.")
        if self.aggregation == "trimmed-mean" and self.strategy == "fedadam":
            raise SettingError(
                "A trimmed mean does not go with fedadam.", "Use fedavg or fedprox."
            )
        if self.secure and (
            self.norm_bound is None
            or self.strategy == "fedadam"
            or self.aggregation != "mean"
            or self.min_sites < 3
        ):
            raise SettingError(
                "With secure aggregation the server sees no site's update: it can "
                "neither bound nor trim it.",
                "Give --norm-bound, which the sites keep, and at least 3 --min-sites, "
                "with the mean of fedavg or fedprox.",
            )
        if self.privacy is not None:
            if self.batch_norm != "frozen":
                raise SettingError(
                    "Batch normalisation mixes patients, which differential privacy "
                    "forbids.",
                    "Add --batch-norm frozen.",
                )
            if self.training.transplant_share:
                raise SettingError(
                    "Transplants put one patient's tissue into another's picture, "
                    "which differential privacy forbids.",
                    "Leave --transplant-share out.",
                )

    @property
    def rounds(self) -> int:
        """Rounds of the whole run."""
        return self.training.epochs

    def to_json(self) -> str:
        """Write as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        SettingError
            It is none, or of another version.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if set(document) != {item.name for item in fields(cls)}:
                raise KeyError("other fields than this version's")
            document["training"] = TrainingConfig(**document["training"])
            if document["privacy"] is not None:
                document["privacy"] = Privacy(**document["privacy"])
            return cls(**document)
        except (ValueError, KeyError, TypeError) as error:
            raise SettingError(
                f"The server's plan cannot be used: {error!r}.",
                "Run the same version of TumorLens at the server and at every site.",
            ) from error

    def write(self, folder: Path) -> None:
        """Write into the folder of a federation, which exists."""
        (folder / PLAN).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the plan of a federation's folder; see `from_json`."""
        try:
            return cls.from_json((folder / PLAN).read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingError(
                f"{folder} holds no federation.",
                "Start it without --resume.",
            ) from error
