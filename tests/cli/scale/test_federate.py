"""`tumorlens federate`: what it says, what it refuses, and a run in one process."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from tests.samples.federated_sites import draw_site
from tumorlens.cli.main import main
from tumorlens.data.manifest import read_manifest, write_manifest
from tumorlens.errors import DatasetError
from tumorlens.scale.federation.report import study_sections

TINY = (
    *("--network", "seed-cnn", "--rounds", "1", "--local-steps", "1"),
    *("--batch-size", "4", "--size", "32", "--early-size", "32", "--min-cell", "1"),
)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites")
    return {name: draw_site(folder, name) for name in ("east", "west")}


@pytest.mark.parametrize("command", ["", "server", "client", "simulate"])
def test_help_needs_no_extra(command, capsys, monkeypatch):
    for name in ("flwr", "keras", "dp_accounting"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["federate", *command.split(), "--help"]) == 0
    assert "hospital" in capsys.readouterr().out or command == "simulate"


def test_a_missing_extra_is_named(manifests, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "flwr", None)
    sites = [f"--site={name}={path}" for name, path in manifests.items()]
    assert main(["federate", "simulate", *sites, "--out", str(tmp_path / "o")]) == 2
    assert "pip install '.[federated]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["simulate", "--out", "o"], "Give --site"),
        (["simulate", "--out", "o", "--site", "east"], "NAME=MANIFEST"),
        (["simulate", "--out", "o", "--site", "east=none.csv"], "no MANIFEST at none"),
        (["server", "--out", "o"], "--insecure alone"),
        (["server", "--out", "o", "--insecure", "--listen", "9092"], "HOST:PORT"),
        (
            ["client", "--out", "o", "--name", "a", "--data", ".", "--server", "h:1"],
            "--authority, or --insecure",
        ),
    ],
)
def test_wrong_use_is_told(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["federate", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_simulation_runs_once_and_goes_on(manifests, tmp_path, capsys):
    pytest.importorskip("flwr", reason="the extra 'federated' is not installed")
    out = tmp_path / "out"
    sites = [f"--site={name}={path}" for name, path in manifests.items()]
    call = ["federate", "simulate", *sites, "--out", str(out)]
    assert main([*call, *TINY]) == 0
    text = capsys.readouterr().out
    assert "round   1/1" in text
    assert "global.weights.h5" in text
    assert sorted(json.loads((out / "federation.json").read_text())) == [
        *("copies", "plan", "rounds", "schema")
    ]
    assert main([*call, *TINY]) == 2
    assert "already holds a federation" in capsys.readouterr().err
    assert main([*call, "--resume", "--rounds", "3"]) == 2
    assert "rounds cannot change" in capsys.readouterr().err
    assert main([*call, "--resume"]) == 0
    assert "Going on after round 1 of 1" in capsys.readouterr().out


def test_what_does_not_go_together_is_refused(manifests, tmp_path, capsys):
    pytest.importorskip("flwr", reason="the extra 'federated' is not installed")
    sites = [f"--site={name}={path}" for name, path in manifests.items()]
    call = ["federate", "simulate", *sites, "--out", str(tmp_path / "out"), *TINY]
    assert main([*call, "--dp-epsilon", "8"]) == 2
    assert "--batch-norm frozen" in capsys.readouterr().err
    assert main([*call, "--dp-clip", "2"]) == 2
    assert "need --dp-epsilon" in capsys.readouterr().err
    assert main([*call, "--min-sites", "3"]) == 2
    assert "There are 2 sites" in capsys.readouterr().err


def test_a_study_compares_its_arms_and_goes_on(manifests, tmp_path, capsys):
    pytest.importorskip("flwr", reason="the extra 'federated' is not installed")
    everyone = [row for path in manifests.values() for row in read_manifest(path)]
    write_manifest(everyone, tmp_path / "all.csv")
    call = ["federate", "simulate", "--study", "--data", str(tmp_path / "all.csv")]
    call += ["--out", str(tmp_path / "out"), "--study-epsilon", "8"]
    assert main([*call, *TINY]) == 0
    said = capsys.readouterr().out
    arms = [*("federated", "centralised", "alone-east", "alone-west")]
    arms.append("federated-epsilon-8")
    result = json.loads((tmp_path / "out" / "study" / "metrics.json").read_text())
    assert list(result["arms"]) == arms
    assert [line for line in said.splitlines() if line.startswith("Arm ")] == [
        f"Arm {number} of 5: {name}." for number, name in enumerate(arms, start=1)
    ]
    assert result["arms"]["federated"]["bytes"] > 0
    assert result["arms"]["federated-epsilon-8"]["epsilon"] == pytest.approx(8, abs=0.1)
    assert set(result["arms"]["centralised"]["accuracy_by_site"]) == {"east", "west"}
    assert set(result["beside_centralised"]) == set(arms) - {"centralised"}
    assert set(result["above_mean_alone"]) == {"east", "west"}
    assert list(result["private_beside_federated"]) == ["federated-epsilon-8"]
    assert result["kept_aside"]["east"] == {"slices": 4, "patients": 4}
    page = (tmp_path / "out" / "study" / "report.html").read_text()
    assert "points of centralised" in page
    assert main([*call, "--resume"]) == 0
    assert "Arm" not in capsys.readouterr().out


def test_a_site_of_other_lesions_alone_trains_and_judges_no_arm(manifests, tmp_path):
    pytest.importorskip("flwr", reason="the extra 'federated' is not installed")
    from tumorlens.scale.federation.plan import FederationPlan
    from tumorlens.scale.federation.study import kept_aside_samples
    from tumorlens.training.config import TrainingConfig

    rows = read_manifest(manifests["west"])
    others = [replace(row, label=None, lesion="vascular") for row in rows]
    write_manifest(others, tmp_path / "west.csv")
    plan = FederationPlan(training=TrainingConfig(network="evidence-net-sequences"))
    told = []
    sites = {"east": manifests["east"], "west": tmp_path / "west.csv"}
    found = kept_aside_samples(sites, plan, tmp_path / "out", told.append)
    assert [(name, len(samples)) for name, samples in found.items()] == [("east", 4)]
    (line,) = told
    assert line.startswith("west has no slice of the four classes")
    with pytest.raises(DatasetError, match="No site has a slice"):
        kept_aside_samples({"west": sites["west"]}, plan, tmp_path / "o", told.append)


def test_a_study_says_whether_what_was_asked_is_reached():
    def share(value):
        return {"value": value, "low": value - 0.02, "high": value + 0.02}

    def arm(accuracy, epsilon=None):
        cost = {"bytes": 5e6, "seconds": 90.0, "epsilon": epsilon, "problems": 0}
        sites = {"east": share(accuracy), "west": share(accuracy)}
        figures = {"accuracy": share(accuracy), "auroc_tumor": share(0.95)}
        return {**figures, "accuracy_by_site": sites, **cost}

    result = {
        "plan": {
            "strategy": "fedavg",
            "training": {
                **{"network": "evidence-net", "epochs": 12, "steps_per_epoch": 25},
                "size": 160,
            },
        },
        "margin": 0.015,
        "arms": {
            "federated": arm(0.80),
            "centralised": arm(0.81),
            "federated-epsilon-8": arm(0.70, 7.98),
        },
        "kept_aside": {
            "east": {"slices": 1200, "patients": 30},
            "west": {"slices": 80, "patients": 9},
        },
        "beside_centralised": {
            "federated": {"difference": share(-0.01), "within_margin": True},
            "federated-epsilon-8": {"difference": share(-0.11), "within_margin": False},
        },
        "private_beside_federated": {
            "federated-epsilon-8": {"difference": share(-0.1)}
        },
        "above_mean_alone": {
            "east": {"difference": share(0.05), "above": True},
            "west": {"difference": share(-0.01), "above": False},
        },
    }
    (section,) = study_sections(result)
    assert section.paragraphs[0].startswith("12 rounds of 25 steps a site by fedavg")
    assert "1,280 slices of 39 patients" in section.paragraphs[1]
    asked, arms, by_site, beside = section.tables
    assert asked.rows == [
        (
            "Accuracy within 1.5 points of centralised",
            "less centralised: -0.010 [-0.030, 0.010]",
            "yes",
        ),
        ("Above the mean site alone on every site", "on 1 of 2 sites", "no"),
        ("Cost", "5.0 MB sent, 1.5 minutes", ""),
        (
            "Cost of differential privacy at epsilon 8",
            "less federated without: -0.100 [-0.120, -0.080]",
            "",
        ),
    ]
    assert arms.rows[2][-1] == "7.98"
    assert by_site.columns == ("Arm", "east", "west")
    assert beside.rows[1] == ("west", "80", "9", "-0.010 [-0.030, 0.010]", "no")
