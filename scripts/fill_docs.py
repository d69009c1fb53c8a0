"""Write every figure of the docs from files that the project's commands wrote.

`make docs` runs it; with ``--check`` it only says whether the docs are current.
Sources: docs/figures/cross_validation.json (report/figures.json of `tumorlens
train --folds`), docs/figures/beside/*.json (the same of `make beside`),
docs/figures/intensity_baseline.json (`tumorlens baseline`, docs/evaluation.md),
docs/figures/strangers/*.json (`tumorlens evaluate --json`, of `make strangers`),
docs/figures/bench.json (`python -m bench --json`), docs/figures/audit.json (`python -m
bench.audit --json`), docs/figures/overload.json (`python -m bench overload --json`),
docs/figures/growth.json (`python -m bench.growth --json`), docs/figures/choices.json
(`python -m bench.choices --json`), docs/figures/archive.json (`python -m bench.archive
--json`), docs/figures/fuzz.json (`python -m fuzz --json`), docs/figures/scans.json
(`make scans`), docs/figures/clinical.json (`make clinical`),
docs/figures/validation.json (`make validation`), docs/figures/federation.json and
docs/figures/federation-sequences.json (`make federation`, `make federation-sequences`;
until there are the last ten, their pages say that nothing was measured), the shipped
bundle's bundle.json, the table of settings, and the OpenAPI document.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from beside_table import beside_table

from tumorlens.evaluation.performance.figures import ONE_KIND
from tumorlens.inference.bundle.bundle import (
    DEFAULT_BUNDLE,
    LICENCE_FILE,
    Bundle,
    load_bundle,
)
from tumorlens.report.evaluation.clinical import answer, figure_table
from tumorlens.report.evaluation.explanations import MAPS, map_rows
from tumorlens.report.evaluation.performance import (
    sequence_overview,
    series_figure_rows,
)
from tumorlens.report.evaluation.robustness import damage_rows, refusal_rows
from tumorlens.report.model_card import (
    COVERAGES,
    FOLDER,
    card_charts,
    model_card,
    weights_licence,
)
from tumorlens.report.page_parts import FIGURES as FIGURES_BY_TITLE
from tumorlens.report.page_parts import figure_text, name_text, table
from tumorlens.scale.federation.report import study_sections
from tumorlens.settings import NODE_LIMITS, SETTINGS, Setting, Settings
from tumorlens.web.openapi.document import openapi_document

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
SOURCES = {
    "cheng": "`cheng`: T1 with contrast, every slice a tumour",
    "lgg_sequences": "`lgg_sequences`: the same slices in FLAIR and T1",
    "brain44": "`brain44`: a web set in T1, T1 with contrast and T2, labelled by case",
    "lgg": "`lgg`: glioma and tumour-free slices from the same scanners",
    "brisc_notumor": "`brisc_notumor`: tumour-free images",
    "notumor": "`notumor`: tumour-free images from the web",
    "ixi": "`ixi`: eight healthy heads, cut into slices",
    "volumes": "`volumes`: three tumour-free heads, one with multiple sclerosis",
}

STRANGERS = {
    "t1_crop": "`t1_crop`, healthy, three planes",
    "t1_crop--stripped": "the same, skull-stripped",
    "volunteer": "`volunteer`, healthy, sagittal",
    "long_patient20_study2_T1W": "`patient20`, multiple sclerosis, three planes",
    "long_patient20_study2_T1W--stripped": "the same, skull-stripped",
}

WITHIN = {
    "AUROC": "auroc_tumor",
    "Between slices at the same height": "auroc_tumor_like_position",
    "Height alone": "auroc_tumor_position",
}

SUMMARY = (
    ("Correct class of four, by slice", "accuracy"),
    ("Correct class of four, by patient", "accuracy_by_patient"),
    ("Sensitivity, tumour or none", "tumor_sensitivity"),
    ("Specificity, tumour or none", "tumor_specificity"),
    ("AUROC, tumour or none", "auroc_tumor"),
)
"""README's rows that speak of all sources; the last one speaks of PAIRED alone."""

PAIRED = "lgg"
"""The source that has slices with and without tumour from the same scanners."""


