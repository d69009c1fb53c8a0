"""The card says what the bundle holds, and that what it lacks is missing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.samples.evaluation_page import figure, measured_maps
from tests.samples.fast_path import AGREEMENT, NO_MARGINS
from tumorlens.inference.bundle.bundle import Bundle, load_bundle
from tumorlens.inference.bundle.facts import (
    FastPath,
    MeasuredShare,
    OperatingPoint,
    Rate,
)
from tumorlens.report.checklists import CLAIM_2024, TRIPOD_AI
from tumorlens.report.model_card import card_charts, model_card, weights_licence
from tumorlens.taxonomy import CLASSES, INFO


def evaluation(**changes: Any) -> dict[str, Any]:
    """Figures as an evaluation gives them; meningioma and `far` are the weak ones."""
    recall = dict(zip(CLASSES, map(figure, (0.91, 0.71, 0.96, 0.95)), strict=True))
    coverage = dict(zip(CLASSES, map(figure, (0.93, 0.81, 0.97, 0.94)), strict=True))
    return {
        "slices": 400,
        "patients": 80,
        "accuracy": figure(0.917),
        "accuracy_by_patient": None,
        "recall": recall,
        "coverage": coverage,
        "tumor_sensitivity": figure(0.96),
        "tumor_specificity": figure(0.88),
        "confusion": [[91, 5, 2, 2], [24, 71, 3, 2], [2, 1, 96, 1], [3, 1, 1, 95]],
        "by_source": {
            "near": {"slices": 250, "patients": 50, "accuracy": figure(0.95)},
            "far": {"slices": 140, "patients": 26, "accuracy": figure(0.86)},
            "tiny": {"slices": 10, "patients": 4, "accuracy": figure(0.4)},
        },
        "operating_points": {
            "screening": {"sensitivity": figure(0.96), "specificity": figure(0.88)}
        },
        "model": {"operating_point": "screening"},
        **changes,
    }


@pytest.fixture(scope="module")
def bare(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


def measured(bundle: Bundle, **metrics: Any) -> str:
    return model_card(replace(bundle, metrics=metrics))


def part(card: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", card, re.M | re.S)
    assert found, f"no section {title}"
    return found[1]


def test_a_bundle_without_figures_claims_none(bare: Bundle) -> None:
    card = model_card(bare)
    assert "Research use only" in card
    for title in ("Performance", "Subgroups", "Where it fails"):
        assert "Not yet measured" in part(card, title)
    for title in ("Image damage", "Sanity checks of the maps"):
        assert f"## {title}" not in card
    assert "| 30 | Robustness and sensitivity analysis | not covered" in card
    assert "which flatters them" in part(card, "Operating points")


def test_every_set_is_shown_by_its_name(bare: Bundle) -> None:
    card = measured(
        bare,
        test=evaluation(accuracy=figure(0.901)),
        cross_validation=evaluation(accuracy=figure(0.902)),
        leave_site_out=evaluation(accuracy=figure(0.903)),
    )
    good = part(card, "Performance")
    for title, shown in (
        ("Held-out patients", "0.901 [0.881, 0.921]"),
        ("Cross-validation", "0.902 [0.882, 0.922]"),
        ("Hospitals left out", "0.903 [0.883, 0.923]"),
    ):
        assert shown in good.split(f"### {title}")[1].split("###")[0]
    assert "4-class accuracy, by patient" not in good


def test_sets_that_cover_patients_are_judged_by_patient(bare: Bundle) -> None:
    by_patient = dict(zip(CLASSES, map(figure, (0.8, 0.95, 0.97, 0.94)), strict=True))
    figures = {"test": evaluation(coverage_by_patient=by_patient)}
    facts = {"calibrated_on": {"sets_cover": "patients"}}
    card = model_card(replace(bare, metrics=figures, provenance=facts))
    said = part(card, "Where it fails")
    assert "too seldom for glioma: 0.800" in said
    assert "too seldom for meningioma" not in said
    shown = part(card, "Calibration")
    assert "every patient with the same weight" in shown
    assert "| Coverage of prediction sets, glioma, by patient | 0.800" in shown
    assert "| Coverage of prediction sets, glioma | 0.930" in shown


def test_traced_errors_are_shown_with_their_licence(bare: Bundle) -> None:
    traced = {
        **{"source": "lgg", "true": "glioma", "said": "no_tumor", "sure": 0.9},
        **{"slices": 3, "width": 100, "height": 100},
        **{"head": [[[0, 0], [9, 0], [9, 9]]], "drawn": [], "marked": []},
    }
    bundle = replace(bare, metrics={"test": evaluation(sketches=[traced])})
    said = part(model_card(bundle), "Where it fails")
    assert "(figures/card-test-errors.svg)" in said
    assert "CC BY 4.0" in said
    assert "card-test-errors.svg" in {chart.file for chart in card_charts(bundle)}
    assert "CC BY" not in part(measured(bare, test=evaluation()), "Where it fails")


def test_figures_that_are_not_held_out_say_so_above_them(bare: Bundle) -> None:
    leaking = evaluation(
        held_out=False, leakage={"statement": "These figures are NOT held out: why."}
    )
    good = part(measured(bare, cross_validation=leaking), "Performance")
    assert good.index("NOT held out: why") < good.index("0.917")
    apart = measured(bare, cross_validation=evaluation(held_out=True))
    assert "NOT held out" not in apart


def test_failures_are_read_off_the_figures(bare: Bundle) -> None:
    said = part(measured(bare, test=evaluation()), "Where it fails")
    assert "with the lowest recall is meningioma: 0.710" in said
    assert "of its 29 errors 24 are called glioma; 71 slices" in said
    assert "0.040 [0.020, 0.060] of the tumour slices are called free" in said
    assert "too seldom for meningioma: 0.810" in said
    assert "too seldom for glioma" not in said


def test_a_part_of_few_patients_is_not_called_the_weakest(bare: Bundle) -> None:
    said = part(measured(bare, test=evaluation()), "Where it fails")
    assert "Lowest accuracy by source: `far`, 0.860" in said
    assert "tiny" not in said


def test_subgroups_of_every_kind_are_shown(bare: Bundle) -> None:
    planes = {
        name: {"slices": 9, "patients": 12, "accuracy": figure(value)}
        for name, value in (("axial", 0.93), ("sagittal", 0.77))
    }
    card = measured(bare, test=evaluation(subgroups={"plane": planes}))
    assert "by plane:" in part(card, "Subgroups")
    assert "| `sagittal` | 9 | 12 | 0.770 [0.750, 0.790] | – | – |" in card
    assert "Lowest accuracy by plane: `sagittal`" in part(card, "Where it fails")


def test_damage_refusal_and_maps_are_shown_when_measured(bare: Bundle) -> None:
    card = measured(
        bare,
        robustness={
            "bundles": 5,
            "slices": 40,
            "patients": 9,
            "drop": figure(3, 1),
            "sensitivity_drop": None,
            "kinds": {"noise": {"drop": figure(7, 1)}, "blur": {"drop": figure(2, 1)}},
        },
        foreign={
            "kinds": {
                "knee": {"taught": False, "pictures": 20, "refused": figure(0.9)},
                "noise": {"taught": True, "pictures": 20, "refused": figure(0.98)},
            },
            "new": {"auroc": figure(0.97)},
            "passed": figure(0.99, 0.005),
        },
        faithfulness=measured_maps(),
    )
    assert "| noise | 7.000 [6.000, 8.000] |" in part(card, "Image damage")
    assert "the one bundle, of 5," in part(card, "Image damage")
    assert "of 5" not in part(card, "Sanity checks of the maps")
    assert "noise costs most" in part(card, "Where it fails")
    assert "| knee | no | 20 | – | 0.900 [0.880, 0.920] |" in part(card, "Refusal")
    assert "knee is refused least" in part(card, "Where it fails")
    maps = part(card, "Sanity checks of the maps")
    assert "12 tumour slices of 7 patients" in maps
    assert "| Rank correlation with another patient's map | 0.300 [" in maps
    assert "| 30 | Robustness and sensitivity analysis | [Image damage]" in card


def test_rates_are_ascribed_to_the_set_that_they_are_of(bare: Bundle) -> None:
    rate = Rate(0.955, 0.94, 0.97)
    points = {**bare.operating_points, "screening": OperatingPoint(0.3, rate, rate)}
    pooled = evaluation(
        operating_points={
            "screening": {"sensitivity": figure(0.955), "specificity": figure(0.9)}
        }
    )
    metrics = {"test": evaluation(), "cross_validation": pooled}
    card = model_card(replace(bare, operating_points=points, metrics=metrics))
    assert "as measured below (cross-validation)" in part(card, "Operating points")


def test_thresholds_that_nobody_here_fixed_are_not_called_fixed(bare: Bundle) -> None:
    def told(how: str, rate: Rate | None) -> str:
        provenance = {**bare.provenance, "calibrated_on": {"how": how}}
        points = {"screening": OperatingPoint(0.5, rate, rate)}
        changed = replace(bare, operating_points=points, provenance=provenance)
        return part(model_card(changed), "Operating points")

    rate = Rate(0.955, 0.94, 0.97)
    assert "fixed on held-out patients. The rates" in told("validation", rate)
    unfitted = told("nothing", None)
    assert "fixed on no patients: too few were kept apart" in unfitted
    assert "was not measured" in unfitted and "flatters" not in unfitted
    inherited = told("parent", rate)
    assert "those of the model that this one started from" in inherited
    assert "measured on that model" in inherited and "flatters" not in inherited


def test_what_a_threshold_costs_is_told_with_the_same_scanner_first(
    bare: Bundle,
) -> None:
    measured_on = {
        name: MeasuredShare(value, value - 0.02, value + 0.02, 420, 28)
        for name, value in (("large_lesions", 0.97), ("same_scanner", 0.55))
    }
    point = replace(
        bare.operating_points["screening"],
        measured={
            "all": measured_on,
            "T1": {"same_scanner": measured_on["same_scanner"]},
        },
    )
    points = {**bare.operating_points, "screening": point}
    said = part(model_card(replace(bare, operating_points=points)), "Operating points")
    rows = [line for line in said.splitlines() if line.count("|") == 7][2:]
    assert rows == [
        "| Same scanner | every sequence | called free of tumour "
        "| 0.550 [0.530, 0.570] | 420 | 28 |",
        "| Same scanner | T1 | called free of tumour "
        "| 0.550 [0.530, 0.570] | 420 | 28 |",
        "| Large lesions | every sequence | found | 0.970 [0.950, 0.990] | 420 | 28 |",
    ]
    assert "Every patient weighs alike" not in part(
        model_card(bare), "Operating points"
    )


def test_time_and_energy_are_told_only_where_noted(bare: Bundle) -> None:
    def told(**facts: Any) -> str:
        provenance = {**bare.provenance, "training": facts}
        card = model_card(replace(bare, provenance=provenance))
        return part(card, "Training")

    assert "were not recorded" in part(model_card(bare), "Training")
    plain = told(seconds=7200, device="CPU", threads=2)
    assert "7,200 s (2.0 h) on CPU, 2 threads." in plain
    assert "kWh" not in plain
    energy = told(seconds=7200, watts_assumed=50)
    assert "At 50 W, which is assumed and not measured, that is 0.1 kWh" in energy
    assert "40 g" in energy


def test_data_are_counted_by_set_and_class(bare: Bundle) -> None:
    sets = {
        "train": {"patients": 5, "slices": {"cheng/glioma": 30, "own/no_tumor": 4}},
        "validation": {"patients": 2, "slices": {"cheng/glioma": 12}},
    }
    said = part(model_card(replace(bare, provenance={"sets": sets})), "Training data")
    assert re.search(r"\| `cheng` \| 30 \| 12 \| .*CC BY 4.0 \|", said)
    assert "| `cheng` | 42 | 0 | 0 | 0 |" in said
    assert "| `own` | 4 | 0 | the trainer's own | – |" in said
    assert "5 to train on, 2 to validate on" in said


def test_guidelines_are_whole_and_in_order() -> None:
    assert [item.number for item in CLAIM_2024] == [str(n) for n in range(1, 45)]
    numbers = [item.number for item in TRIPOD_AI]
    assert len(set(numbers)) == len(numbers)
    heads = [int(re.match(r"\d+", number)[0]) for number in numbers]  # type: ignore[index]
    assert heads == sorted(heads)
    assert set(heads) == set(range(1, 28))


@pytest.mark.parametrize("full", [False, True])
def test_links_within_the_card_lead_to_a_heading(bare: Bundle, full: bool) -> None:
    more = {"leave_site_out": evaluation(), "test": evaluation()} if full else {}
    more |= {"robustness": {"slices": 1, "patients": 1, "kinds": {}}} if full else {}
    card = measured(bare, **more)
    heads = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", card, re.M)
    }
    links = set(re.findall(r"\]\(#([^)]+)\)", card))
    assert links
    assert links <= heads


def test_pictures_are_drawn_in_the_classes_colours_and_linked(bare: Bundle) -> None:
    bundle = replace(bare, metrics={"cross_validation": evaluation()})
    charts = card_charts(bundle)
    assert [chart.file for chart in charts] == [
        "card-cross-validation-recall.svg",
        "card-cross-validation-coverage.svg",
    ]
    card = model_card(bundle)
    for chart in charts:
        assert f"![{chart.title}](figures/{chart.file})" in card
        root = ET.fromstring(chart.svg)
        words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
        for name in CLASSES:
            assert INFO[name].title in words
            assert f":{INFO[name].color}}}" in chart.svg
    assert "0.710 [0.690, 0.730]" in charts[0].svg


def test_figures_of_each_sequence_stand_in_the_card(bare: Bundle) -> None:
    figures = {
        "sequences": {
            "lgg T1C": {"slices": 40, "patients": 9, "auroc_tumor": figure(0.87)},
            "lgg FLAIR": {"slices": 41, "patients": 9, "auroc_tumor": figure(0.97)},
        },
        "kinds": {
            "schwannoma T2": {"slices": 7, "other_called_kind": figure(0.14)},
        },
        "sites": {},
        "studies": {},
    }
    card = measured(bare, cross_validation=evaluation(sequences=figures))
    section = part(card, "By MR sequence, and other lesions")
    assert "| lgg FLAIR | 41 | 0.970" in section
    assert "| schwannoma T2 | 7 | 0.140" in section
    assert "Recall by set" not in section
    without = measured(bare, cross_validation=evaluation())
    assert "By MR sequence" not in without


def test_the_licence_names_what_is_unclear(bare: Bundle) -> None:
    def text(*sources: str) -> str:
        counts = {f"{name}/glioma": 3 for name in sources}
        sets = {"train": {"patients": 2, "slices": counts}}
        return weights_licence(replace(bare, provenance={"sets": sets}))

    unclear = text("brain44", "cheng")
    assert "- cheng: CC BY 4.0" in unclear
    assert "brain44 are mixed or unclear" in " ".join(unclear.split())
    assert "CC BY-NC-SA" in unclear and bare.version in unclear
    clear = text("cheng", "lgg")
    assert "unclear" not in clear and "CC BY-SA 4.0" in clear
    assert "own: not stated" in text("own")
    assert max(map(len, unclear.splitlines())) <= 80


def test_a_faster_graph_stands_beside_float32(bare: Bundle) -> None:
    assert "Faster graph" not in model_card(bare)
    path = FastPath("model.int8.onnx", "0" * 64, ("a", "b"), NO_MARGINS, (AGREEMENT,))
    card = model_card(replace(bare, paths={"int8": path}))
    assert "## Faster graph: int8" in card
    assert "2 convolutions" in card
    row = "| held-out patients | 1,200 | 80 | 99.75 % | 12.5 % | -0.0004 | +0.0012 |"
    assert row in card
    assert "| at least 99.5 % |  | at least -0.001 | at most +0.005 |" in card
