"""Flower's own processes: a SuperLink at the server, a SuperNode at each site.

Over TLS, and by keys that the server knows. The app that Flower hands to every process
is an empty shell that names `apps`; all code is the installed package's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import tumorlens
from tumorlens.errors import OutputError, SettingError, TrainingError

_SHELL = """\
[project]
name = "tumorlens-federation"
version = "{version}"
description = "Names the apps of an installed TumorLens"
license = {{ file = "LICENSE" }}
dependencies = ["flwr>={flower}"]

[tool.flwr.app]
publisher = "tumorlens"
fab-format-version = 1
flwr-version-target = "{flower}"

[tool.flwr.app.components]
serverapp = "tumorlens.scale.federation.apps:server_app"
clientapp = "tumorlens.scale.federation.apps:site_app"

[tool.flwr.app.config]
folder = ""
weights = ""
"""

_CONNECTION = """\
[superlink]
default = "federation"

[superlink.federation]
address = "{address}"
{security}
"""

_ENVIRONMENT = {
    # Nothing is told to Flower's makers.
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
}
SITE, MANIFEST, FOLDER, AUDIT_KEY, MAX_EPSILON = (
    "site",
    "manifest",
    "folder",
    "audit-key",
    "max-epsilon",
)
"""What a site is told of itself, in Flower's node configuration."""

_ALL_ADDRESSES = ("0.0.0.0", "::", "[::]")
_LOOPBACK = "127.0.0.1"

_SECONDS_TO_START = 300.0
_FIRST_WAIT, _LONGEST_WAIT = 2.0, 30.0
_MAKE_KEY = "Make one: ssh-keygen -t ecdsa -b 384 -N '' -f KEY"
_LOG = "superlink.log"


@dataclass(frozen=True)
class ServerTls:
    """What a server shows of itself.

    Parameters
    ----------
    certificate, key
        The server's certificate with its names, and its private key (PEM).
    authority
        Certificate of who signed it (PEM).
    """

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Parameters
    ----------
    host, port
        Name or number, and port.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT``.

        Raises
        ------
        SettingError
            It is none.
        """
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise SettingError(f"The address is '{text}'.", "Write HOST:PORT.")
        return cls(host, int(port))

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"{self.host}:{self.port}"

    def from_here(self) -> Address:
        """Say where Flower's own processes on this machine reach a server."""
        everywhere = self.host in _ALL_ADDRESSES
        return Address(_LOOPBACK, self.port) if everywhere else self


def check_certificate(certificate: Path, host: str) -> None:
    """Make sure that a server's certificate names a host.

    Flower's own processes beside the server come over TLS, too, and take no certificate
    that does not name the address which they call.

    Parameters
    ----------
    certificate
        PEM.
    host
        Name or number.

    Raises
    ------
    SettingError
        It is no certificate, or does not name the host.
    """
    from cryptography import x509

    try:
        x509_certificate = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = x509_certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        named: list[str] = []
    except (OSError, ValueError) as error:
        raise SettingError(
            f"{certificate} is no certificate: {error}.", "Give one in PEM."
        ) from error
    else:
        numbers = names.value.get_values_for_type(x509.IPAddress)
        named = [*map(str, numbers), *names.value.get_values_for_type(x509.DNSName)]
    # A pattern stands for one part of a name.
    pattern = f"*.{host.partition('.')[2]}"
    if host not in named and pattern not in named:
        raise SettingError(
            f"{certificate} names {', '.join(named) or 'no address'}, and Flower's own "
            f"processes here call {host}.",
            "Make one whose subjectAltName has both, such as "
            "DNS:federation.example.org,IP:127.0.0.1.",
        )


