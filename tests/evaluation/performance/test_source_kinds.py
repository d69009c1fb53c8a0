"""Sources with tumours and tumour-free pictures, and sources with one of both."""

from tests.samples.scored_sets import made_set
from tumorlens.evaluation.performance.source_kinds import (
    BOTH_KINDS,
    ONE_KIND,
    source_kinds,
)

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