def main() -> int:
    """Fill or check every document."""
    folds = json.loads((FIGURES / "cross_validation.json").read_text(encoding="utf-8"))
    bench = json.loads((FIGURES / "bench.json").read_text(encoding="utf-8"))
    baseline = json.loads((FIGURES / "intensity_baseline.json").read_text("utf-8"))
    bundle = load_bundle(DEFAULT_BUNDLE)
    audit = json.loads((FIGURES / "audit.json").read_text(encoding="utf-8"))
    charts = {
        ROOT / "docs" / FOLDER / chart.file: chart.svg for chart in card_charts(bundle)
    }
    parts = {
        "README.md": {"summary": _summary_table(folds[0])},
        "docs/results.md": {
            "folds": _folds_table(folds),
            "sources": _source_table(folds[0]),
            "sites": _site_table(folds[0], baseline["by_slice"]),
            "sequences": _sequence_tables(folds[0]),
            "strangers": _strangers_table(),
            "open": _open_tables(),
            "network": _network_table(bundle.metrics),
            "maps": _maps_table(bundle.metrics["faithfulness"]),
            "beside": beside_table(FIGURES / "beside"),
        },
        "docs/benchmarks.md": {
            "bench": _bench_table(bench),
            "overload": _overload_table(),
            "growth": _growth_table(),
            "choices": _choices_table(),
            "audit": _audit_table(audit),
        },
        "docs/batch.md": {"archive": _archive_tables()},
        "docs/literature.md": {"own": _own_table(folds)},
        "docs/scans.md": {"scans": _scans_table()},
        "docs/clinical.md": {"clinical": _clinical_tables()},
        "docs/input.md": {"fuzz": _fuzz_table()},
        "docs/validation.md": {"validation": _validation_table()},
        "docs/federated.md": {
            name: _study_tables(name) for name in ("federation", "federation-sequences")
        },
        "docs/http-api.md": {"paths": _paths_table(bundle)},
    }
    wanted = {
        **{
            ROOT / page: _fill((ROOT / page).read_text(encoding="utf-8"), texts)
            for page, texts in parts.items()
        },
        ROOT / "docs" / "model-card.md": model_card(bundle),
        DEFAULT_BUNDLE / LICENCE_FILE: weights_licence(bundle),
        ROOT / "docs" / "settings.md": _settings_page(),
        **charts,
    }
    left_over = set((ROOT / "docs" / FOLDER).glob("card-*.svg")) - set(charts)
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        for path in (*stale, *left_over):
            print(f"{path.relative_to(ROOT)} is not current. Run: make docs")
        return 1 if stale or left_over else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    for path in left_over:
        path.unlink()
        print(f"removed {path.relative_to(ROOT)}")
    return 0


def _fill(text: str, parts: dict[str, str]) -> str:
    for name, part in parts.items():
        pattern = rf"(<!-- figures: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(
            pattern,
            lambda found, part=part: f"{found[1]}\n{part}\n{found[2]}",
            text,
            flags=re.DOTALL,
        )
    return text


def _summary_table(model: dict[str, Any]) -> str:
    """Give README's six rows, and the one sentence that has to be read with them."""
    paired = model["within_sites"][f"source {PAIRED}"]
    rows = [(title, figure_text(model[key])) for title, key in SUMMARY]
    rows.append(
        (
            f"AUROC inside `{PAIRED}`, between slices at the same height",
            figure_text(paired["auroc_tumor_like_position"]),
        )
    )
    count = len(model["by_source"])
    return "\n".join(
        (
            f"{model['slices']} slices of {model['patients']} patients (or groups of "
            f"like images) from {count} public sources, each slice judged by a network "
            "that never saw its patient:",
            "",
            *table(("", "Value [95 % interval over patients]"), rows),
            "",
            "Most tumour and tumour-free slices come from different datasets, which a "
            "network can tell apart without seeing a tumour, so believe the last row "
            "first: there both kinds come from the same scanners.",
        )
    )


