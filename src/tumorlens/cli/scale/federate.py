"""`tumorlens federate`: one model over many hospitals, of which only weights leave."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tumorlens.cli._shared import EXISTING_FILE, FOLDER, make_folder
from tumorlens.errors import MissingExtraError, SettingError, TrainingError
from tumorlens.report.slice.document import RESEARCH_USE

if TYPE_CHECKING:
    from tumorlens.scale.federation.plan import FederationPlan

Command = TypeVar("Command", bound=Callable[..., Any])

_TRAINING = {
    "network": "network",
    "rounds": "epochs",
    "local_steps": "steps_per_epoch",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "size": "size",
    "early_size": "early_size",
    "transplant_share": "transplant_share",
    "seed": "seed",
}
"""Options that are fields of `TrainingConfig`, by their names there."""

_PRIVACY = {
    "dp_epsilon": "epsilon",
    "dp_delta": "delta",
    "dp_clip": "clip",
    "dp_patients": "patients_per_step",
}


def plan_options(command: Command) -> Command:
    """Add the options that make a federation's plan."""
    for option in reversed(_PLAN_OPTIONS):
        command = option(command)
    return command


_PLAN_OPTIONS = (
    click.option("--network", metavar="NAME", help="The same as of `tumorlens train`."),
    click.option("--rounds", type=click.IntRange(min=1), help="Rounds of the run."),
    click.option(
        "--local-steps",
        type=click.IntRange(min=1),
        help="Steps that each site takes in a round.",
    ),
    click.option("--batch-size", type=click.IntRange(min=1)),
    click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True)),
    click.option("--size", type=int, help="Edge of the input, in pixels."),
    click.option("--early-size", type=int, help="The same, at the beginning."),
    click.option(
        "--transplant-share",
        type=click.FloatRange(0, 1),
        help="The same as of `tumorlens train`.",
    ),
    click.option("--seed", type=int),
    click.option(
        "--strategy",
        type=click.Choice(["fedavg", "fedprox", "fedadam"]),
        help="How the server goes on from the sites' weights.  [default: fedavg]",
    ),
    click.option(
        "--proximal",
        type=click.FloatRange(min=0),
        help="With fedprox: weight of the pull to the server's weights.",
    ),
    click.option(
        "--server-rate",
        type=click.FloatRange(min=0, min_open=True),
        help="With fedadam: the server's learning rate.",
    ),
    click.option(
        "--batch-norm",
        type=click.Choice(["shared", "local", "frozen"]),
        help="local: it never leaves a site (FedBN).  [default: shared]",
    ),
    click.option(
        "--aggregation",
        type=click.Choice(["mean", "trimmed-mean"]),
        help="trimmed-mean: without the lowest and highest of each weight.  "
        "[default: mean]",
    ),
    click.option(
        "--norm-bound",
        type=click.FloatRange(min=0, min_open=True),
        help="Largest move of a site in a round.  [default: 3 times the median]",
    ),
    click.option(
        "--min-sites",
        type=click.IntRange(min=1),
        help="Sites without which no round counts.  [default: 2]",
    ),
    click.option(
        "--round-timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="How long a round waits for its sites.  [default: 3600]",
    ),
    click.option(
        "--secure",
        is_flag=True,
        help="Secure aggregation (SecAgg+): the server reads sums alone. Needs "
        "--norm-bound, which the sites keep, and 3 --min-sites.",
    ),
    click.option(
        "--dp-epsilon",
        type=click.FloatRange(min=0, min_open=True),
        help="Differential privacy of every patient, over the whole run. Needs "
        "--batch-norm frozen.",
    ),
    click.option(
        "--dp-delta",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Its delta.  [default: 1e-5]",
    ),
    click.option(
        "--dp-clip",
        type=click.FloatRange(min=0, min_open=True),
        help="Largest norm of a patient's gradient.  [default: 1]",
    ),
    click.option(
        "--dp-patients",
        type=click.IntRange(min=1),
        help="Patients drawn in a step, on average.  [default: 16]",
    ),
    click.option(
        "--audit",
        is_flag=True,
        help="Look for copies between sites by keyed hashes first; one site keeps "
        "them. Every site needs --audit-key.",
    ),
    click.option(
        "--min-cell",
        type=click.IntRange(min=1),
        help="Sites send no count of fewer patients.  [default: 5]",
    ),
    click.option(
        "--weights",
        type=EXISTING_FILE,
        help="Keras weights to start from.",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on after the last finished round, as the run was started.",
    ),
)


