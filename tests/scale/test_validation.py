"""A validation follows its protocol, and says where it does not."""

from __future__ import annotations

import csv
import html
import json
from pathlib import Path

import pytest
from pypdf import PdfReader

from tests.samples.scored_slices import made_set
from tumorlens.errors import DatasetError, SettingError
from tumorlens.report.validation import NOT_KNOWN, checklist_sections
from tumorlens.scale.federation.site_counts import site_counts
from tumorlens.scale.validation import (
    SCHEMA,
    STATEMENTS,
    adjusted_p_values,
    count_site,
    merge_sites,
    read_protocol,
    read_site,
    write_validation,
)

PROTOCOL = """
title = "Two drawn hospitals"
sites = ["east", "west"]
operating_point = "screening"
reference_standard = "drawn"
split = "all"
min_cell = 1
groups = ["plane", "age"]

[primary]
endpoint = "sensitivity"
margin = 0.7
expected = 0.95
patients = 20

[[secondary]]
endpoint = "specificity"
margin = 0.5

[[secondary]]
endpoint = "accuracy"
margin = 0.999
"""


@pytest.fixture
def protocol_file(tmp_path: Path) -> Path:
    path = tmp_path / "protocol.toml"
    path.write_text(PROTOCOL)
    return path


def document(protocol, site, people=40, right=0.95, **changed):
    """Make what a site would send of made-up patients."""
    said, planes, ages = [], [], []
    for number in range(people):
        true = ("glioma", "meningioma", "pituitary", "no_tumor")[number % 4]
        wrong = "glioma" if true == "no_tumor" else "no_tumor"
        hit = number / people < right
        said.append((f"{site}{number}", true, true if hit else wrong))
        planes.append("axial" if number % 8 < 4 else "coronal")
        ages.append("40 to 64")
    model = {"name": "tiny", "version": "1", "digest": "d" * 64}
    return {
        "schema": SCHEMA,
        "site": site,
        "protocol_sha256": protocol.sha256,
        "software": "0.1.0",
        "model": model,
        "excluded": {"no label": 3},
        "counts": site_counts(made_set(said), {"plane": planes, "age": ages}, 1),
        **changed,
    }