def _folds_table(models: list[dict[str, Any]]) -> str:
    first = models[0]
    columns = {f"`{item['model']['name']}`": item for item in models}
    one_kind = first["source_kinds"].get(ONE_KIND)
    if one_kind:
        names = ", ".join(f"`{name}`" for name in one_kind["sources"])
        columns[f"Of these, {names} alone"] = one_kind
    head = (
        f"{first['slices']} slices of {first['patients']} patients (or groups of "
        f"like images), operating point `{first['model']['operating_point']}`:"
    )
    rows = [
        (title, [item.get(key) for item in columns.values()])
        for title, key in FIGURES_BY_TITLE
    ]
    rows += [
        (
            f"Recall, {name_text(name)}",
            [item["recall"][name] for item in columns.values()],
        )
        for name in first["recall"]
    ]
    rows += [
        (
            f"Coverage of prediction sets, {name_text(name)}{words}",
            [item.get(key, {}).get(name) for item in columns.values()],
        )
        for key, words in COVERAGES.items()
        for name in first.get(key, ())
    ]
    for point in first["operating_points"]:
        for kind in ("sensitivity", "specificity"):
            found = [item["operating_points"][point][kind] for item in columns.values()]
            rows.append((f"Tumour {kind} at `{point}`", found))
    texts = ((title, *map(figure_text, cells)) for title, cells in rows)
    return "\n".join([head, "", *table(("", *columns), texts)])