def _prepare(folder: Path, choices: dict[str, Any]) -> FederationPlan:
    """Write the plan into a folder, or read the one that is there."""
    from tumorlens.scale.federation.plan import PLAN, FederationPlan, Privacy

    resume = choices.pop("resume")
    given = {
        name: value for name, value in choices.items() if value not in (None, False)
    }
    if resume:
        if given:
            raise TrainingError(
                f"--resume goes on as the run was started; {sorted(given)[0]} cannot "
                "change.",
                "Leave the option out, or start a new run.",
            )
        return FederationPlan.read(folder)
    if (folder / PLAN).exists():
        raise TrainingError(
            f"{folder} already holds a federation.",
            "Add --resume to go on, or choose another folder.",
        )
    from tumorlens.experiments.run import configured

    training = configured(
        {field: given.pop(name) for name, field in _TRAINING.items() if name in given}
    )
    privacy = {
        field: given.pop(name) for name, field in _PRIVACY.items() if name in given
    }
    if privacy and "epsilon" not in privacy:
        raise click.UsageError(
            "--dp-delta, --dp-clip and --dp-patients need --dp-epsilon."
        )
    plan = FederationPlan(
        training=training, privacy=Privacy(**privacy) if privacy else None, **given
    )
    make_folder(folder)
    plan.write(folder)
    return plan


def _require_extras() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Nothing is told to Flower's makers.
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    try:
        import flwr  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("A federation", "federated") from error
    try:
        import keras  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Training", "train") from error


@click.group()
def federate() -> None:
    """Train one model over many hospitals: only weights and counts leave a site.

    `server` runs at one place, `client` at each hospital, `simulate` is all of it on
    this machine.

    For research use only: TumorLens is not a medical device.
    """


@federate.command()
@click.option(
    "--out",
    "folder",
    type=FOLDER,
    required=True,
    help="Folder of the federation: plan, checkpoint, log, weights, report.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:9092",
    show_default=True,
    help="Where sites reach the server.",
)
@click.option(
    "--certificate",
    type=EXISTING_FILE,
    help="The server's TLS certificate (PEM), which names it and the address of "
    "--listen, or 127.0.0.1 where that is 0.0.0.0.",
)
@click.option(
    "--key",
    type=EXISTING_FILE,
    help="Its private key (PEM).",
)
@click.option(
    "--authority",
    type=EXISTING_FILE,
    help="Certificate of who signed it (PEM).",
)
@click.option(
    "--site",
    "sites",
    multiple=True,
    metavar="NAME=KEY.pub",
    help="A hospital that may take part, and its public key; may be given several "
    "times. Without any, every site that reaches the server may.",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Without TLS: only where nobody else can reach the port.",
)
@plan_options
def server(
    folder: Path,
    listen: str,
    certificate: Path | None,
    key: Path | None,
    authority: Path | None,
    sites: tuple[str, ...],
    insecure: bool,
    weights: Path | None,
    **choices: Any,  # noqa: ANN401 - the options of a plan
) -> None:
    """Run the server of a federation, over TLS.

    It waits for --min-sites, trains in rounds, and keeps a checkpoint after each. Where
    it was stopped or killed, the same call with --resume goes on; sites come back by
    themselves. A site that drops out, comes late or sends broken weights is named in
    OUT/federation.json.
    """
    tls_files = (certificate, key, authority)
    if insecure == any(tls_files) or (any(tls_files) and not all(tls_files)):
        raise click.UsageError(
            "Give --certificate, --key and --authority, or --insecure alone."
        )
    from tumorlens.scale.federation.deployment import (
        Address,
        ServerTls,
        SuperLink,
        check_sites,
    )

    address, keys = Address.parse(listen), check_sites(sites, "KEY.pub")
    _require_extras()
    _prepare(folder, choices)
    tls = None
    if certificate and key and authority:
        tls = ServerTls(certificate, key, authority)
    with SuperLink(folder, address, tls, keys) as link:
        link.run(weights, say=click.echo)
    _show_end(folder)