def test_a_protocol_says_how_many_patients_it_needs(protocol_file):
    protocol = read_protocol(protocol_file)
    # z(.975) sqrt(.7 .3) + z(.8) sqrt(.95 .05) over .25, squared: 18.7.
    assert protocol.needed_patients == 19
    assert len(protocol.sha256) == 64
    protocol_file.write_text(PROTOCOL + "\n# changed\n")
    assert read_protocol(protocol_file).sha256 != protocol.sha256


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"sensitivity"', '"luck"', "'luck'"),
        ("margin = 0.7", "margin = 0.96", "between the margin and 1"),
        ("patients = 20", "patient = 20", "'patient'"),
        ('["east", "west"]', '["east", "east"]', "named twice"),
        ('title = "Two drawn hospitals"', "", "title"),
        ("margin = 0.7", "margin = ", "cannot be used"),
        ("margin = 0.5", "margin = 0.5\nluck = 1", "'luck'"),
        ("min_cell = 1", 'min_cell = 1\nmultiplicity = "luck"', "'luck' is none of"),
        ("min_cell = 1", 'statements = { luck = "much" }', "'luck'"),
        ("min_cell = 1", "subgroups = { margin = 2 }", "margin is 2.0"),
        ("min_cell = 1", 'subgroups = { endpoints = ["auroc_tumor"] }', "auroc_tumor"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(protocol_file, old, new, why):
    protocol_file.write_text(PROTOCOL.replace(old, new))
    with pytest.raises(SettingError) as refused:
        read_protocol(protocol_file)
    assert why in str(refused.value)


def test_power_is_that_of_the_patients(protocol_file):
    protocol = read_protocol(protocol_file)
    assert protocol.power_of(19) >= 0.8 > protocol.power_of(18)


def test_endpoints_are_tested_in_their_order(protocol_file, tmp_path):
    protocol = read_protocol(protocol_file)
    sites = [document(protocol, name) for name in protocol.sites]
    result = merge_sites(protocol, sites)
    tested = {item["endpoint"]: item for item in result["endpoints"]}
    assert tested["sensitivity"]["role"] == "primary"
    assert tested["sensitivity"]["met"]
    assert tested["specificity"]["met"]
    assert not tested["accuracy"]["met"]
    assert result["deviations"] == []
    assert result["excluded"]["west"] == {"no label": 3}
    write_validation(result, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert protocol.sha256 in page
    pdf = PdfReader(tmp_path / "out" / "report.pdf")
    text = " ".join(" ".join(page.extract_text().split()) for page in pdf.pages)
    assert "Two drawn hospitals" in text
    assert protocol.sha256[:12] in text
    assert "No deviation from the protocol is known." in text
    assert "No deviation from the protocol is known." in page
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["schema"] == "tumorlens-validation/1"


def test_secondary_endpoints_wait_for_the_primary(protocol_file):
    protocol = read_protocol(protocol_file)
    sites = [document(protocol, name, right=0.6) for name in protocol.sites]
    result = merge_sites(protocol, sites)
    assert [item["met"] for item in result["endpoints"]] == [False, False, False]


def test_deviations_are_named(protocol_file):
    protocol = read_protocol(protocol_file)
    other = {"name": "tiny", "version": "2", "digest": "e" * 64}
    east = document(protocol, "east", people=8)
    west = document(protocol, "west", model=other, protocol_sha256="0" * 64)
    result = merge_sites(protocol, [east, west])
    assert result["slices"] == 8
    assert [line.split(" (")[0] for line in result["deviations"]] == [
        "The site west counted by another protocol",
        "The sites used 2 different models.",
        "6 patients count for the primary endpoint; 20 were planned.",
    ]
    alone = merge_sites(protocol, [east])
    assert alone["deviations"][0] == "The site west has sent nothing."


def test_what_makes_figures_doubtful_is_named(protocol_file):
    protocol = read_protocol(protocol_file)
    checked = {"held_out": False, "shares_patients": True}
    east = document(protocol, "east", strangers=checked, manifest_sha256="a" * 64)
    west = document(
        protocol,
        "west",
        manifest_sha256="a" * 64,
        strangers={"held_out": False, "has_copies": True, "shares_patients": False},
        excluded={"cannot be read": 2},
    )
    for item in (east, west):
        del item["counts"]["groups"]["age"]
    result = merge_sites(protocol, [east, west])
    assert result["deviations"] == [
        "No site has enough patients in any group of 'age'.",
        "Patients of the site east trained or tuned the model: its figures are not of "
        "strangers.",
        "Pictures of the site west are copies of the model's training ones.",
        "2 slices of the site west could not be read.",
        "The sites east and west sent one data set.",
    ]


@pytest.mark.parametrize(
    ("method", "corrected"),
    [
        ("holm", [0.04, None, 0.09, 0.09]),
        ("bonferroni", [0.04, None, 0.16, 0.12]),
        ("sequence", [0.01, None, 1.0, 1.0]),
        ("none", [0.01, None, 0.04, 0.03]),
    ],
)
def test_p_values_are_corrected_for_their_number(method, corrected):
    # What could not be tested counts as a test that failed: three others for Holm.
    found = adjusted_p_values([0.01, None, 0.04, 0.03], method)
    assert found == [None if p is None else pytest.approx(p) for p in corrected]


def test_a_subgroup_that_fails_is_found_and_named(protocol_file, tmp_path):
    plan = '\n[subgroups]\nendpoints = ["sensitivity"]\nmargin = 0.6\n'
    protocol_file.write_text(PROTOCOL + plan)
    protocol = read_protocol(protocol_file)
    said, planes = [], []
    for number in range(160):
        true = ("glioma", "no_tumor")[number % 2]
        coronal = number % 4 < 2
        missed = coronal and true == "glioma" and number % 8 == 0
        said.append((f"p{number}", true, "no_tumor" if missed else true))
        planes.append("coronal" if coronal else "axial")
    east = document(protocol, "east")
    counts = site_counts(made_set(said), {"plane": planes, "age": [""] * 160}, 1)
    result = merge_sites(protocol, [{**east, "counts": counts}])
    tests = {
        (item["kind"], item["name"]): item for item in result["subgroup_tests"]["tests"]
    }
    coronal, axial = tests["plane", "coronal"], tests["plane", "axial"]
    assert coronal["figure"]["value"] == 0.5
    assert axial["figure"]["value"] == 1.0
    assert coronal["patients"] == axial["patients"] == 40
    assert coronal["difference"]["value"] == -0.5
    assert coronal["difference"]["low"] < -0.5 < coronal["difference"]["high"] < 0.0
    assert coronal["adjusted_p"] < 0.001
    assert (coronal["met"], axial["met"]) == (False, True)
    # A single site has nothing beside it.
    assert tests["federated_site", "east"]["difference"] is None
    write_validation(result, tmp_path)
    page = html.unescape((tmp_path / "report.html").read_text())
    assert "Lowest sensitivity: plane coronal, 0.500" in page
    assert "with Holm's correction (1979): plane coronal." in page
    assert result["decisions"]["glioma"] == {"glioma": 60, "no_tumor": 20}


def test_checklists_quote_the_protocol_and_say_what_is_not_known(protocol_file):
    stated = '\n[statements]\nethics = "Approved, 12/26"\ndates = "2024 to 2025"\n'
    protocol_file.write_text(PROTOCOL + stated)
    protocol = read_protocol(protocol_file)
    result = merge_sites(
        protocol, [document(protocol, name) for name in protocol.sites]
    )
    stard, claim, tripod = checklist_sections(result)
    answers = [
        {number: answer for number, _, answer in section.tables[0].rows}
        for section in (stard, claim, tripod)
    ]
    assert [len(item) for item in answers] == [48, 44, 52]
    assert answers[0]["6"] == answers[2]["17"] == "“Approved, 12/26”"
    assert answers[0]["9"] == "sites: east, west; “2024 to 2025”"
    assert answers[0]["36"] == "not known to the software"
    assert protocol.sha256 in answers[1]["42"]
    assert "axial" not in answers[0]["25"]
    assert "40 to 64 80" in answers[0]["25"]
    unknown = sum(text == "not known to the software" for text in answers[0].values())
    assert f"{48 - unknown} of 48 items have an answer" in stard.paragraphs[0]


def test_every_fact_of_a_checklist_can_be_known(protocol_file):
    words = "\n".join(f'{name} = "stated"' for name in STATEMENTS)
    protocol_file.write_text(f"{PROTOCOL}\n[statements]\n{words}\n")
    protocol = read_protocol(protocol_file)
    result = merge_sites(
        protocol, [document(protocol, name) for name in protocol.sites]
    )
    rows = [row for part in checklist_sections(result) for row in part.tables[0].rows]
    left = sorted({topic for _, topic, answer in rows if answer == NOT_KNOWN})
    # Of the rest nobody can write in a protocol: who wrote the article found it out.
    assert len(left) <= 14


def test_what_is_no_sites_counts_is_refused(protocol_file, tmp_path):
    protocol = read_protocol(protocol_file)
    east = document(protocol, "east")
    with pytest.raises(DatasetError, match="east stands there twice"):
        merge_sites(protocol, [east, east])
    with pytest.raises(DatasetError, match="No site counted by this protocol"):
        merge_sites(protocol, [{**east, "protocol_sha256": "0"}])
    (tmp_path / "x.json").write_text('{"schema": "other"}')
    with pytest.raises(DatasetError, match="holds no site's counts"):
        read_site(tmp_path / "x.json")


def with_columns(manifest: Path, folder: Path) -> Path:
    """Add ages and a scanner to a drawn set."""
    with manifest.open() as file:
        rows = list(csv.DictReader(file))
    path = folder / "columns.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "age", "scanner"])
        writer.writeheader()
        for number, row in enumerate(rows):
            row["file"] = str(manifest.parent / row["file"])
            row["mask"] = row["mask"] and str(manifest.parent / row["mask"])
            facts = {"age": 15 + number % 3 * 30, "scanner": "AB"[number % 2]}
            writer.writerow(row | facts)
    return path


def test_a_site_counts_by_the_protocol(drawn_set, tiny_bundle, tmp_path, protocol_file):
    included = PROTOCOL + '\n[inclusion]\nscanner = ["A"]\n'
    protocol_file.write_text(included)
    protocol = read_protocol(protocol_file)
    manifest = with_columns(drawn_set, tmp_path)
    sent = count_site(protocol, "east", manifest, tiny_bundle, say=lambda _: None)
    assert sent["excluded"] == {"scanner not as included": 12}
    assert sent["counts"]["all"]["slices"] == 12
    assert set(sent["counts"]["groups"]["age"]["parts"]) == {
        *("under 18", "40 to 64", "65 and over")
    }
    assert sent["protocol_sha256"] == protocol.sha256
    assert sent["strangers"]["held_out"] is False
    assert sent["strangers"]["shares_patients"] is False
    # No row of a patient leaves: neither a file's name nor a patient's.
    assert "glioma0" not in json.dumps(sent)
    assert ".png" not in json.dumps(sent)
    with pytest.raises(DatasetError, match="no site 'north'"):
        count_site(protocol, "north", manifest, tiny_bundle)
    protocol_file.write_text(f'model_digest = "{"0" * 64}"\n{PROTOCOL}')
    with pytest.raises(DatasetError, match="is of the model 000000000000"):
        count_site(read_protocol(protocol_file), "east", manifest, tiny_bundle)


def test_a_table_of_patients_joins_the_manifest(
    drawn_set, tiny_bundle, tmp_path, protocol_file
):
    sexes = PROTOCOL.replace('["plane", "age"]', '["sex"]')
    protocol_file.write_text(sexes + '\n[inclusion]\nsex = ["f", "m"]\n')
    protocol = read_protocol(protocol_file)
    table = tmp_path / "patients.csv"
    table.write_text("patient,sex\nglioma0,f\nglioma1,m\nno_tumor0,f\n")
    sent = count_site(
        protocol, "east", drawn_set, tiny_bundle, lambda _: None, columns=table
    )
    assert sent["excluded"] == {"sex not as included": 18}
    assert {
        name: part["patients"]
        for name, part in sent["counts"]["groups"]["sex"]["parts"].items()
    } == {"f": 2, "m": 1}
    for text, why in (
        ("patient,sex\nnobody,f\n", "none of the manifest's patients"),
        ("patient,sex\nglioma0,f\nglioma0,m\n", "lists a patient twice"),
        ("name,sex\nglioma0,f\n", "no column 'patient'"),
    ):
        table.write_text(text)
        with pytest.raises(DatasetError, match=why):
            count_site(protocol, "east", drawn_set, tiny_bundle, columns=table)
