"""A federation beside all data in one place, and beside each site alone.

Every arm is a federation, run by the same code: centralised is one of a single site
that holds all rows and takes all sites' steps, alone is one of that site. An arm that
is done is not run again, and one that was stopped goes on.

Tested in `tests/cli/scale/test_federate.py`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.data.manifest import Record, column_value, read_manifest, write_manifest
from tumorlens.errors import DatasetError
from tumorlens.evaluation.scored_slices import ScoredSlices, by_slice
from tumorlens.experiments.evaluation import write_report
from tumorlens.report.page import render_evaluation
from tumorlens.scale.federation.apps import simulate
from tumorlens.scale.federation.deployment import site_facts
from tumorlens.scale.federation.plan import (
    HISTORY,
    WEIGHTS,
    FederationPlan,
    Privacy,
)
from tumorlens.scale.federation.report import (
    ALONE,
    CENTRALISED,
    FEDERATED,
    PRIVATE,
    study_sections,
)
from tumorlens.scale.federation.site import (
    FINAL_WEIGHTS,
    Site,
    check_first_weights,
    first_model,
    scored_by_network,
)
from tumorlens.statistics import Draws, Resampling, figure
from tumorlens.training.dataset import Sample
from tumorlens.training.weights import load_weights

MARGIN = 0.015
"""How far below the centralised network's accuracy a federated one may be."""

_FEWEST_PATIENTS = 3


def split_by(
    manifest: Path,
    columns: str,
    folder: Path,
    say: Callable[[str], None] = print,
) -> dict[str, Path]:
    """Split a manifest into sites.

    Parameters
    ----------
    manifest
        All rows.
    columns
        Columns whose value names a row's site, with commas between; the first that is
        filled counts.
    folder
        Gets a folder for each site, with its ``manifest.csv``.
    say
        Receives a line for sites that are too small to train and to be kept aside.

    Returns
    -------
    dict
        The manifests, by the site's name.

    Raises
    ------
    DatasetError
        No row names a site.
    """
    rows: dict[str, list[Record]] = defaultdict(list)
    for record in read_manifest(manifest):
        values = [column_value(record, name.strip()) for name in columns.split(",")]
        name = next((item for item in values if item), "")
        if name:
            rows[name].append(record)
    manifests = {}
    for name, own in sorted(rows.items()):
        patients = len({row.group for row in own if row.split == "train"})
        if patients < _FEWEST_PATIENTS:
            say(
                f"{name} is left out: it has {patients} of the {_FEWEST_PATIENTS} "
                "patients that a site trains on at least."
            )
            continue
        path = folder / name / "manifest.csv"
        if not path.exists():
            write_manifest(own, path)
        manifests[name] = path
    if not manifests:
        raise DatasetError(
            f"No site of {manifest} has patients in the split 'train', by {columns}.",
            "Name another column with --by, or run `tumorlens data split`.",
        )
    return manifests


@dataclass(frozen=True)
class _Arm:
    """One way to train.

    Parameters
    ----------
    name
        Its folder, and what the tables call it.
    sites
        Manifests, by the site's name.
    plan
        Choices of its federation.
    """

    name: str
    sites: Mapping[str, Path]
    plan: FederationPlan


