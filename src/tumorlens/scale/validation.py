"""A validation over sites: each counts by the protocol, one place merges them.

The protocol is written before the data are looked at, and hashed.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
import math
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal, get_args

import numpy as np

import tumorlens
from tumorlens.data.manifest import Record, column_value, manifest_digest, read_manifest
from tumorlens.errors import DatasetError, OutputError, SettingError
from tumorlens.evaluation.leakage import check_held_out
from tumorlens.evaluation.scored_slices import ScoredSlices, score_records
from tumorlens.experiments.evaluation import (
    METRICS_FILE,
    REPORT_FILE,
    slices_and_patients,
    write_report,
)
from tumorlens.inference.bundle.bundle import read_document
from tumorlens.inference.bundle.facts import FLOAT32
from tumorlens.inference.classifier import load_classifier
from tumorlens.report.page import render_evaluation
from tumorlens.report.validation import (
    ModelName,
    checklist_sections,
    render_sections_pdf,
    validation_sections,
)
from tumorlens.scale.federation.report import merged_sections
from tumorlens.scale.federation.site_counts import (
    as_part,
    merge_counts,
    ratio_figure,
    site_counts,
)
from tumorlens.statistics import Figure

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


SITE = "federated_site"
"""The kind of subgroup that every validation has."""

RATIOS = {
    "sensitivity": "tumor_sensitivity",
    "specificity": "tumor_specificity",
    "accuracy": "accuracy",
}
_Z = NormalDist().inv_cdf(0.975)

Sums = list[float]
"""P, x, n, xx, xn, nn of `site_counts`, over patients."""


def adjusted_p_values(
    p_values: Sequence[float | None], method: Multiplicity
) -> list[float | None]:
    """Correct p values for their number.

    Parameters
    ----------
    p_values
        Values in the protocol's order; None where nothing could be tested, which counts
        as a test that failed.
    method
        ``holm`` (1979) and ``bonferroni`` for any order; ``sequence`` tests each only
        where all before it are met, without further correction; ``none`` corrects
        nothing.

    Returns
    -------
    list
        Values to be compared with the error as it stands, in the same order.
    """
    count = len(p_values)
    filled = [1.0 if p is None else p for p in p_values]
    if method == "bonferroni":
        adjusted = [min(1.0, count * p) for p in filled]
    elif method == "sequence":
        adjusted = [max(filled[: place + 1]) for place in range(count)]
    elif method == "holm":
        adjusted, highest = [1.0] * count, 0.0
        for place, row in enumerate(sorted(range(count), key=filled.__getitem__)):
            highest = max(highest, min(1.0, (count - place) * filled[row]))
            adjusted[row] = highest
    else:
        adjusted = filled
    return [
        None if p is None else corrected
        for p, corrected in zip(p_values, adjusted, strict=True)
    ]


def p_above(figure: Figure | None, margin: float) -> float | None:
    """One-sided p of a figure above a margin, by its interval's width."""
    if figure is None:
        return None
    # The lower half is what is tested; at 1 the upper one has no width.
    error = (figure["value"] - figure["low"]) / _Z
    if error <= 0.0:
        return None
    return 1.0 - NormalDist().cdf((figure["value"] - margin) / error)