@federate.command()
@click.option(
    "--data",
    "manifest",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="The hospital's manifest: its split 'train' teaches, the others are counted.",
)
@click.option("--name", required=True, help="Name of the hospital.")
@click.option(
    "--out",
    "folder",
    type=FOLDER,
    required=True,
    help="Folder of what stays here: the final network, local weights, the budget.",
)
@click.option(
    "--server",
    "address",
    metavar="HOST:PORT",
    required=True,
    help="Where the server listens.",
)
@click.option(
    "--authority",
    type=EXISTING_FILE,
    help="Certificate of who signed the server's (PEM).",
)
@click.option(
    "--key",
    type=EXISTING_FILE,
    help="The hospital's private key: ssh-keygen -t ecdsa -b 384 -N '' -f KEY.",
)
@click.option("--insecure", is_flag=True, help="Without TLS.")
@click.option(
    "--audit-key",
    type=EXISTING_FILE,
    help="Secret of all hospitals, which the server does not have.",
)
@click.option(
    "--max-epsilon",
    type=click.FloatRange(min=0, min_open=True),
    help="Take part only where the plan promises at least this much privacy.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=9094,
    show_default=True,
    help="Port of this machine for the site's own processes.",
)
def client(
    manifest: Path,
    name: str,
    folder: Path,
    address: str,
    authority: Path | None,
    key: Path | None,
    insecure: bool,
    audit_key: Path | None,
    max_epsilon: float | None,
    port: int,
) -> int:
    """Take part in a federation as a hospital, until stopped.

    Pictures stay here. What leaves: weights, numbers of slices and patients, counts of
    right and wrong without small cells, and with --audit keyed hashes.
    """
    if insecure == (authority is not None):
        raise click.UsageError("Give --authority, or --insecure.")
    from tumorlens.scale.federation.deployment import (
        Address,
        run_supernode,
        site_facts,
    )

    server_address = Address.parse(address)
    _require_extras()
    return run_supernode(
        server_address,
        authority,
        key,
        site_facts(name, manifest, folder, audit_key, max_epsilon),
        folder,
        port,
    )


@federate.command()
@click.option(
    "--site",
    "sites",
    multiple=True,
    metavar="NAME=MANIFEST",
    help="A site and its manifest; may be given several times.",
)
@click.option(
    "--data",
    "manifest",
    type=click.Path(path_type=Path, exists=True),
    help="Instead: one manifest, split into sites by --by.",
)
@click.option(
    "--by",
    default="source",
    show_default=True,
    metavar="COLUMN",
    help="Column of --data whose values are the sites.",
)
@click.option(
    "--out",
    "folder",
    type=FOLDER,
    required=True,
    help="Folder of the federation; each site gets one below it.",
)
@click.option(
    "--audit-key",
    type=EXISTING_FILE,
    help="Secret of all sites.",
)
@click.option(
    "--study",
    is_flag=True,
    help="Also train on all sites' data together, on each site's alone, and federated "
    "with differential privacy; compare them on patients kept aside at every site.",
)
@click.option(
    "--study-epsilon",
    "epsilons",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(8.0, 3.0),
    show_default=True,
    help="With --study: what differential privacy is tried at.",
)
@plan_options
def simulate(
    sites: tuple[str, ...],
    manifest: Path | None,
    by: str,
    folder: Path,
    audit_key: Path | None,
    study: bool,
    epsilons: tuple[float, ...],
    weights: Path | None,
    **choices: Any,  # noqa: ANN401 - the options of a plan
) -> None:
    """Run a whole federation on this machine, one site after the other.

    The same code as `server` and `client`, in one process.
    """
    if bool(sites) == (manifest is not None):
        raise click.UsageError("Give --site, several times, or --data.")
    from tumorlens.scale.federation.deployment import check_sites, site_facts

    manifests = check_sites(sites, "MANIFEST")
    _require_extras()
    from tumorlens.scale.federation.study import run_study, split_by

    plan = _prepare(folder, choices)
    if manifest is not None:
        manifests = split_by(manifest, by, folder / "sites")
    if len(manifests) < plan.min_sites:
        raise SettingError(
            f"There are {len(manifests)} sites; the plan needs {plan.min_sites}.",
            "Give more, or lower --min-sites.",
        )
    if study:
        run_study(manifests, plan, folder, epsilons, weights, say=click.echo)
        return
    from tumorlens.scale.federation.apps import simulate as run_in_process

    run_in_process(
        {
            name: site_facts(name, path, folder / "sites" / name, audit_key)
            for name, path in manifests.items()
        },
        folder,
        weights,
    )
    _show_end(folder)


def _show_end(folder: Path) -> None:
    from tumorlens.scale.federation.plan import HISTORY, WEIGHTS

    click.echo(f"Weights written to {folder / WEIGHTS}.")
    click.echo(f"What happened in each round: {folder / HISTORY}.")
    click.echo(RESEARCH_USE)