def run_study(
    manifests: Mapping[str, Path],
    plan: FederationPlan,
    folder: Path,
    epsilons: Sequence[float],
    weights: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run every arm, compare them, and write ``study.json`` and ``report.html``.

    Parameters
    ----------
    manifests
        The sites' manifests, with the splits ``train`` and ``test``.
    plan
        Choices of the federated arm.
    folder
        Receives a folder for each arm, and both files.
    epsilons
        What differential privacy is tried at.
    weights
        Keras weights that every arm starts from.
    say
        Receives lines of progress.

    Returns
    -------
    dict
        Plain JSON, as in ``study.json`` (schema ``tumorlens-federation-study/1``).
    """
    arms = _arms(manifests, plan, folder, epsilons)
    if weights is not None:
        for arm in arms:
            check_first_weights(arm.plan, weights)
    kept_aside = kept_aside_samples(manifests, plan, folder, say)
    for number, arm in enumerate(arms, start=1):
        home = folder / "arms" / arm.name
        if (home / WEIGHTS).exists():
            continue
        say(f"Arm {number} of {len(arms)}: {arm.name}.")
        home.mkdir(parents=True, exist_ok=True)
        arm.plan.write(home)
        sites = {
            name: site_facts(name, path, home / "sites" / name)
            for name, path in arm.sites.items()
        }
        simulate(sites, home, weights)
    scores = {arm.name: _scores(arm, kept_aside, folder) for arm in arms}
    result = {
        "schema": "tumorlens-federation-study/1",
        "plan": json.loads(plan.to_json()),
        "margin": MARGIN,
        "arms": {
            arm.name: {
                **_arm_figures(scores[arm.name]),
                **_cost(folder / "arms" / arm.name),
            }
            for arm in arms
        },
        "kept_aside": {
            name: {
                "slices": len(samples),
                "patients": len({item.record.group for item in samples}),
            }
            for name, samples in kept_aside.items()
        },
        "beside_centralised": {
            name: {
                "difference": difference,
                "within_margin": difference is not None
                and difference["value"] >= -MARGIN,
            }
            for name, difference in _less(CENTRALISED, scores).items()
        },
        "private_beside_federated": {
            name: {"difference": difference}
            for name, difference in _less(FEDERATED, scores).items()
            if name.startswith(PRIVATE)
        },
        "above_mean_alone": _above_alone(scores, list(kept_aside), list(manifests)),
    }
    page = render_evaluation(
        "What federation is worth",
        f"{len(manifests)} sites, each figure with its 95 % interval over patients",
        study_sections(result),
    )
    write_report(result, page, folder / "study")
    say(f"Page and figures written to {folder / 'study'}.")
    return result


def kept_aside_samples(
    manifests: Mapping[str, Path],
    plan: FederationPlan,
    folder: Path,
    say: Callable[[str], None],
) -> dict[str, list[Sample]]:
    """Read what every arm is judged on, before days of training.

    Parameters
    ----------
    manifests, plan, folder, say
        The same as of `run_study`.

    Returns
    -------
    dict
        Slices of the four classes in the split ``test``, by the site's name. A site
        that has other lesions alone trains and is not in it.

    Raises
    ------
    DatasetError
        A site keeps nobody aside, or no site has a slice of the four classes there.
    """
    test_samples = {}
    for name, path in manifests.items():
        site = Site(name, path, folder / "scored" / name, say=say)
        site.samples("test", plan.training)
        try:
            test_samples[name] = site.judged_samples("test", plan.training)
        except DatasetError as error:
            say(f"{error.message} It trains, and judges no arm.")
    if not test_samples:
        raise DatasetError(
            "No site has a slice of the four classes in the split 'test'.",
            "Run `tumorlens data split` on the manifest.",
        )
    return test_samples


def _arms(
    manifests: Mapping[str, Path],
    plan: FederationPlan,
    folder: Path,
    epsilons: Sequence[float],
) -> list[_Arm]:
    everything = [row for path in manifests.values() for row in read_manifest(path)]
    pooled = folder / "sites" / "pooled.csv"
    if not pooled.exists():
        write_manifest(everything, pooled)
    of_one = replace(
        plan,
        min_sites=1,
        secure=False,
        audit=False,
        strategy="fedavg",
        aggregation="mean",
        batch_norm="shared",
        privacy=None,
        restricted_softmax=False,
    )
    training = plan.training
    more_steps = replace(
        training, steps_per_epoch=training.steps_per_epoch * len(manifests)
    )
    arms = [
        _Arm(FEDERATED, manifests, plan),
        _Arm(CENTRALISED, {"pooled": pooled}, replace(of_one, training=more_steps)),
    ]
    arms += [
        _Arm(f"{ALONE}-{name}", {name: path}, of_one)
        for name, path in manifests.items()
    ]
    private = replace(
        plan,
        batch_norm="frozen",
        training=replace(training, transplant_share=0.0),
    )
    arms += [
        _Arm(
            f"{PRIVATE}{epsilon:g}",
            manifests,
            replace(private, privacy=replace(_privacy(plan), epsilon=epsilon)),
        )
        for epsilon in epsilons
    ]
    return arms


def _privacy(plan: FederationPlan) -> Privacy:
    return plan.privacy or Privacy(8.0)


def _scores(
    arm: _Arm, kept_aside: Mapping[str, Sequence[Sample]], folder: Path
) -> dict[str, ScoredSlices]:
    """Score every site's patients that were kept aside, by the arm's network."""
    home = folder / "arms" / arm.name
    model = first_model(arm.plan.training, arm.plan.batch_norm)
    scores = {}
    for name, samples in kept_aside.items():
        own = home / "sites" / name / FINAL_WEIGHTS
        load_weights(model, own if own.exists() else home / WEIGHTS)
        scores[name] = scored_by_network(model, samples, arm.plan.training.size)
    return scores


def _right(scored: ScoredSlices) -> NDArray[np.float64]:
    judged = by_slice(scored)
    return (judged.predicted == judged.labels).astype(np.float64)


def _arm_figures(scores: Mapping[str, ScoredSlices]) -> dict[str, Any]:
    everything = ScoredSlices.concatenate(list(scores.values()))
    return {
        "accuracy": _accuracy(everything),
        "auroc_tumor": figure(
            Resampling(everything.groups).auroc(everything.p_tumor, everything.tumor)
        ),
        "accuracy_by_site": {name: _accuracy(item) for name, item in scores.items()},
    }


def _accuracy(scored: ScoredSlices) -> Any:  # noqa: ANN401 - a figure or None
    every = np.ones(len(scored.records), bool)
    return Resampling(scored.groups).share(_right(scored) == 1.0, every)


def _mean_draws(groups: Sequence[str], values: NDArray[np.float64]) -> Draws:
    return Resampling(groups).mean(values, np.ones(len(values), bool))


def _less(
    base: str, scores: Mapping[str, Mapping[str, ScoredSlices]]
) -> dict[str, Any]:
    """Accuracy of each other arm less one's, in paired draws of patients."""
    pooled = {
        name: ScoredSlices.concatenate(list(own.values()))
        for name, own in scores.items()
    }
    of_base = pooled.pop(base)
    return {
        name: figure(_mean_draws(of_base.groups, _right(own) - _right(of_base)))
        for name, own in pooled.items()
    }


def _above_alone(
    scores: Mapping[str, Mapping[str, ScoredSlices]],
    sites: Sequence[str],
    trained: Sequence[str],
) -> dict[str, Any]:
    """Accuracy of the federated arm less the mean site's alone, on every site."""
    alone = [f"{ALONE}-{name}" for name in trained]
    advantages = {}
    for name in sites:
        own = scores[FEDERATED][name]
        mean = np.mean([_right(scores[arm][name]) for arm in alone], axis=0)
        difference = figure(_mean_draws(own.groups, _right(own) - mean))
        advantages[name] = {
            "difference": difference,
            "above": difference is not None and difference["value"] > 0.0,
        }
    return advantages


def _cost(home: Path) -> dict[str, Any]:
    history = json.loads((home / HISTORY).read_text(encoding="utf-8"))
    rounds = history["rounds"]
    spent = [
        site["epsilon"]
        for item in rounds
        for site in item["sites"].values()
        if "epsilon" in site
    ]
    return {
        "bytes": sum(item["bytes"] for item in rounds),
        "seconds": sum(item["seconds"] for item in rounds),
        "epsilon": max(spent) if spent else None,
        "problems": sum(len(item["problems"]) for item in rounds),
    }