def subgroup_tests(
    protocol: Protocol, sites: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Compare every subgroup with the others of its kind, and with the margin.

    Parameters
    ----------
    protocol
        Its plan for subgroups says which figures, which margin and which correction.
    sites
        What `site_counts` made, by the site's name.

    Returns
    -------
    dict
        Plain JSON: the plan, and ``tests``, one for each subgroup and endpoint, with
        ``figure``, ``patients``, ``difference`` (figure minus that of the other
        subgroups of its kind, with its 95 % interval), ``p`` and ``adjusted_p`` of
        the difference (two-sided), and where the plan has a margin ``margin_p`` (one-
        sided), ``adjusted_margin_p`` and ``met``. The correction is over all
        subgroups of all kinds, for each endpoint by itself.
    """
    plan = protocol.subgroups
    kinds = _sums_by_kind(protocol, sites)
    tests: list[dict[str, Any]] = []
    for endpoint in plan.endpoints:
        family = [
            {"kind": kind, "name": name, "endpoint": endpoint, **_compared(parts, name)}
            for kind, by_endpoint in kinds.items()
            for parts in (by_endpoint[endpoint],)
            for name in parts
        ]
        _correct(family, "p", plan.multiplicity)
        if plan.margin is not None:
            for item in family:
                item["margin_p"] = p_above(item["figure"], plan.margin)
            _correct(family, "margin_p", plan.multiplicity)
            for item in family:
                corrected = item["adjusted_margin_p"]
                item["met"] = corrected is not None and corrected < protocol.alpha
        tests += family
    return {
        "endpoints": list(plan.endpoints),
        "margin": plan.margin,
        "multiplicity": plan.multiplicity,
        "alpha": protocol.alpha,
        "tests": tests,
    }


def _sums_by_kind(
    protocol: Protocol, sites: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, Sums]]]:
    """Gather sums by kind, endpoint and subgroup; those of a subgroup over sites."""
    parts_by_kind: dict[str, list[tuple[str, Mapping[str, Any]]]] = {
        SITE: [(name, as_part(counts["all"])) for name, counts in sites.items()]
    }
    for kind in protocol.groups:
        parts_by_kind[kind] = [
            part
            for counts in sites.values()
            for part in sorted(
                counts["groups"].get(kind, {"parts": {}})["parts"].items()
            )
        ]
    sums_by_endpoint: dict[str, dict[str, dict[str, Sums]]] = {}
    for kind, parts in parts_by_kind.items():
        sums_by_endpoint[kind] = {
            endpoint: {} for endpoint in protocol.subgroups.endpoints
        }
        for endpoint, by_name in sums_by_endpoint[kind].items():
            for name, part in parts:
                sums = part["ratios"].get(RATIOS[endpoint])
                if sums is not None:
                    before = by_name.get(name, [0.0] * len(sums))
                    by_name[name] = _added([before, sums])
    return sums_by_endpoint


def _added(rows: Sequence[Sums]) -> Sums:
    return [sum(column) for column in zip(*rows, strict=True)]


def _compared(parts: Mapping[str, Sums], name: str) -> dict[str, Any]:
    figure = ratio_figure(parts[name])
    others = [sums for other, sums in parts.items() if other != name]
    rest = ratio_figure(_added(others)) if others else None
    comparison: dict[str, Any] = {
        "figure": figure,
        "patients": round(parts[name][0]),
        "difference": None,
        "p": None,
    }
    if figure is None or rest is None:
        return comparison
    value = figure["value"] - rest["value"]
    # Patients in several subgroups, as of planes, make this too wide, never too narrow:
    # figures of the same patients rise and fall together.
    error = (_error(figure) ** 2 + _error(rest) ** 2) ** 0.5
    if error > 0.0:
        comparison["difference"] = {
            "value": value,
            "low": max(-1.0, value - _Z * error),
            "high": min(1.0, value + _Z * error),
        }
        comparison["p"] = 2.0 * (1.0 - NormalDist().cdf(abs(value) / error))
    return comparison


def _error(figure: Figure) -> float:
    """Take the wider half of the interval: at 0 and 1 the other has no width."""
    halves = (figure["value"] - figure["low"], figure["high"] - figure["value"])
    return max(halves) / _Z


def _correct(family: Sequence[dict[str, Any]], key: str, method: Multiplicity) -> None:
    corrected = adjusted_p_values([item[key] for item in family], method)
    for item, p in zip(family, corrected, strict=True):
        item[f"adjusted_{key}"] = p


PDF_FILE = "report.pdf"
UNREADABLE = "cannot be read"
SCHEMA = "tumorlens-validation-site/1"

_FIGURES = {
    "sensitivity": "tumor_sensitivity",
    "specificity": "tumor_specificity",
    "accuracy": "accuracy",
    "auroc_tumor": "auroc_tumor",
}
_AGES = ((0, "under 18"), (18, "18 to 39"), (40, "40 to 64"), (65, "65 and over"))
_SIZES = ((0.0, "under 1 %"), (0.01, "1 to 4 %"), (0.04, "over 4 %"))


def count_site(
    protocol: Protocol,
    site: str,
    manifest: Path,
    bundle: Path | None,
    say: Callable[[str], None] = print,
    columns: Path | None = None,
) -> dict[str, Any]:
    """Judge a site's slices by the protocol, and count.

    Parameters
    ----------
    protocol
        The protocol.
    site
        Name of the site; one of the protocol's.
    manifest
        The site's rows.
    bundle
        Folder of the model; None for the shipped one.
    say
        Receives lines of progress.
    columns
        A table (CSV) with a row a patient and the column ``patient``, whose other
        columns the protocol may name; None for those of the manifest alone.

    Returns
    -------
    dict
        Plain JSON, without a row of any patient (schema
        ``tumorlens-validation-site/1``).

    Raises
    ------
    DatasetError
        The site is not in the protocol, the model is another one, the table cannot be
        joined, or no row is left.
    """
    if site not in protocol.sites:
        raise DatasetError(
            f"The protocol has no site '{site}'.",
            f"Use one of: {', '.join(protocol.sites)}.",
        )
    classifier = load_classifier(bundle, precision=FLOAT32)
    classifier.bundle.require_four_classes()
    document = read_document(classifier.bundle.folder)
    model = {key: str(document.get(key, "")) for key in ("name", "version", "digest")}
    if protocol.model_digest not in ("", model["digest"]):
        raise DatasetError(
            f"The protocol is of the model {protocol.model_digest[:12]}, this is "
            f"{model['digest'][:12]}.",
            "Give --model the protocol's bundle.",
        )
    records = read_manifest(manifest)
    if columns is not None:
        records = _joined(records, columns)
    records, excluded = _included(records, protocol)
    if not records:
        raise DatasetError(
            f"The protocol includes no row of {manifest}: {_counted(excluded)}.",
            "Check the split and the columns that the protocol names.",
        )
    say(f"Judging {len(records)} slices; left out: {_counted(excluded)}.")
    scored = score_records(classifier, records, protocol.operating_point, say)
    unreadable = len(records) - len(scored.records)
    if unreadable:
        excluded[UNREADABLE] = unreadable
    return {
        "schema": SCHEMA,
        "site": site,
        "protocol_sha256": protocol.sha256,
        "software": tumorlens.__version__,
        "model": model,
        "operating_point": protocol.operating_point,
        "manifest_sha256": manifest_digest(scored.records),
        "counted_at": _now(),
        "strangers": _strangers(check_held_out(classifier.bundle, scored.records)),
        "excluded": dict(excluded),
        "counts": site_counts(
            scored,
            {name: _group_values(scored, name) for name in protocol.groups},
            protocol.min_cell,
        ),
    }


def _joined(records: Sequence[Record], table: Path) -> list[Record]:
    """Give each row its patient's columns; a patient that is not in it gets none."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{table} cannot be read as CSV: {error}.", "Save it as CSV in UTF-8."
        ) from error
    if not rows or "patient" not in rows[0]:
        raise DatasetError(
            f"{table} has no rows, or no column 'patient'.", "Add a row a patient."
        )
    by_patient = {row["patient"].strip(): row for row in rows}
    if len(by_patient) < len(rows):
        raise DatasetError(f"{table} lists a patient twice.", "Keep one row of each.")
    joined, matches = [], 0
    for record in records:
        # Manifests of several sets put the set's name before a patient's.
        row = by_patient.get(record.patient) or by_patient.get(
            record.patient.partition(":")[2]
        )
        matches += row is not None
        facts = {key: text for key, text in (row or {}).items() if key != "patient"}
        joined.append(replace(record, extra={**record.extra, **facts}))
    if not matches:
        raise DatasetError(
            f"{table} names none of the manifest's patients.",
            "Write them as the manifest's column 'patient' does.",
        )
    return joined


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _strangers(checked: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether the model is new to the slices, without a count of patients."""
    return {
        "held_out": bool(checked["held_out"]),
        "shares_patients": bool(checked["shared_slices"]),
        "has_unnamed_slices": bool(checked["unnamed_slices"]),
        "has_copies": None if checked["copies"] is None else bool(checked["copies"]),
    }


def _included(
    records: Sequence[Record], protocol: Protocol
) -> tuple[list[Record], Counter[str]]:
    kept, excluded = [], Counter[str]()
    for record in records:
        reason = _exclusion(record, protocol)
        if reason:
            excluded[reason] += 1
        else:
            kept.append(record)
    return kept, excluded


def _exclusion(record: Record, protocol: Protocol) -> str:
    if protocol.split not in ("all", record.split):
        return f"not in the split {protocol.split}"
    if record.label is None:
        return "no label"
    if record.flag or record.train_only:
        return "flagged, or for training only"
    for column, values in protocol.inclusion.items():
        if column_value(record, column) not in values:
            return f"{column} not as included"
    return ""


def _group_values(scored: ScoredSlices, name: str) -> list[str]:
    if name == "lesion_size":
        return [
            _band(float(share), _SIZES) if np.isfinite(share) else ""
            for share in scored.outline_shares
        ]
    values = [column_value(record, name) for record in scored.records]
    if name == "age":
        return [
            _band(float(item), _AGES) if _is_number(item) else "" for item in values
        ]
    return values


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _band(value: float, bands: Sequence[tuple[float, str]]) -> str:
    return [name for start, name in bands if value >= start][-1]


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in sorted(reasons.items())) or "none"


# --- Where all sites come together ---


def read_site(path: Path) -> dict[str, Any]:
    """Read what `count_site` made.

    Raises
    ------
    DatasetError
        It is none.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is {document['schema']!r}")
        return document
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} holds no site's counts: {error}.",
            "Give files that `tumorlens validate site` wrote.",
        ) from error


