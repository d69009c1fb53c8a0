"""Counts of sites merge into what the pooled slices say, and hide small cells."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.samples.scored_slices import made_set
from tumorlens.errors import DatasetError
from tumorlens.evaluation.performance import curve_figures, set_figures
from tumorlens.evaluation.scored_slices import ScoredSlices
from tumorlens.scale.federation.report import write_federated_report
from tumorlens.scale.federation.site_counts import (
    SCORE_BINS,
    merge_counts,
    site_counts,
)
from tumorlens.taxonomy import CLASSES

SITES = {"north": (30, 0), "south": (17, 1), "west": (24, 2)}
SUMMED = (
    *("accuracy", "accuracy_by_patient", "tumor_sensitivity", "tumor_specificity"),
    *("inconclusive", "refused_as_foreign", "calibration_error", "brier"),
    *("set_size", "set_of_one", "peak_inside_outline", "dice_at_half_height"),
)


def drawn_site(name: str, patients: int, seed: int) -> ScoredSlices:
    """Make a site whose patients have one to five slices each."""
    rng = np.random.default_rng(seed)
    said = []
    for number in range(patients):
        true = CLASSES[number % 4]
        for _ in range(rng.integers(1, 6)):
            right = rng.random() < 0.8
            said.append((f"{name}{number}", true, true if right else CLASSES[0]))
    count = len(said)
    best = np.array([CLASSES.index(word) for _, _, word in said])
    probabilities = rng.dirichlet(np.ones(4), count) * 0.6
    probabilities[np.arange(count), best] += 0.4
    known = np.array([true != "no_tumor" for _, true, _ in said])
    return made_set(
        said,
        source=[name] * count,
        probabilities=probabilities,
        peak_inside=np.where(known, rng.integers(0, 2, count), np.nan),
        dice=np.where(known, rng.random(count), np.nan),
    )


def merged(min_cell: int = 1) -> tuple[dict[str, Any], ScoredSlices]:
    sites = {name: drawn_site(name, *facts) for name, facts in SITES.items()}
    counts = {
        name: json.loads(
            json.dumps(
                site_counts(scored, {"source": [name] * len(scored.records)}, min_cell)
            )
        )
        for name, scored in sites.items()
    }
    return merge_counts(counts), ScoredSlices.concatenate(list(sites.values()))


def test_merged_figures_are_those_of_the_pooled_slices():
    found, pooled = merged()
    wanted = set_figures(pooled)
    assert (found["slices"], found["patients"]) == (
        wanted["slices"],
        wanted["patients"],
    )
    assert found["confusion"] == wanted["confusion"]
    for key in SUMMED:
        assert found[key]["value"] == pytest.approx(wanted[key]["value"], abs=1e-12)
    for kind in ("recall", "coverage", "coverage_by_patient"):
        for name in CLASSES:
            assert found[kind][name]["value"] == pytest.approx(
                wanted[kind][name]["value"], abs=1e-12
            )
    for unit in ("by_slice", "by_patient"):
        for key in ("accuracy", "balanced_accuracy", "macro_f1"):
            assert found["classes"][unit][key]["value"] == pytest.approx(
                wanted["classes"][unit][key]["value"], abs=1e-12
            )
        for name, row in wanted["classes"][unit]["classes"].items():
            for key in ("recall", "precision", "specificity", "f1"):
                assert found["classes"][unit]["classes"][name][key][
                    "value"
                ] == pytest.approx(row[key]["value"], abs=1e-12)
    for points in ("operating_points", "operating_points_by_patient"):
        assert found[points].keys() == wanted[points].keys()
        for point, rates in wanted[points].items():
            for rate, figure in rates.items():
                assert found[points][point][rate]["value"] == pytest.approx(
                    figure["value"], abs=1e-12
                )


def test_intervals_are_about_as_wide_as_drawn_ones():
    found, pooled = merged()
    wanted = set_figures(pooled)
    for key in ("accuracy", "tumor_sensitivity", "brier", "set_size"):
        width = found[key]["high"] - found[key]["low"]
        assert width == pytest.approx(wanted[key]["high"] - wanted[key]["low"], rel=0.3)


def test_areas_under_curves_are_those_of_the_pooled_slices_in_bins():
    found, pooled = merged()
    wanted = set_figures(pooled)["auroc_tumor"]["value"]
    # Ties within a bin count half: of 2,000 bins few hold a pair.
    assert found["auroc_tumor"]["value"] == pytest.approx(wanted, abs=2e-3)
    at_once = merge_counts({"all": site_counts(pooled, {}, 1)})
    assert found["auroc_tumor"]["value"] == at_once["auroc_tumor"]["value"]
    drawn = curve_figures(pooled)["roc"]["tumor"]
    mine = found["curves"]["roc"]["tumor"]
    at = np.interp(drawn["x"], mine["x"], mine["y"])
    assert np.abs(at - drawn["y"]).max() < 0.1


def test_reliability_is_that_of_the_pooled_slices():
    found, pooled = merged()
    wanted = curve_figures(pooled)["reliability"]
    for kind in ("most_probable", "tumor"):
        for mine, theirs in zip(
            found["curves"]["reliability"][kind]["bins"],
            wanted[kind]["bins"],
            strict=True,
        ):
            assert mine["slices"] == theirs["slices"]
            assert mine["sure"] == pytest.approx(theirs["sure"], abs=1e-12)
            assert mine["right"]["value"] == pytest.approx(
                theirs["right"]["value"], abs=1e-12
            )


def test_a_class_of_few_patients_is_in_nothing_that_is_sent():
    said = [(f"g{row}", "glioma", "glioma") for row in range(6)]
    said += [(f"p{row}", "pituitary", "glioma") for row in range(2)]
    counts = site_counts(made_set(said), {}, min_cell=5)
    assert counts["withheld_classes"] == ["pituitary"]
    assert counts["all"]["slices"] == 6
    assert counts["all"]["by_slice"]["confusion"][0][0] == 6
    assert np.sum(counts["all"]["by_slice"]["confusion"]) == 6
    with pytest.raises(DatasetError, match="No class has 7 patients"):
        site_counts(made_set(said), {}, min_cell=7)


def test_one_small_subgroup_takes_another_with_it():
    names = ["axial"] * 6 + ["coronal"] * 8 + ["sagittal"] * 2
    said = [(f"g{row}", "glioma", "glioma") for row in range(16)]
    sent = site_counts(made_set(said), {"plane": names}, min_cell=5)["groups"]["plane"]
    # The whole less the coronal slices would else show the two sagittal ones.
    assert sorted(sent["parts"]) == ["coronal"]
    assert sent["withheld"] == 2


def test_small_bins_are_poured_together_and_none_is_lost():
    _, pooled = merged()
    counts = site_counts(pooled, {}, min_cell=5)
    for kind in ("most_probable", "tumor"):
        bins = np.array(counts["all"]["reliability"][kind])[:, 0]
        assert bins.sum() == counts["all"]["slices"]
        assert not ((bins > 0) & (bins < 5)).any()
    sides = counts["all"]["by_slice"]["scores"]["tumor"]
    assert all(value >= 5 for value in sides["positive"].values())
    assert sum(sides["positive"].values()) == int(pooled.tumor.sum())
    assert all(0 <= int(row) < SCORE_BINS for row in sides["negative"])


def test_the_page_is_that_of_an_evaluation(tmp_path):
    found, _ = merged(min_cell=2)
    found["model"] = {"name": "tiny", "version": "1", "operating_point": "screening"}
    write_federated_report(found, None, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "What the sites sent" in page
    assert "By site of the federation" in page
    assert json.loads((tmp_path / "metrics.json").read_text())["slices"] > 100


def test_counts_of_another_version_are_refused():
    counts = site_counts(drawn_site("a", 20, 0), {}, 1)
    with pytest.raises(DatasetError, match="b sent 'other'"):
        merge_counts({"a": counts, "b": {**counts, "schema": "other"}})
    with pytest.raises(DatasetError, match="cannot be used"):
        merge_counts({"a": {"schema": counts["schema"]}})
