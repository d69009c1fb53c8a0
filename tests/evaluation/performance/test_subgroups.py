"""Parts of a set, and kinds of sources."""

from __future__ import annotations

import numpy as np

from tests.samples.scored_slices import made_set, random_set
from tumorlens.evaluation.performance.subgroups import (
    BOTH_KINDS,
    ONE_KIND,
    source_kinds,
    subgroup_figures,
)
from tumorlens.report.evaluation.performance import subgroup_section


def test_parts_add_up_and_unnamed_ones_are_left_out():
    scored_slices = random_set(4)
    found = subgroup_figures(scored_slices)
    planes = found["plane"]
    assert set(planes) == {"axial", "coronal"}
    named = sum(record.plane != "" for record in scored_slices.records)
    assert sum(part["slices"] for part in planes.values()) == named
    outlined = np.isfinite(scored_slices.outline_shares).sum()
    sizes = found["tumor_size"]
    assert sum(part["slices"] for part in sizes.values()) == outlined
    assert [name.split()[0] for name in sizes] == ["smallest", "middle", "largest"]


def test_the_smallest_third_holds_the_smallest_tumours():
    said = [
        (f"p{row}", "glioma", word)
        for row, word in enumerate(["no_tumor"] * 3 + ["glioma"] * 6)
    ]
    shares = np.arange(9) / 100
    found = subgroup_figures(made_set(said, outline_shares=shares))["tumor_size"]
    found_by_size = [part["tumor_sensitivity"]["value"] for part in found.values()]
    assert found_by_size == [0.0, 1.0, 1.0]


def test_a_set_of_one_kind_has_no_subgroups_of_it():
    scored_slices = made_set([("a", "glioma", "glioma"), ("b", "glioma", "glioma")])
    assert subgroup_figures(scored_slices) == {}


def test_the_section_has_a_table_for_each_kind():
    found = subgroup_figures(random_set(5))
    assert len(subgroup_section(found).tables) == len(found)


SAID = [
    ("a", "glioma", "glioma"),
    ("b", "meningioma", "glioma"),
    ("c", "no_tumor", "no_tumor"),
    ("d", "glioma", "no_tumor"),
    ("e", "no_tumor", "no_tumor"),
]

SOURCES = ["cheng", "cheng", "web", "lgg", "lgg"]


def test_each_kind_of_source_has_its_own_figures():
    found = source_kinds(made_set(SAID, source=SOURCES))
    one, both = found[ONE_KIND], found[BOTH_KINDS]
    assert one["sources"] == ["cheng", "web"]
    assert (one["slices"], one["patients"]) == (3, 3)
    assert one["accuracy"]["value"] == 2 / 3
    assert one["recall"]["meningioma"]["value"] == 0.0
    assert one["tumor_sensitivity"]["value"] == 1.0
    assert both["sources"] == ["lgg"]
    assert both["tumor_sensitivity"]["value"] == 0.0
    assert both["tumor_specificity"]["value"] == 1.0


def test_sources_that_are_all_alike_are_not_told_apart():
    assert source_kinds(made_set(SAID[:3], source=SOURCES[:3])) == {}
    assert source_kinds(made_set(SAID[3:], source=SOURCES[3:])) == {}