class SuperLink:
    """Flower's server process, and the one run that it is started for.

    Parameters
    ----------
    folder
        Folder of the federation; Flower's own files go to its ``flower``.
    address
        Where sites reach it.
    tls
        None for a plain connection, on this machine alone.
    sites
        Public keys (OpenSSH) of the sites that may take part, by name; empty where any
        may.
    """

    def __init__(
        self,
        folder: Path,
        address: Address,
        tls: ServerTls | None,
        sites: Mapping[str, Path],
    ) -> None:
        if sites and tls is None:
            raise SettingError(
                "Sites prove who they are over TLS alone.",
                "Give --certificate, --key and --authority too.",
            )
        self._folder = folder
        self._address = address
        self._reached = address.from_here()
        if tls is not None:
            check_certificate(tls.certificate, self._reached.host)
        self._tls = tls
        self._sites = sites
        self._home = folder / "flower"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> SuperLink:
        """Start the process, and make the sites known to it."""
        self._home.mkdir(parents=True, exist_ok=True)
        self._write_shell()
        if self._tls is None:
            security = ["--insecure"]
        else:
            security = [
                *("--ssl-certfile", str(self._tls.certificate)),
                *("--ssl-keyfile", str(self._tls.key)),
                *("--ssl-ca-certfile", str(self._tls.authority)),
            ]
        command = [
            flower_command("flower-superlink"),
            *security,
            *("--host", self._address.host, "--port", str(self._address.port)),
            *("--database", str(self._home / "state.db")),
            "--disable-runtime-dependency-installation",
            *(["--enable-supernode-auth"] if self._sites else []),
        ]
        with (self._home / _LOG).open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment()
            )
        try:
            self._wait_until_it_answers()
            for name, key in self._sites.items():
                self._register(name, key)
        except BaseException:
            stop_process(self._process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process."""
        stop_process(self._process)

    def run(self, weights: Path | None, say: Callable[[str], None] = print) -> None:
        """Start the run, and follow it to its end.

        Raises
        ------
        TrainingError
            The run failed, or the process has ended.
        """
        choices = {"folder": str(self._folder.absolute())}
        if weights is not None:
            choices["weights"] = str(weights.absolute())
        overrides = self._home / "run.toml"
        overrides.write_text(
            "".join(f"{key} = {json.dumps(value)}\n" for key, value in choices.items()),
            encoding="utf-8",
        )
        answer = self._flwr(
            *("run", str(self._home / "shell"), "federation"),
            *("--run-config", str(overrides), "--format", "json"),
        )
        number = str(answer["run-id"])
        say(f"Run {number} has started; Flower's log is {self._home / _LOG}.")
        follow = subprocess.Popen(
            [flower_command("flwr"), "log", number, "federation", "--stream"],
            env=self._environment(),
        )
        try:
            while follow.poll() is None:
                self._check_alive()
                time.sleep(0.5)
        finally:
            stop_process(follow)
        self._check_alive()
        rows = self._flwr(
            *("list", "federation", "--run-id", number, "--format", "json")
        )["runs"]
        status = str(rows[0]["status"])
        if status != "finished:completed":
            raise TrainingError(
                f"The federation ended as '{status}'.",
                f"See the lines above and {self._home / _LOG}, then add --resume.",
            )

    def _check_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise TrainingError(
                "Flower's server process has ended.",
                f"See {self._home / _LOG}, then add --resume.",
            )

    def _register(self, name: str, key: Path) -> None:
        try:
            self._flwr(
                *("supernode", "register", str(key), "federation", "--name", name),
                *("--format", "json"),
            )
        except TrainingError as error:
            # Its state is kept: who was known before is known still.
            if "already in use" not in error.message:
                raise

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _SECONDS_TO_START
        while True:
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SettingError(
                    f"Flower's server does not answer at {self._address}.",
                    f"See {self._home / _LOG}: is the port free, and do certificate "
                    "and key fit?",
                )
            try:
                reached = (self._reached.host, self._reached.port)
                socket.create_connection(reached, 1.0).close()
            except OSError:
                time.sleep(0.2)
            else:
                return

    def _flwr(self, *arguments: str) -> dict[str, Any]:
        """Call Flower's command, and read its answer."""
        done = subprocess.run(
            [flower_command("flwr"), *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        start = done.stdout.find("{")
        try:
            answer: dict[str, Any] = json.loads(done.stdout[start:])
        except ValueError:
            answer = {"success": False, "error-message": done.stderr or done.stdout}
        if not answer.get("success"):
            raise TrainingError(
                f"Flower refuses: {str(answer.get('error-message', '')).strip()}",
                f"See {self._home / _LOG}.",
            )
        return answer

    def _write_shell(self) -> None:
        import flwr

        shell = self._home / "shell"
        shell.mkdir(exist_ok=True)
        text = _SHELL.format(version=tumorlens.__version__, flower=flwr.__version__)
        (shell / "pyproject.toml").write_text(text, encoding="utf-8")
        (shell / "LICENSE").write_text("Apache-2.0\n", encoding="utf-8")
        if self._tls is None:
            security = "insecure = true"
        else:
            authority = json.dumps(str(self._tls.authority.absolute()))
            security = f"root-certificates = {authority}"
        connection = _CONNECTION.format(address=self._reached, security=security)
        (self._home / "config.toml").write_text(connection, encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        return flower_environment(self._home)


def site_facts(
    name: str,
    manifest: Path,
    folder: Path,
    audit_key: Path | None = None,
    max_epsilon: float | None = None,
) -> dict[str, str | float]:
    """Say what a site is told of itself.

    Parameters
    ----------
    name, manifest, folder, max_epsilon
        The same as of `tumorlens.scale.federation.site.Site`.
    audit_key
        File of the secret that the sites share.
    """
    facts: dict[str, str | float] = {
        SITE: name,
        MANIFEST: str(manifest.absolute()),
        FOLDER: str(folder.absolute()),
    }
    if audit_key is not None:
        facts[AUDIT_KEY] = str(audit_key.absolute())
    if max_epsilon is not None:
        facts[MAX_EPSILON] = max_epsilon
    return facts


def run_supernode(
    server: Address,
    authority: Path | None,
    key: Path | None,
    told: Mapping[str, str | float],
    folder: Path,
    port: int,
    say: Callable[[str], None] = print,
) -> int:
    """Run Flower's process of a site, until it is stopped.

    Parameters
    ----------
    server
        Where the server listens.
    authority
        Certificate of who signed the server's (PEM); None for a plain connection.
    key
        The site's private key (OpenSSH); None where the server asks for none.
    told
        What `site_facts` gives.
    folder
        Folder of the site; Flower's own files go to its ``flower``.
    port
        Port on this machine, for the site's own processes.
    say
        Receives lines of progress.

    Returns
    -------
    int
        The process's exit status.
    """
    home = folder / "flower"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}.") from error
    facts = " ".join(f"{name}={json.dumps(value)}" for name, value in told.items())
    command = [
        flower_command("flower-supernode"),
        *("--superlink", str(server), "--node-config", facts),
        *(
            ["--insecure"]
            if authority is None
            else ["--root-certificates", str(authority)]
        ),
        *([] if key is None else ["--auth-supernode-private-key", str(key)]),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    _check_key(key)
    _check_port(port)
    current: list[subprocess.Popen[bytes]] = []
    stopped = Event()

    def stop(*_: object) -> None:
        stopped.set()
        for process in current:
            process.terminate()

    before = signal.signal(signal.SIGTERM, stop)
    wait = _FIRST_WAIT
    try:
        while not stopped.is_set():
            started = time.monotonic()
            current[:] = [subprocess.Popen(command, env=flower_environment(home))]
            status = current[0].wait()
            if status == 0 or stopped.is_set():
                return status
            # The server knows this site only later, or takes no site right now.
            if time.monotonic() - started > _LONGEST_WAIT:
                wait = _FIRST_WAIT
            say(f"The server does not take this site: again in {wait:.0f} s.")
            stopped.wait(wait)
            wait = min(2.0 * wait, _LONGEST_WAIT)
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in current:
            stop_process(process)


def _check_key(key: Path | None) -> None:
    if key is None:
        return
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        private_key = load_ssh_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingError(f"{key} is no key: {error}.", _MAKE_KEY) from error
    if not isinstance(private_key, EllipticCurvePrivateKey):
        raise SettingError(f"{key} is a key of another kind.", _MAKE_KEY)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SettingError(
                f"Port {port} of this machine is taken.", "Give another --port."
            ) from error


def flower_command(name: str) -> str:
    """Find a command of Flower's beside this Python.

    Raises
    ------
    SettingError
        It is not there.
    """
    beside = Path(sys.executable).parent / name
    command = str(beside) if beside.exists() else shutil.which(name)
    if command is None:
        raise SettingError(
            f"Flower's command {name} is not there.",
            "Run: pip install 'tumorlens[federated]'",
        )
    return command


def flower_environment(home: Path) -> dict[str, str]:
    """Make the environment of Flower's processes: their files lie in `home`."""
    # They start each other by name.
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join((beside, os.environ.get("PATH", "")))
    return {
        **os.environ,
        **_ENVIRONMENT,
        "FLWR_HOME": str(home.absolute()),
        "PATH": path,
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }


def stop_process(process: subprocess.Popen[bytes] | None, seconds: float = 10) -> None:
    """End a process, kindly at first."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def check_sites(texts: Sequence[str], files: str) -> dict[str, Path]:
    """Read options of the form ``NAME=FILE``.

    Parameters
    ----------
    texts
        What was given.
    files
        What the files are, for the error.

    Raises
    ------
    SettingError
        One is of another form, a name stands twice, or a file is not there.
    """
    path_by_name: dict[str, Path] = {}
    for text in texts:
        name, separator, file = text.partition("=")
        if not (name and separator and file):
            raise SettingError(f"A site is given as '{text}'.", f"Write NAME={files}.")
        if name in path_by_name:
            raise SettingError(f"Two sites are called '{name}'.", "Name them apart.")
        if not Path(file).exists():
            raise SettingError(f"There is no {files} at {file}.", "Check the path.")
        path_by_name[name] = Path(file)
    return path_by_name
