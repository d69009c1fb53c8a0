"""What is in `deploy/` is what its readers take, and says what TumorLens does."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import promql_parser
import pytest
import yaml

from tests.scripts.test_house import load
from tumorlens.cli.main import COMMANDS, tumorlens_command
from tumorlens.pacs.queue import SeriesQueue
from tumorlens.settings import NODE_LIMITS
from tumorlens.web.uploads.store import STAGE, Store
from tumorlens.web.uploads.upload import Kind, State

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(DEPLOY.glob("kubernetes/*.yaml"))
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
ALERTS = DEPLOY / "prometheus/alerts.yaml"
DASHBOARD = DEPLOY / "grafana/tumorlens.json"

RENDER_KEYS = {
    # Keys of a web service, as the blueprint's specification lists them (2026-10).
    "type",
    "name",
    "runtime",
    "plan",
    "region",
    "repo",
    "branch",
    "dockerCommand",
    "dockerContext",
    "dockerfilePath",
    "numInstances",
    "scaling",
    "healthCheckPath",
    "maxShutdownDelaySeconds",
    "autoDeploy",
    "autoDeployTrigger",
    "buildFilter",
    "domains",
    "disk",
    "envVars",
    "ipAllowList",
    "previews",
    "registryCredential",
    "renderSubdomainPolicy",
}


def documents(path: Path) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all(path.read_text("utf-8")) if item]


def test_compose_keeps_its_specification() -> None:
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_part_in_compose_is_locked_down() -> None:
    (compose,) = documents(DEPLOY / "compose.yaml")
    ours = [x for x in compose["services"].values() if "build" in x]
    assert len(ours) == 3
    for service in ours:
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert (ROOT / "deploy" / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert compose["networks"]["back"]["internal"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_valid(path: Path) -> None:
    for item in documents(path):
        if item["kind"] != "Kustomization":
            kubernetes_validate.validate(item, "1.31", strict=True)


def workloads() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        for item in documents(path):
            if item["kind"] in ("Deployment", "StatefulSet"):
                yield item


def test_workloads_have_one_writer_and_no_privilege() -> None:
    found = list(workloads())
    assert len(found) == 2
    for item in found:
        assert item["spec"]["replicas"] == 1
        if item["kind"] == "Deployment":
            # With RollingUpdate two would have the store for a while.
            assert item["spec"]["strategy"]["type"] == "Recreate"
        pod = item["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        (container,) = pod["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert security["capabilities"]["drop"] == ["ALL"]
        probes = {
            container[f"{name}Probe"]["httpGet"]["path"]
            for name in ("liveness", "readiness", "startup")
        }
        assert probes == {"/healthz", "/readyz"}


def test_the_kustomization_names_every_manifest() -> None:
    (listed,) = documents(DEPLOY / "kubernetes/kustomization.yaml")
    others = {path.name for path in MANIFESTS} - {"kustomization.yaml"}
    assert set(listed["resources"]) == others


def test_only_named_networks_reach_the_dicom_port() -> None:
    policies = documents(DEPLOY / "kubernetes/network-policy.yaml")
    assert policies[0]["spec"]["podSelector"] == {}
    assert "ingress" not in policies[0]["spec"]
    sources = [
        source
        for policy in policies
        for rule in policy["spec"].get("ingress", [])
        if 11112 in [port["port"] for port in rule["ports"]]
        for source in rule["from"]
    ]
    assert sources and all("ipBlock" in source for source in sources)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_are_valid(path: Path, tmp_path: Path) -> None:
    text = path.read_text("utf-8")
    assert "\nRestart=on-failure\n" in text and "\nNoNewPrivileges=yes\n" in text
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    # The program itself is not at its place here.
    unit = tmp_path / path.name
    unit.write_text(text.replace("/opt/tumorlens/bin/tumorlens", "/bin/true"))
    checked = subprocess.run(
        [program, "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_renders_file_has_keys_that_it_knows() -> None:
    (blueprint,) = documents(ROOT / "render.yaml")
    (service,) = blueprint["services"]
    assert set(service) <= RENDER_KEYS
    assert (service["type"], service["runtime"]) == ("web", "docker")
    assert service["healthCheckPath"] == "/readyz"
    assert (ROOT / service["dockerfilePath"]).is_file()
    assert set(service["disk"]) == {"name", "mountPath", "sizeGB"}
    for item in service["envVars"]:
        assert set(item) in ({"key", "value"}, {"key", "generateValue"})
    names = {item["key"] for item in service["envVars"]}
    # The port is the host's to say, and a login is made at the first start.
    assert not names & {"PORT", "TUMORLENS_PORT", "TUMORLENS_INSECURE_NO_LOGIN"}
    assert "TUMORLENS_ADMIN_TOKEN" in names


def test_the_image_runs_as_nobody_in_particular() -> None:
    image = load("deployment").Dockerfile(DEPLOY / "Dockerfile")
    assert len(image.stages) == 2
    runtime = image.stages[-1]
    assert runtime.value("USER") == "10001:10001"
    assert "/readyz" in runtime.value("HEALTHCHECK")
    assert json.loads(runtime.value("ENTRYPOINT")) == ["tumorlens"]
    # A value here would go before the PORT that a host sets.
    assert "TUMORLENS_PORT" not in runtime.environment
    assert runtime.environment["PORT"] == "8080"
    for stage in image.stages:
        for sources, _ in stage.copied:
            assert all((ROOT / name).exists() for name in sources)


def variables(path: Path) -> set[str]:
    return set(re.findall(r"\bTUMORLENS_NODE_[A-Z_]+\b", path.read_text("utf-8")))


def test_variables_of_the_node_are_ones_that_it_reads() -> None:
    node = tumorlens_command.get_command(click.Context(tumorlens_command), "node")
    assert node is not None
    known = {str(item.envvar) for item in node.params if isinstance(item, click.Option)}
    assert {row.environment for row in NODE_LIMITS.values()} <= known
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    found = set().union(*map(variables, [*files, ROOT / "docs/deployment.md"]))
    # Ends in "..." where any of them is meant.
    assert len(found) > 5
    assert {name for name in found if not name.endswith("_")} <= known


def commands_run() -> Iterator[str]:
    for unit in UNITS:
        yield re.findall(r"(?m)^ExecStart=\S+ (.*)$", unit.read_text("utf-8"))[0]
    for item in workloads():
        (container,) = item["spec"]["template"]["spec"]["containers"]
        yield shlex.join(container["args"])


def test_commands_that_are_started_exist() -> None:
    found = {line.split()[0] for line in commands_run()}
    assert {"serve", "node"} <= found
    assert found <= set(COMMANDS)


def rules() -> list[dict[str, Any]]:
    (alerts,) = documents(ALERTS)
    return [rule for group in alerts["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    targets = [item for panel in board["panels"] for item in panel["targets"]]
    return [rule["expr"] for rule in rules()] + [item["expr"] for item in targets]


def test_alerts_and_panels_are_prometheus_queries() -> None:
    for expression in expressions():
        promql_parser.parse(expression)
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".")


def test_alerts_pass_prometheus_own_check() -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    checked = subprocess.run(
        [program, "check", "rules", str(ALERTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_and_panels_name_metrics_that_are_documented() -> None:
    page = (ROOT / "docs/deployment.md").read_text("utf-8")
    documented = set(re.findall(r"\btumorlens_[a-z_]+", page))
    named = set().union(*(re.findall(r"\btumorlens_[a-z_]+", x) for x in expressions()))
    assert len(named) > 8
    assert {re.sub("_bucket$", "", name) for name in named} <= documented


def test_a_queue_comes_back_from_a_copy_of_its_folder(tmp_path: Path) -> None:
    """The page says: stop it, copy the folder, and start it on the copy."""
    with closing(SeriesQueue(tmp_path / "queue", 3600.0)) as queue:
        queue.add("1.1", "1", b"image")
        queue.add("2.1", "2", b"another")
        job = queue.next_complete(0.0)
        assert job is not None and queue.put_results(job, [b"report"])
    archive = shutil.make_archive(str(tmp_path / "backup"), "tar", tmp_path / "queue")
    shutil.rmtree(tmp_path / "queue")
    shutil.unpack_archive(archive, tmp_path / "restored", filter="data")
    with closing(SeriesQueue(tmp_path / "restored", 3600.0)) as queue:
        assert queue.counts() == {"sending": 1, "receiving": 1}
        job = queue.next_to_send()
        assert job is not None and [x.read_bytes() for x in job.files] == [b"report"]
        job = queue.next_complete(0.0)
        assert job is not None and [x.read_bytes() for x in job.files] == [b"another"]


def test_a_store_comes_back_from_a_copy_of_its_folder(tmp_path: Path) -> None:
    files = {"00001": io.BytesIO(b"a series")}
    with closing(Store(tmp_path / "store", 3600, 2**20)) as store:
        sent = store.add_scan("1 file", "anna", "screening", files)
        key = store.key
        _, token = store.tokens.add("anna", ["read"], 7.0)
    archive = shutil.make_archive(str(tmp_path / "backup"), "tar", tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    shutil.unpack_archive(archive, tmp_path / "restored", filter="data")
    with closing(Store(tmp_path / "restored", 3600, 2**20)) as store:
        # Sessions and tokens open what they opened.
        assert store.key == key
        assert store.tokens.find(token) is not None
        assert store.get(sent.id, "anna", Kind.SCAN).state is State.WAITING
        job = store.queue.claim(STAGE, "a worker")
        assert job is not None and job.id == sent.id
        (file,) = store.sent_files(job).values()
        assert file.read_bytes() == b"a series"
