"""A validation over sites: each counts by the protocol, one place merges them."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

import tumorlens
from tumorlens.data.manifest import (
    Record,
    column_value,
    manifest_digest,
    read_manifest,
)
from tumorlens.errors import DatasetError
from tumorlens.evaluation.scoring.scored_slices import ScoredSlices, score_records
from tumorlens.inference.bundle.bundle import read_document
from tumorlens.inference.classifier import load_classifier
from tumorlens.report.figure_words import figure_text
from tumorlens.report.page_parts import Section, Table
from tumorlens.scale.federation.report import write_federated_report
from tumorlens.scale.federation.site_counts import merge_counts, site_counts
from tumorlens.scale.validation.protocol import Endpoint, Protocol
from tumorlens.statistics.resampling import Figure

SCHEMA = "tumorlens-validation-site/1"

_FIGURES = {
    "sensitivity": "tumor_sensitivity",
    "specificity": "tumor_specificity",
    "accuracy": "accuracy",
    "auroc_tumor": "auroc_tumor",
}
_AGES = ((0, "under 18"), (18, "18 to 39"), (40, "40 to 64"), (65, "65 and over"))
_SIZES = ((0.0, "under 1 %"), (0.01, "1 to 4 %"), (0.04, "over 4 %"))
_Z = NormalDist().inv_cdf(0.975)


def count_site(
    protocol: Protocol,
    site: str,
    manifest: Path,
    bundle: Path | None,
    say: Callable[[str], None] = print,
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

    Returns
    -------
    dict
        Plain JSON, without a row of any patient (schema
        ``tumorlens-validation-site/1``).

    Raises
    ------
    DatasetError
        The site is not in the protocol, the model is another one, or no row is left.
    """
    if site not in protocol.sites:
        raise DatasetError(
            f"The protocol has no site '{site}'.",
            f"Use one of: {', '.join(protocol.sites)}.",
        )
    classifier = load_classifier(bundle)
    classifier.bundle.require_four_classes()
    document = read_document(classifier.bundle.folder)
    model = {key: str(document.get(key, "")) for key in ("name", "version", "digest")}
    if protocol.model_digest not in ("", model["digest"]):
        raise DatasetError(
            f"The protocol is of the model {protocol.model_digest[:12]}, this is "
            f"{model['digest'][:12]}.",
            "Give --model the protocol's bundle.",
        )
    records, excluded = _included(read_manifest(manifest), protocol)
    if not records:
        raise DatasetError(
            f"The protocol includes no row of {manifest}: {_counted(excluded)}.",
            "Check the split and the columns that the protocol names.",
        )
    say(f"Judging {len(records)} slices; left out: {_counted(excluded)}.")
    scored = score_records(classifier, records, protocol.operating_point, say)
    unreadable = len(records) - len(scored.records)
    if unreadable:
        excluded["cannot be read"] = unreadable
    return {
        "schema": SCHEMA,
        "site": site,
        "protocol_sha256": protocol.sha256,
        "software": tumorlens.__version__,
        "model": model,
        "operating_point": protocol.operating_point,
        "manifest_sha256": manifest_digest(scored.records),
        "counted_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "excluded": dict(excluded),
        "counts": site_counts(
            scored,
            {name: _group_values(scored, name) for name in protocol.groups},
            protocol.min_cell,
        ),
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
        Plain JSON: what `merge_counts` gives, with ``protocol``, ``deviations``,
        ``endpoints`` and ``excluded``.

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
    metrics = merge_counts({str(item["site"]): item["counts"] for item in used})
    model = used[0]["model"]
    endpoints = _endpoints(protocol, metrics)
    return {
        "schema": "tumorlens-validation/1",
        "protocol": {
            "sha256": protocol.sha256,
            "title": protocol.title,
            "sites": list(protocol.sites),
            "operating_point": protocol.operating_point,
            "reference_standard": protocol.reference_standard,
            "planned_patients": protocol.patients,
            "needed_patients": protocol.needed_patients,
        },
        "model": {**model, "operating_point": protocol.operating_point},
        "deviations": _deviations(protocol, documents, metrics),
        "endpoints": endpoints,
        "excluded": {str(item["site"]): dict(item["excluded"]) for item in used},
        **metrics,
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
    found = []
    names = {str(item["site"]) for item in documents}
    found += [
        f"The site {name} has sent nothing."
        for name in protocol.sites
        if name not in names
    ]
    found += [
        f"The site {item['site']} counted by another protocol "
        f"({str(item['protocol_sha256'])[:12]}), and is left out."
        for item in documents
        if item["protocol_sha256"] != protocol.sha256
    ]
    models = {str(item["model"]["digest"]) for item in documents}
    if len(models) > 1:
        found.append(f"The sites used {len(models)} different models.")
    versions = {str(item["software"]) for item in documents}
    if len(versions) > 1:
        found.append(f"The sites used versions {', '.join(sorted(versions))}.")
    patients = _counted_patients(protocol.primary, metrics)
    if patients < protocol.patients:
        found.append(
            f"{patients} patients count for the primary endpoint; {protocol.patients} "
            "were planned."
        )
    if protocol.patients < protocol.needed_patients:
        found.append(
            f"{protocol.patients} patients were planned; a power of "
            f"{protocol.power:g} needs {protocol.needed_patients}."
        )
    for name, withheld in metrics["withheld"].items():
        if withheld["classes"]:
            classes = ", ".join(withheld["classes"])
            found.append(f"The site {name} has too few patients of: {classes}.")
    return found


def _endpoints(protocol: Protocol, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Test the primary endpoint, then the others (Holm 1979) where it is met."""
    tested = [
        {
            "endpoint": item.name,
            "margin": item.margin,
            "figure": metrics[_FIGURES[item.name]],
            "p": _p_value(metrics[_FIGURES[item.name]], item.margin),
        }
        for item in (protocol.primary, *protocol.secondary)
    ]
    primary, others = tested[0], tested[1:]
    primary |= {"role": "primary", "met": _is_met(primary["p"], protocol.alpha)}
    goes_on = bool(primary["met"])
    order = sorted(others, key=lambda item: 1.0 if item["p"] is None else item["p"])
    for place, item in enumerate(order):
        goes_on = goes_on and _is_met(item["p"], protocol.alpha / (len(order) - place))
        item |= {"role": "secondary", "met": goes_on}
    return tested


def _is_met(p: float | None, alpha: float) -> bool:
    return p is not None and p < alpha


def _p_value(figure: Figure | None, margin: float) -> float | None:
    """One-sided p of a figure above a margin, by its interval's width."""
    if figure is None:
        return None
    # The lower half is what is tested; at 1 the upper one has no width.
    error = (figure["value"] - figure["low"]) / _Z
    if error <= 0.0:
        return None
    return 1.0 - NormalDist().cdf((figure["value"] - margin) / error)


def write_validation(result: Mapping[str, Any], folder: Path) -> None:
    """Write ``metrics.json`` and ``report.html``."""
    write_federated_report(result, None, folder, [_answer(result), _plan(result)])


def _answer(result: Mapping[str, Any]) -> Section:
    rows = [
        (
            item["role"],
            item["endpoint"],
            figure_text(item["figure"]),
            f"{item['margin']:.3f}",
            "–" if item["p"] is None else f"{item['p']:.4f}",
            "met" if item["met"] else "not met",
        )
        for item in result["endpoints"]
    ]
    deviations = result["deviations"]
    return Section(
        "endpoints",
        "Endpoints",
        (
            "An endpoint is met where the figure is above its margin by more than "
            "chance allows (one-sided). Secondary ones are tested only where the "
            "primary is met, with Holm's correction.",
            *(
                [f"Deviation from the protocol: {item}" for item in deviations]
                or ["No deviation from the protocol is known."]
            ),
        ),
        (
            Table(
                "",
                ("", "Endpoint", "Figure [95 % interval]", "Margin", "p", ""),
                rows,
            ),
        ),
    )


def _plan(result: Mapping[str, Any]) -> Section:
    protocol = result["protocol"]
    rows = [
        ("Title", protocol["title"]),
        ("SHA-256 of the protocol", protocol["sha256"]),
        ("Sites", ", ".join(protocol["sites"])),
        ("Operating point", protocol["operating_point"]),
        ("Reference standard", protocol["reference_standard"]),
        ("Planned patients", str(protocol["planned_patients"])),
        ("Patients that the power needs", str(protocol["needed_patients"])),
        ("Digest of the model", result["model"]["digest"]),
    ]
    excluded = [
        (site, what, str(count))
        for site, reasons in result["excluded"].items()
        for what, count in sorted(reasons.items())
    ]
    return Section(
        "protocol",
        "The protocol",
        (),
        (
            Table("", ("", "What was decided beforehand"), rows),
            Table("Rows left out", ("Site", "Why", "Rows"), excluded),
        ),
    )
