"""Parts of a set."""

import numpy as np

from tests.samples.scored_sets import made_set, random_set
from tumorlens.evaluation.performance.subgroups import section, subgroup_figures


def test_parts_add_up_and_unnamed_ones_are_left_out():
    scored = random_set(4)
    found = subgroup_figures(scored)
    planes = found["plane"]
    assert set(planes) == {"axial", "coronal"}
    named = sum(record.plane != "" for record in scored.records)
    assert sum(part["slices"] for part in planes.values()) == named
    outlined = np.isfinite(scored.outline_shares).sum()
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
    scored = made_set([("a", "glioma", "glioma"), ("b", "glioma", "glioma")])
    assert subgroup_figures(scored) == {}


def test_the_section_has_a_table_for_each_kind():
    found = subgroup_figures(random_set(5))
    assert len(section(found).tables) == len(found)