def _source_table(model: dict[str, Any]) -> str:
    lines = [
        f"`{model['model']['name']}` by source:",
        "",
        "| | Slices | 4-class accuracy | Sensitivity | Specificity |",
        "|---|---|---|---|---|",
    ]
    for name, part in model["by_source"].items():
        cells = (
            figure_text(part.get(key))
            for key in ("accuracy", "tumor_sensitivity", "tumor_specificity")
        )
        title = SOURCES.get(name, f"`{name}`")
        lines.append(f"| {title} | {part['slices']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _site_table(model: dict[str, Any], baseline: dict[str, Any]) -> str:
    alone = {f"source {name}": found for name, found in baseline["together"].items()}
    alone |= {
        f"site {name.split()[-1]}": found for name, found in baseline["inside"].items()
    }
    parts = model["within_sites"]
    # Figures that were measured before these were thought of do not have them.
    own = {
        title: key
        for title, key in WITHIN.items()
        if any(key in part for part in parts.values())
    }
    heads = ("Tumour or none, inside", "Slices", "Patients", *own, "Brightness alone")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, part in parts.items():
        found = [part.get(key) for key in own.values()]
        found.append(alone.get(name, {}).get("auroc_tumor"))
        cells = " | ".join(figure_text(figure) for figure in found)
        lines.append(f"| {name} | {part['slices']} | {part['patients']} | {cells} |")
    return "\n".join(lines)


def _sequence_tables(model: dict[str, Any]) -> str:
    """Give the figures of each MR sequence, and of other lesions."""
    parts = sequence_overview(model.get("sequences", {}))
    if not parts:
        return "Not measured: this network knows T1 alone."
    texts = (
        "\n".join((f"{part.title}:", "", *table(part.columns, part.rows)))
        for part in parts
    )
    return "\n\n".join(texts)


def _strangers_table() -> str:
    """Say how tumour-free heads are judged that no network learned from."""
    columns = {
        "tumor_specificity": "Called *no tumour* at `screening`",
        "inconclusive": "No class named",
        "refused_as_foreign": "Refused",
        "accuracy": "Likeliest class is *no tumour*",
        "calibration_error": "ECE",
    }
    lines = [
        "| | Slices | " + " | ".join(columns.values()) + " |",
        "|---|" + "---|" * (1 + len(columns)),
    ]
    for name, title in STRANGERS.items():
        path = FIGURES / "strangers" / f"{name}.json"
        (found,) = json.loads(path.read_text(encoding="utf-8"))
        # One head: an interval over patients would say nothing.
        cells = (f"{found[key]['value']:.3f}" for key in columns)
        lines.append(f"| {title} | {found['slices']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


OPEN_FOLDS = (0, 1)
OPEN_FIGURES = {
    "auroc_tumor": "Tumour or none, AUROC",
    "accuracy": "Four classes, accuracy",
    "recall_glioma": "Glioma, recall",
    "recall_meningioma": "Meningioma, recall",
    "recall_pituitary": "Pituitary tumour, recall",
    "cleared": "Tumour-free called *no tumour* at `screening`",
    "other_called_kind": "Other kinds: likeliest one of the three",
    "other_called_clear": "Other kinds: likeliest no tumour",
    "vascular_called_kind": "Strokes: likeliest a tumour",
}
"""What is compared of the recipe with all sets and with openly licensed ones alone."""


def _open_tables() -> str:
    """Set the recipe beside the same on openly licensed sets alone, fold by fold."""
    texts = []
    for fold in OPEN_FOLDS:
        models = _figures(f"open/{fold}.json")
        if models is None:
            continue
        rows = []
        for part in ("sequences", "sites"):
            for key, first in models[0][part].items():
                pairs = [model[part].get(key, {}) for model in models]
                rows += [
                    (key, title, str(first["slices"]), *map(figure_text, figures))
                    for name, title in OPEN_FIGURES.items()
                    if all(figures := [found.get(name) for found in pairs])
                ]
        heads = ("", "Figure", "Slices", "All sets", "Open licences alone")
        texts.append("\n".join((f"Fold {fold}:", "", *table(heads, rows))))
    return "\n\n".join(texts) or "Not measured yet: run `make open`."


def _network_table(metrics: dict[str, Any]) -> str:
    """Sum up what damage costs, and how well what is no brain MRI is refused."""
    damage = metrics["robustness"]
    head = f"Damaged: {damage['slices']} slices of {damage['patients']} patients"
    rows = [*damage_rows(damage), *refusal_rows(metrics["foreign"])]
    return "\n".join(table((head, "Value"), rows))


def _maps_table(found: dict[str, Any]) -> str:
    """Sum up whether the maps tell the truth, map by map."""
    head = f"{found['slices']} tumour slices of {found['patients']} patients"
    return "\n".join(table((head, *MAPS.values()), map_rows(found)))


def _own_table(models: list[dict[str, Any]]) -> str:
    """Give our own figures, in the columns of the published ones."""
    lines = [
        "| | Slices | Patients or likeness groups | All sources, by slice | All "
        "sources, by patient | `cheng` alone, by slice |",
        "|---|---|---|---|---|---|",
    ]
    for found in models:
        cheng = found["by_source"].get("cheng", {}).get("accuracy")
        figures = (found["accuracy"], found["accuracy_by_patient"], cheng)
        cells = " | ".join(figure_text(figure) for figure in figures)
        title = f"{found['model']['name']}, {found['model']['version']}"
        lines.append(f"| {title} | {found['slices']} | {found['patients']} | {cells} |")
    return "\n".join(lines)


def _figures(file: str) -> Any | None:  # noqa: ANN401 - plain JSON
    """Read what a command has measured; None where it was not run yet."""
    path = FIGURES / file
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _scans_table() -> str:
    figures = _figures("scans.json")
    if figures is None:
        return "Nothing was measured on whole series yet: run `make scans`."
    patients = figures["learned"]["patients"]
    return "\n".join(
        (
            f"Series of {patients['tumor']} patients with a tumour and "
            f"{patients['no_tumor']} without:",
            "",
            "| Figure | Value [95 % interval over patients] |",
            "|---|---|",
            *(f"| {title} | {value} |" for title, value in series_figure_rows(figures)),
        )
    )


def _clinical_tables() -> str:
    """Say what real clinical columns add to the image, by patient."""
    report = _figures("clinical.json")
    if report is None:
        return "Nothing was measured on real columns yet: run `make clinical`."
    people = [
        f"{counts['patients']} with {name_text(name)}"
        for name, counts in report["classes"].items()
        if counts["patients"]
    ]
    figures = figure_table(report, "by_patient")
    weights = report["model_weights"]
    heads = ("Log-odds that a column adds", *map(name_text, weights["classes"]))
    rows = [
        (name, *(f"{round(value, 2) + 0.0:.2f}" for value in row))
        for name, row in zip(weights["features"], weights["weights"], strict=True)
    ]
    return "\n".join(
        (
            f"{report['slices']} slices of {report['patients']} patients "
            f"({' and '.join(people)}), figures by patient with their 95 % intervals "
            "over patients:",
            "",
            *table(figures.columns, figures.rows),
            "",
            answer(report),
            "",
            "The model that all patients made (for a number, by one standard "
            "deviation):",
            "",
            *table(heads, rows),
        )
    )


def _bench_table(bench: dict[str, Any]) -> str:
    facts = bench["machine"]
    lines = [
        f"On {facts['cores']} cores ({facts['cpu']}), Python {facts['python']}:",
        "",
        "| | TumorLens | Compared with | Ratio | Limit | Met |",
        "|---|---|---|---|---|---|",
    ]
    for row in bench["figures"]:
        lines.append("| " + " | ".join(row["cells"]) + " |")
    return "\n".join(lines)


def _overload_table() -> str:
    document = _figures("overload.json")
    if document is None:
        return "Nothing was measured yet: run `python -m bench overload`."
    facts = document["machine"]
    rows = []
    for figure in document["figures"]:
        name, ours, *_, asked, met = figure["cells"]
        rows.append((name, ours, asked, met))
    return "\n".join(
        (
            f"On {facts['cores']} cores ({facts['cpu']}), which the clients share with "
            f"the server, with a load of {facts['load_before']} before:",
            "",
            *table(("", "Measured", "Limit", "Met"), rows),
            "",
            *(f"- {note}" for note in document["notes"]),
        )
    )


def _growth_table() -> str:
    document = _figures("growth.json")
    if document is None:
        return "Nothing was measured yet: run `python -m bench.growth`."
    curves = document["curves"]
    rows = []
    for curve in curves:
        first, last = curve["points"][0], curve["points"][-1]
        rows.append(
            (
                curve["title"],
                f"{first['size']:,} to {last['size']:,} {curve['axis']}",
                f"{curve['seconds_before_the_first']:.2f} s",
                f"{1000.0 * curve['seconds_of_one_more']:.2f} ms",
                f"{curve['last_over_line']:.2f} times as long",
                f"{first['peak_mb']:.0f} to {last['peak_mb']:.0f} MB",
            )
        )
    heads = (
        *("", "Sizes", "Before the first", "One more"),
        *("The largest beside the line of the others", "Peak memory"),
    )
    plots = [
        f"![{curve['title']}: time and memory against {curve['axis']}]"
        f"(figures/growth-{curve['name']}.png)"
        for curve in curves
    ]
    return "\n".join([*table(heads, rows), "", *plots])


def _choices_table() -> str:
    document = _figures("choices.json")
    if document is None:
        return "Nothing was measured yet: run `python -m bench.choices`."
    rows = []
    for choice in document["choices"]:
        cells = [choice["what"]]
        for way in ("before", "after"):
            time = choice[f"{way}_ms"]
            values = [f"{time[name]:.2f}" for name in ("value", "low", "high")]
            cells.append(f"{choice[way]}: {values[0]} ms ({values[1]} to {values[2]})")
        rows.append((*cells, choice["verdict"]))
    return "\n".join(table(("", "One way", "The other", "Used"), rows))


def _fuzz_table() -> str:
    document = _figures("fuzz.json")
    if document is None:
        return "Nothing was run yet: run `make fuzz`."
    rows = []
    for run in document["runs"]:
        outcomes = run["outcomes"]
        read = outcomes.get("ok", 0)
        refused = sum(outcomes.values()) - read
        refused -= outcomes.get("fault", 0) + outcomes.get("died", 0)
        rows.append(
            (
                run["format"],
                run["engine"],
                f"{run['files']:,}",
                f"{read:,}" if outcomes else "",
                f"{refused:,}" if outcomes else "",
                f"{len(run['failures'])}",
            )
        )
    heads = ("Format", "Engine", "Files", "Read", "Refused", "Broke a promise")
    return "\n".join(table(heads, rows))


_PAPER_SLICES = 100_000_000
_PAPER_WORKERS = 64


def _archive_tables() -> str:
    """Show what an archive takes, and on paper what a hundred million slices would."""
    measured = _figures("archive.json")
    if measured is None:
        return "Nothing was measured yet: run `python -m bench.archive`."
    facts = measured["machine"]
    loads = [
        run["load_before"] for part in ("rates", "driver") for run in measured[part]
    ]
    lines = [
        f"On {facts['cores']} cores ({facts['cpu']}), with a load of "
        f"{min(loads):.1f} to {max(loads):.1f} before a run:",
    ]
    rates = {run["ray_workers"]: run for run in measured["rates"]}
    if rates:
        one = rates.get(1) or next(iter(rates.values()))
        rows = [
            (
                f"{workers} on Ray, one thread each" if workers else "this process",
                f"{run['slices_per_second']:.1f}",
                f"{run['slices_per_second'] / one['slices_per_second']:.2f}",
                " and ".join(f"{megabytes:.0f} MB" for megabytes in run["peak_mb"]),
            )
            for workers, run in sorted(rates.items())
        ]
        sizes = " and ".join(f"{slices:,}" for slices in one["slices"])
        heads = ("Workers", "Slices/s", "Times one worker", f"Peak memory at {sizes}")
        hours = _PAPER_SLICES / one["slices_per_second"] / 3600.0
        days = hours / _PAPER_WORKERS / 24.0
        terabytes = _PAPER_SLICES * one["bytes_a_slice"] / 1e12
        lines += [
            "",
            *table(heads, rows),
            "",
            f"On paper, from the rate of one worker: {_PAPER_SLICES:,} slices take "
            f"{hours:,.0f} worker-hours, which are {days:.1f} days for "
            f"{_PAPER_WORKERS} workers, and give {terabytes:.2f} TB of Parquet. Times "
            "what an hour of a core costs, that is the price of it; reading from a "
            "distant store comes on top.",
        ]
    if measured["driver"]:
        drivers = [
            (
                f"{run['files']:,}",
                f"{run['peak_mb']:.0f} MB",
                f"{1000.0 * run['seconds'] / run['files']:.2f} ms",
            )
            for run in measured["driver"]
        ]
        heads = ("Files", "Peak memory of the driver", "Time a file")
        lines += ["", *table(heads, drivers)]
    return "\n".join(lines)


def _study_tables(name: str) -> str:
    """Show what a study of a federation found."""
    result = _figures(f"{name}.json")
    if result is None:
        return f"This study has not been run yet: run `make {name}`."
    (section,) = study_sections(result)
    parts = [*section.paragraphs]
    parts += [
        "\n".join((f"{part.title}:", "", *table(part.columns, part.rows)))
        for part in section.tables
    ]
    return "\n\n".join(parts)


ENDPOINTS = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "accuracy": "correct class of four",
    "auroc_tumor": "AUROC, tumour or none",
}


def _validation_table() -> str:
    """Show what came of the example of a protocol."""
    report = _figures("validation.json")
    if report is None:
        return "Nothing was measured yet: run `make validation`."
    model = report["model"]
    rows = [
        (
            f"{item['role'].capitalize()}: {ENDPOINTS[item['endpoint']]}",
            f"{item['margin']:g}",
            figure_text(item["figure"]),
            "met" if item["met"] else "not met",
        )
        for item in report["endpoints"]
    ]
    lines = [
        f"By {model['name']} {model['version']}, {report['slices']} slices of "
        f"{report['patients']} patients, {len(report['deviations'])} deviations from "
        "the protocol:",
        "",
        *table(("Endpoint", "Margin", "Figure", ""), rows),
    ]
    return "\n".join(lines)


def _audit_table(runs: list[dict[str, Any]]) -> str:
    rows = [
        (
            f"{run['pictures']:,}",
            f"{run['decoding_seconds']:.1f} s",
            f"{run['audit_seconds']:.1f} s",
            f"{run['audit_seconds'] / run['pictures'] * 1000:.2f} s",
            f"{run['audit_seconds'] / run['decoding_seconds']:.1f} times as long",
            f"{run['copies_found']:,} of {run['copies_planted']:,}",
        )
        for run in runs
    ]
    heads = (
        *("Images", "Decoding alone", "Audit", "For 1,000 images", "Ratio"),
        "Planted copies found",
    )
    return "\n".join(table(heads, rows))


def _paths_table(bundle: Bundle) -> str:
    """List the addresses of the HTTP API, as its OpenAPI document describes them."""
    paths = openapi_document(bundle, Settings())["paths"]
    rows = [
        (f"`{method.upper()}`", f"`{path}`", item["summary"])
        for path, methods in paths.items()
        for method, item in methods.items()
        if method != "parameters"
    ]
    return "\n".join(table(("Method", "Path", "What it does"), rows))


def _settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "This page is written from the table in `settings.py` by `make docs`. An",
        "option takes precedence over the environment variable.",
        "",
        *_settings_table(SETTINGS.values()),
        "",
        "`tumorlens serve` also takes `--open` or `--no-open`, which have no variable:",
        "whether to open the page in a browser, by default where there is a screen.",
        "",
        "## Limits of the DICOM node",
        "",
        "`tumorlens node` takes these beside its other options, each of which has a",
        "variable too, such as `TUMORLENS_NODE_SEND_TO` ([DICOM](pacs.md)).",
        "",
        *_settings_table(NODE_LIMITS.values()),
    ]
    return "\n".join(lines) + "\n"


def _settings_table(rows: Iterable[Setting]) -> list[str]:
    lines = [
        "| Option | Environment variable | Default | Meaning |",
        "|---|---|---|---|",
    ]
    for row in rows:
        default = "–" if row.default is None else f"`{row.default}`"
        lines.append(
            f"| `{row.option}` | `{row.environment}` | {default} | {row.help} |"
        )
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