def merge_sites(
    protocol: Protocol, documents: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Merge the sites' counts, name deviations, and test the endpoints.

    Parameters
    ----------
    protocol
        The protocol.
    documents
        What `count_site` made, one a site. Those of another protocol are left out.

    Returns
    -------
    dict
        Plain JSON: what `merge_counts` gives, with ``protocol``, ``sample_size``,
        ``deviations``, ``endpoints``, ``subgroup_tests``, ``sites`` and ``excluded``.

    Raises
    ------
    DatasetError
        No site is left, or one stands there twice.
    """
    names = [str(item["site"]) for item in documents]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DatasetError(f"{twice[0]} stands there twice.", "Give each site once.")
    used = [item for item in documents if item["protocol_sha256"] == protocol.sha256]
    if not used:
        raise DatasetError(
            "No site counted by this protocol.",
            "Give the file that the sites were sent: its SHA-256 is "
            f"{protocol.sha256}.",
        )
    counts = {str(item["site"]): item["counts"] for item in used}
    metrics = merge_counts(counts)
    return {
        "schema": "tumorlens-validation/1",
        "software": tumorlens.__version__,
        "merged_at": _now(),
        "protocol": _decided_beforehand(protocol),
        "model": {**used[0]["model"], "operating_point": protocol.operating_point},
        "sample_size": _sample_size(protocol, metrics),
        "deviations": _deviations(protocol, documents, metrics),
        "endpoints": _endpoints(protocol, metrics),
        "subgroup_tests": subgroup_tests(protocol, counts),
        "sites": {str(item["site"]): _provenance(item) for item in used},
        "excluded": {str(item["site"]): dict(item["excluded"]) for item in used},
        **metrics,
    }


def _decided_beforehand(protocol: Protocol) -> dict[str, Any]:
    return {
        "sha256": protocol.sha256,
        "title": protocol.title,
        "sites": list(protocol.sites),
        "split": protocol.split,
        "inclusion": {name: list(row) for name, row in protocol.inclusion.items()},
        "groups": list(protocol.groups),
        "min_cell": protocol.min_cell,
        "operating_point": protocol.operating_point,
        "reference_standard": protocol.reference_standard,
        "model_digest": protocol.model_digest,
        "planned_patients": protocol.patients,
        "needed_patients": protocol.needed_patients,
        "multiplicity": protocol.multiplicity,
        "alpha": protocol.alpha,
        "statements": dict(protocol.statements),
    }


def _sample_size(protocol: Protocol, metrics: Mapping[str, Any]) -> dict[str, Any]:
    counted = _counted_patients(protocol.primary, metrics)
    return {
        "endpoint": protocol.primary.name,
        "margin": protocol.primary.margin,
        "expected": protocol.expected,
        "alpha": protocol.alpha,
        "power": protocol.power,
        "needed_patients": protocol.needed_patients,
        "planned_patients": protocol.patients,
        "planned_power": protocol.power_of(protocol.patients),
        "counted_patients": counted,
        "counted_power": protocol.power_of(counted),
    }


def _provenance(document: Mapping[str, Any]) -> dict[str, Any]:
    """Tell one site's file from any other, without what it counts."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return {
        "counts_sha256": hashlib.sha256(text.encode()).hexdigest(),
        **{
            key: document.get(key)
            for key in ("counted_at", "software", "manifest_sha256", "strangers")
        },
    }


