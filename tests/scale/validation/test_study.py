"""A validation follows its protocol, and says where it does not."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.samples.scored_slices import made_set
from tumorlens.errors import DatasetError, SettingError
from tumorlens.scale.federation.site_counts import site_counts
from tumorlens.scale.validation.protocol import read_protocol
from tumorlens.scale.validation.study import (
    SCHEMA,
    count_site,
    merge_sites,
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
    said = []
    for number in range(people):
        true = ("glioma", "meningioma", "pituitary", "no_tumor")[number % 4]
        wrong = "glioma" if true == "no_tumor" else "no_tumor"
        hit = number / people < right
        said.append((f"{site}{number}", true, true if hit else wrong))
    model = {"name": "tiny", "version": "1", "digest": "d" * 64}
    return {
        "schema": SCHEMA,
        "site": site,
        "protocol_sha256": protocol.sha256,
        "software": "0.1.0",
        "model": model,
        "excluded": {"no label": 3},
        "counts": site_counts(made_set(said), {}, 1),
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
    ],
)
def test_a_protocol_that_cannot_be_is_refused(protocol_file, old, new, why):
    protocol_file.write_text(PROTOCOL.replace(old, new))
    with pytest.raises(SettingError) as refused:
        read_protocol(protocol_file)
    assert why in str(refused.value)


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
    # No row of a patient leaves: neither a file's name nor a patient's.
    assert "glioma0" not in json.dumps(sent)
    assert ".png" not in json.dumps(sent)
    with pytest.raises(DatasetError, match="no site 'north'"):
        count_site(protocol, "north", manifest, tiny_bundle)
    protocol_file.write_text(f'model_digest = "{"0" * 64}"\n{PROTOCOL}')
    with pytest.raises(DatasetError, match="is of the model 000000000000"):
        count_site(read_protocol(protocol_file), "east", manifest, tiny_bundle)
