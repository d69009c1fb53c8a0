"""A real deployment on loopback: TLS, keys, three hospitals, and two kills."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the extra 'federated' is not installed")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.samples.federated_sites import draw_site
from tumorlens.errors import SettingError
from tumorlens.scale.federation.deployment import (
    Address,
    ServerTls,
    SuperLink,
    check_certificate,
    check_sites,
    flower_command,
    run_supernode,
)

NAMES = ("east", "north", "west")
SECONDS = 1800.0
ROUNDS = 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


LOOPBACK = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
)


def write_certificates(
    folder: Path, addresses: Sequence[x509.GeneralName] = LOOPBACK
) -> None:
    """Make an authority, and a server's certificate that it signed."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    server_key = ec.generate_private_key(ec.SECP256R1())

    def begun(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
        )

    authority = (
        begun("authority", authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        begun("server", server_key)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(server.public_bytes(pem))
    (folder / "server.key").write_bytes(
        server_key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def write_site_key(path: Path) -> None:
    """Make a hospital's keys, as ssh-keygen does."""
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    path.with_suffix(".pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
    )


class Deployment:
    """The processes of one federation, each in its own group."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.out = folder / "server"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        write_certificates(folder)
        for name in (*NAMES, "stranger"):
            write_site_key(folder / f"{name}.key")
            draw_site(folder / "data", name)

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tumorlens", "federate", *arguments],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_server(self, *options: str) -> None:
        self._start(
            "server",
            *("server", "--out", str(self.out), "--listen", f"0.0.0.0:{self.port}"),
            *("--certificate", str(self.folder / "server.pem")),
            *("--key", str(self.folder / "server.key")),
            *("--authority", str(self.folder / "authority.pem")),
            *[f"--site={name}={self.folder / f'{name}.pub'}" for name in NAMES],
            *options,
        )

    def start_client(self, name: str) -> None:
        self._start(
            name,
            *("client", "--name", name, "--out", str(self.folder / "sites" / name)),
            *("--data", str(self.folder / "data" / name / "manifest.csv")),
            *("--server", f"127.0.0.1:{self.port}", "--port", str(free_port())),
            *("--authority", str(self.folder / "authority.pem")),
            *("--key", str(self.folder / f"{name}.key")),
        )

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for name in list(self.processes):
            with suppress(subprocess.TimeoutExpired):
                self.processes[name].wait(15)
            self.kill(name)

    def logs(self) -> str:
        files = [*self.folder.glob("*.log"), *self.folder.rglob("flower/*.log")]
        return "\n".join(
            f"--- {file.name}\n{file.read_text(errors='replace')[-3000:]}"
            for file in files
        )

    def rounds(self) -> list[dict]:
        path = self.out / "federation.json"
        with suppress(FileNotFoundError, json.JSONDecodeError):
            return json.loads(path.read_text())["rounds"]
        return []

    def wait_for_rounds(self, count: int) -> None:
        deadline = time.monotonic() + SECONDS
        while len(self.rounds()) < count:
            assert time.monotonic() < deadline, self.logs()
            assert self.processes["server"].poll() is None, self.logs()
            time.sleep(0.5)


@pytest.fixture
def deployment(tmp_path):
    made = Deployment(tmp_path)
    yield made
    made.stop()


def test_hospitals_and_server_are_killed_and_the_federation_goes_on(deployment):
    deployment.start_server(
        *("--network", "seed-cnn", "--rounds", str(ROUNDS), "--local-steps", "1"),
        *("--batch-size", "4", "--size", "32", "--early-size", "32"),
        *("--min-cell", "1", "--round-timeout", "900"),
    )
    for name in (*NAMES, "stranger"):
        deployment.start_client(name)
    deployment.wait_for_rounds(1)
    deployment.kill("west")
    deployment.wait_for_rounds(2)
    deployment.kill("server")
    done = len(deployment.rounds())
    deployment.start_server("--resume")
    assert deployment.processes["server"].wait(SECONDS) == 0, deployment.logs()
    rounds = deployment.rounds()
    assert [item["number"] for item in rounds] == list(range(1, ROUNDS + 1))
    assert {"east", "north"} <= set(rounds[-1]["sites"])
    # The round in which west was killed names it, and nobody else.
    missed = {name for item in rounds for name in item["problems"]}
    assert missed == {"west"}
    took_part = {name for item in rounds for name in item["sites"]}
    # Whoever is not known to the server by key takes no part.
    assert took_part <= set(NAMES)
    assert f"Going on after round {done} of {ROUNDS}" in deployment.logs()
    assert (deployment.out / "global.weights.h5").exists()
    for name in ("east", "north"):
        assert (deployment.folder / "sites" / name / "final.weights.h5").exists()
    pictures = {path.name for path in (deployment.folder / "data").rglob("*.png")}
    assert pictures
    left = {path.name for path in deployment.out.rglob("*") if path.is_file()}
    assert not pictures & left


def test_a_certificate_names_what_flowers_own_processes_call(tmp_path):
    everywhere = Address("0.0.0.0", 9092)
    assert str(everywhere.from_here()) == "127.0.0.1:9092"
    given = Address("federation.example.org", 9092)
    assert given.from_here() == given
    write_certificates(tmp_path)
    files = [tmp_path / name for name in ("server.pem", "server.key", "authority.pem")]
    check_certificate(files[0], "127.0.0.1")
    with pytest.raises(SettingError, match="names 127.0.0.1, localhost, and"):
        check_certificate(files[0], given.host)
    with pytest.raises(SettingError, match="names no address"):
        check_certificate(files[2], given.host)
    with pytest.raises(SettingError, match="is no certificate"):
        check_certificate(files[1], given.host)
    write_certificates(tmp_path, (x509.DNSName("*.example.org"),))
    check_certificate(files[0], given.host)
    with pytest.raises(SettingError, match="here call 127.0.0.1"):
        SuperLink(tmp_path / "out", everywhere, ServerTls(*files), {})


def test_sites_with_keys_need_tls(tmp_path):
    with pytest.raises(SettingError, match="over TLS alone"):
        SuperLink(tmp_path, Address("127.0.0.1", 1), None, {"a": tmp_path})


def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        link = SuperLink(tmp_path, Address("127.0.0.1", port), None, {})
        with pytest.raises(SettingError, match="does not answer"):
            link.__enter__()


def test_sites_are_read_from_options(tmp_path):
    (tmp_path / "a.pub").touch()
    (tmp_path / "b.pub").touch()
    texts = [f"a={tmp_path / 'a.pub'}", f"b={tmp_path / 'b.pub'}"]
    assert list(check_sites(texts, "KEY.pub")) == ["a", "b"]
    with pytest.raises(SettingError, match="Two sites are called 'a'"):
        check_sites([texts[0], texts[0]], "KEY.pub")


def test_a_site_is_told_what_is_wrong_before_it_starts(tmp_path):
    server, told = Address("127.0.0.1", 1), {"site": "a"}
    (tmp_path / "none").write_text("no key")
    with pytest.raises(SettingError, match="is no key"):
        run_supernode(server, None, tmp_path / "none", told, tmp_path, free_port())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=f"Port {port} .* is taken"):
            run_supernode(server, None, None, told, tmp_path, port)


def test_a_missing_command_of_flower_is_told():
    with pytest.raises(SettingError, match="pip install"):
        flower_command("flower-nothing")