def _counted_patients(endpoint: Endpoint, metrics: Mapping[str, Any]) -> int:
    """Count patients of the slices that an endpoint rests on."""
    by_class = metrics["classes"]["by_patient"]["classes"]
    numbers = {str(name): int(row["count"]) for name, row in by_class.items()}
    without = numbers["no_tumor"]
    if endpoint.name == "specificity":
        return without
    if endpoint.name == "sensitivity":
        return sum(numbers.values()) - without
    return int(metrics["patients"])


def _deviations(
    protocol: Protocol,
    documents: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Any],
) -> list[str]:
    deviations = []
    names = {str(item["site"]) for item in documents}
    deviations += [
        f"The site {name} has sent nothing."
        for name in protocol.sites
        if name not in names
    ]
    deviations += [
        f"The site {item['site']} counted by another protocol "
        f"({str(item['protocol_sha256'])[:12]}), and is left out."
        for item in documents
        if item["protocol_sha256"] != protocol.sha256
    ]
    models = {str(item["model"]["digest"]) for item in documents}
    if len(models) > 1:
        deviations.append(f"The sites used {len(models)} different models.")
    versions = {str(item["software"]) for item in documents}
    if len(versions) > 1:
        deviations.append(f"The sites used versions {', '.join(sorted(versions))}.")
    patients = _counted_patients(protocol.primary, metrics)
    if patients < protocol.patients:
        deviations.append(
            f"{patients} patients count for the primary endpoint; {protocol.patients} "
            "were planned."
        )
    if protocol.patients < protocol.needed_patients:
        deviations.append(
            f"{protocol.patients} patients were planned; a power of "
            f"{protocol.power:g} needs {protocol.needed_patients}."
        )
    for name, withheld in metrics["withheld"].items():
        if withheld["classes"]:
            classes = ", ".join(withheld["classes"])
            deviations.append(f"The site {name} has too few patients of: {classes}.")
    deviations += [
        f"No site has enough patients in any group of '{kind}'."
        for kind in protocol.groups
        if not (
            metrics["by_source"] if kind == "source" else kind in metrics["subgroups"]
        )
    ]
    return deviations + _doubts(documents)


