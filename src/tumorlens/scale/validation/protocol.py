"""A validation's protocol: written before the data are looked at, and hashed.

Tested in `tests/scale/validation/test_study.py`.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal, get_args

from tumorlens.errors import SettingError

EndpointName = Literal["sensitivity", "specificity", "accuracy", "auroc_tumor"]
Multiplicity = Literal["holm", "bonferroni", "sequence", "none"]

STATEMENTS = (
    *("design", "dates", "sampling", "identification", "data_source", "annotators"),
    *("acquisition", "deidentification", "rationale", "blinding", "interval"),
    *("treatments", "intended_use", "alternatives", "representativeness"),
    *("adverse_events", "limitations", "ethics", "registration", "funding"),
    *("conflicts", "availability", "patient_involvement"),
)
"""What a protocol may state in words; checklists quote it."""

_TOP = {
    *("title", "sites", "split", "operating_point", "reference_standard"),
    *("model_digest", "min_cell", "groups", "inclusion", "primary", "secondary"),
    *("multiplicity", "subgroups", "statements"),
}
_PRIMARY = {"endpoint", "margin", "expected", "power", "alpha", "patients"}
_SECONDARY = {"endpoint", "margin"}
_SUBGROUPS = {"endpoints", "margin", "multiplicity"}


@dataclass(frozen=True)
class Endpoint:
    """A figure that has to lie above a margin.

    Parameters
    ----------
    name
        ``sensitivity`` and ``specificity`` count decisions at the protocol's operating
        point; a slice that is left open misses no tumour and clears none.
    margin
        Non-inferiority: the lower end of the interval has to be above it.
    """

    name: EndpointName
    margin: float

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if self.name not in get_args(EndpointName):
            raise SettingError(
                f"The protocol's endpoint is '{self.name}'.",
                f"Choose one of: {', '.join(get_args(EndpointName))}.",
            )
        if not 0.0 < self.margin < 1.0:
            raise SettingError(
                f"The margin of {self.name} is {self.margin}.", "Use 0 to 1."
            )


@dataclass(frozen=True)
class SubgroupPlan:
    """How subgroups are tested.

    Parameters
    ----------
    endpoints
        Figures that are compared between subgroups.
    margin
        Non-inferiority: what each subgroup's figure has to be above; None where
        subgroups are only compared with the others.
    multiplicity
        How p values are corrected for the number of subgroups.
    """

    endpoints: tuple[EndpointName, ...]
    margin: float | None
    multiplicity: Multiplicity

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in self.endpoints:
            if name not in ("sensitivity", "specificity", "accuracy"):
                raise ValueError(
                    f"subgroups are compared by sensitivity, specificity or accuracy, "
                    f"not by '{name}'"
                )
        if self.margin is not None and not 0.0 < self.margin < 1.0:
            raise ValueError(f"the subgroups' margin is {self.margin}, not 0 to 1")


@dataclass(frozen=True)
class Protocol:
    """What was decided beforehand.

    Parameters
    ----------
    sha256
        SHA-256 of the file, in hex.
    title
        Title of the study.
    sites
        Names of those that take part.
    split
        Rows of each site's manifest that are judged.
    operating_point
        Operating point at which decisions are made.
    reference_standard
        How it is known what a slice shows, in words.
    model_digest
        Digest of the bundle; empty where any may be used.
    min_cell
        Patients below which a site sends no count.
    groups
        Columns whose values are subgroups; ``age`` and ``lesion_size`` are cut into
        fixed bands.
    inclusion
        Values that a row may have, by column.
    primary
        The endpoint that decides.
    expected, power, alpha
        The figure that is expected, the chance to show it, and the one-sided error.
    patients
        Planned patients that the primary endpoint counts.
    secondary
        Endpoints that are tested only where the primary one is met.
    multiplicity
        How the p values of the secondary endpoints are corrected for their number.
    subgroups
        How subgroups are tested.
    statements
        What the software cannot know, in the authors' words, by `STATEMENTS`.
    """

    sha256: str
    title: str
    sites: tuple[str, ...]
    split: str
    operating_point: str
    reference_standard: str
    model_digest: str
    min_cell: int
    groups: tuple[str, ...]
    inclusion: Mapping[str, tuple[str, ...]]
    primary: Endpoint
    expected: float
    power: float
    alpha: float
    patients: int
    secondary: tuple[Endpoint, ...]
    multiplicity: Multiplicity
    subgroups: SubgroupPlan
    statements: Mapping[str, str]

    @property
    def needed_patients(self) -> int:
        """Patients that the primary endpoint needs, by the normal approximation.

        Of one share against a fixed margin (Fleiss, Levin and Paik 2003, section 2.4).
        An area under a curve is taken for a share, which is too many rather than few.
        """
        low, high = self.primary.margin, self.expected
        quantile = NormalDist().inv_cdf
        spread = quantile(1.0 - self.alpha) * math.sqrt(low * (1.0 - low))
        spread += quantile(self.power) * math.sqrt(high * (1.0 - high))
        return math.ceil((spread / (high - low)) ** 2)

    def power_of(self, patients: int) -> float:
        """Chance to meet the primary endpoint with so many patients, 0 to 1.

        The figure is taken to be as expected; the same approximation as
        `needed_patients`.
        """
        low, high = self.primary.margin, self.expected
        reach = (high - low) * math.sqrt(patients)
        reach -= NormalDist().inv_cdf(1.0 - self.alpha) * math.sqrt(low * (1.0 - low))
        return NormalDist().cdf(reach / math.sqrt(high * (1.0 - high)))


def read_protocol(path: Path) -> Protocol:
    """Read a protocol (TOML).

    Raises
    ------
    SettingError
        It cannot be read, lacks something, or says something that is not known.
    """
    try:
        data = path.read_bytes()
        document = tomllib.loads(data.decode("utf-8"))
        return _protocol(document, hashlib.sha256(data).hexdigest())
    except OSError as error:
        raise SettingError(
            f"The protocol {path} cannot be read: {error.strerror}.", "Check the path."
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise SettingError(
            f"The protocol {path} cannot be used: {error}.",
            "See docs/validation.md for what a protocol holds.",
        ) from error


def _protocol(document: dict[str, Any], sha256: str) -> Protocol:
    primary, secondary = document["primary"], document.get("secondary", [])
    subgroups = document.get("subgroups", {})
    statements = document.get("statements", {})
    unknown = (
        (set(document) - _TOP)
        | (set(primary) - _PRIMARY)
        | {key for item in secondary for key in set(item) - _SECONDARY}
        | (set(subgroups) - _SUBGROUPS)
        | (set(statements) - set(STATEMENTS))
    )
    if unknown:
        raise ValueError(f"it has the unknown entry '{min(unknown)}'")
    margin = subgroups.get("margin")
    endpoints = subgroups.get("endpoints", ("sensitivity", "specificity"))
    protocol = Protocol(
        sha256=sha256,
        title=str(document["title"]),
        sites=tuple(str(name) for name in document["sites"]),
        split=str(document.get("split", "test")),
        operating_point=str(document["operating_point"]),
        reference_standard=str(document["reference_standard"]),
        model_digest=str(document.get("model_digest", "")),
        min_cell=int(document.get("min_cell", 5)),
        groups=tuple(str(name) for name in document.get("groups", ())),
        inclusion={
            str(column): tuple(str(value) for value in values)
            for column, values in document.get("inclusion", {}).items()
        },
        primary=Endpoint(primary["endpoint"], float(primary["margin"])),
        expected=float(primary["expected"]),
        power=float(primary.get("power", 0.8)),
        alpha=float(primary.get("alpha", 0.025)),
        patients=int(primary["patients"]),
        secondary=tuple(
            Endpoint(item["endpoint"], float(item["margin"])) for item in secondary
        ),
        multiplicity=_multiplicity(document),
        subgroups=SubgroupPlan(
            tuple(endpoints),
            None if margin is None else float(margin),
            _multiplicity(subgroups),
        ),
        statements={str(key): str(text) for key, text in statements.items()},
    )
    if not protocol.sites or len(set(protocol.sites)) < len(protocol.sites):
        raise ValueError("its sites are missing, or one is named twice")
    if not protocol.primary.margin < protocol.expected < 1.0:
        raise ValueError("the expected figure is not between the margin and 1")
    if not (0.0 < protocol.alpha < 0.5 and 0.0 < protocol.power < 1.0):
        raise ValueError("alpha is 0 to 0.5, and power 0 to 1")
    return protocol


def _multiplicity(table: Mapping[str, Any]) -> Multiplicity:
    name: Multiplicity = table.get("multiplicity", "holm")
    if name not in get_args(Multiplicity):
        raise ValueError(
            f"the multiplicity '{name}' is none of {', '.join(get_args(Multiplicity))}"
        )
    return name