def _doubts(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name what makes a site's figures say less than a protocol takes for granted."""
    doubts: list[str] = []
    by_manifest: dict[object, str] = {}
    for item in documents:
        name, checked = str(item["site"]), item.get("strangers") or {}
        if checked.get("shares_patients"):
            doubts.append(
                f"Patients of the site {name} trained or tuned the model: its figures "
                "are not of strangers."
            )
        elif checked.get("has_copies"):
            doubts.append(
                f"Pictures of the site {name} are copies of the model's training ones."
            )
        unread = item["excluded"].get(UNREADABLE)
        if unread:
            doubts.append(f"{unread} slices of the site {name} could not be read.")
        digest = item.get("manifest_sha256")
        if digest is not None and digest in by_manifest:
            doubts.append(
                f"The sites {by_manifest[digest]} and {name} sent one data set."
            )
        by_manifest.setdefault(digest, name)
    return doubts


def _endpoints(protocol: Protocol, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Test the primary endpoint, and the others where it is met."""
    tested: list[dict[str, Any]] = [
        {
            "endpoint": item.name,
            "margin": item.margin,
            "figure": metrics[_FIGURES[item.name]],
            "p": p_above(metrics[_FIGURES[item.name]], item.margin),
            "role": role,
        }
        for role, items in (
            ("primary", (protocol.primary,)),
            ("secondary", protocol.secondary),
        )
        for item in items
    ]
    corrected = adjusted_p_values(
        [item["p"] for item in tested[1:]], protocol.multiplicity
    )
    for item, p in zip(tested, [tested[0]["p"], *corrected], strict=True):
        is_open = item is tested[0] or tested[0]["met"]
        item["adjusted_p"] = p
        item["met"] = bool(is_open and p is not None and p < protocol.alpha)
    return tested


def write_validation(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``metrics.json``, ``report.html`` and ``report.pdf``.

    Parameters
    ----------
    result
        What `merge_sites` made.
    folder
        Created where missing.

    Returns
    -------
    list of Path
        The files, to be signed.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    sections = [
        *validation_sections(result),
        *merged_sections(result, None),
        *checklist_sections(result),
    ]
    title = f"Validation: {result['protocol']['title']}"
    model = result["model"]
    subtitle = (
        f"{model['name']}, version {model['version']}: {slices_and_patients(result)}, "
        f"{len(result['sites'])} sites, each figure with its 95 % interval"
    )
    write_report(result, render_evaluation(title, subtitle, sections), folder)
    made = datetime.datetime.fromisoformat(result["merged_at"])
    name = ModelName(model["name"], model["version"])
    data = render_sections_pdf(title, subtitle, sections, name, made)
    try:
        (folder / PDF_FILE).write_bytes(data)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to: {error}.") from error
    return [folder / name for name in (METRICS_FILE, REPORT_FILE, PDF_FILE)]
