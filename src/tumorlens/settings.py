"""One table of settings: name, type, default, limits, help, environment name.

The command line's options, the environment's names and the documentation are
all made from the fields of `Settings`.
"""

# ruff: noqa: RUF009, ANN401  (`_setting` returns a field, as `dataclasses.field` does)
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tumorlens.errors import SettingError

ENVIRONMENT_PREFIX = "TUMORLENS_"
_SWITCHES = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


def _setting(
    default: Any, help_text: str, low: int | None = None, high: int | None = None
) -> Any:
    return field(
        default=default, metadata={"help": help_text, "low": low, "high": high}
    )


@dataclass(frozen=True)
class Settings:
    """Settings of the server; each field is one row of the table."""

    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(5000, "Port to listen on; 0 takes a free one.", 0, 65535)
    model: Path | None = _setting(
        None, "Folder of the model bundle; by default the one that ships."
    )
    threads: int | None = _setting(
        None,
        "Threads for one forward pass; by default one for each physical core.",
        1,
        256,
    )
    precision: str = _setting(
        "auto",
        "Arithmetic of the network: float32, int8 where the model has such a graph, or "
        "auto for whichever is faster on this machine; every answer names it.",
    )
    operating_point: str | None = _setting(
        None, "Operating point used unless asked otherwise; by default the model's own."
    )
    upload_mb: int = _setting(64, "Largest upload, in MB.", 1, 4096)
    files_per_upload: int = _setting(100, "Most files in one upload.", 1, 10_000)
    scan_mb: int = _setting(256, "Largest upload of a series, in MB.", 1, 4096)
    retention_minutes: int = _setting(
        60, "Minutes after which images and their results are removed.", 1, 525_600
    )
    feedback_days: int = _setting(
        30,
        "Days for which a result that a reader has marked right or wrong is kept, for "
        "'tumorlens data from-feedback'; 0 keeps it no longer than others.",
        0,
        3650,
    )
    pinned_results: int = _setting(
        20,
        "Results that one user, browser or address may pin, so that they stay until "
        "they are unpinned; 0 lets nobody pin any.",
        0,
        10_000,
    )
    store: Path | None = _setting(
        None,
        "Private folder for images and results; by default a temporary one that "
        "is removed when the server stops.",
    )
    store_mb: int = _setting(
        2048,
        "Largest size of that folder, in MB; the oldest results go first.",
        1,
        10**7,
    )
    database_url: str | None = _setting(
        None,
        "Database that several servers and workers share, as "
        "postgresql+psycopg://user@host/name; by default one in the private folder.",
    )
    no_worker: bool = _setting(
        False, "Leave uploads of series to 'tumorlens worker', which runs apart."
    )
    tls_certificate: str | None = _setting(
        None,
        "PEM file of the server's certificate, and of those between it and its "
        "authority; by default there is no TLS.",
    )
    tls_key: str | None = _setting(
        None, "PEM file of the certificate's key, without a password."
    )
    allowed_hosts: str | None = _setting(
        None,
        "Host names that requests may be addressed to, separated by commas; by default "
        "this machine's own names where only it can connect, otherwise any.",
    )
    second_factor: bool = _setting(
        False,
        "Ask every account that has a password for an authenticator app or a passkey "
        "before it may do anything else.",
    )
    oidc_issuer: str | None = _setting(
        None,
        "Issuer of the OpenID provider by which people may sign in, as "
        "https://login.example.org/realm; by default there is none.",
    )
    oidc_client_id: str | None = _setting(
        None,
        "Id by which that provider knows this server; the secret stands in the "
        "variable TUMORLENS_OIDC_CLIENT_SECRET.",
    )
    oidc_role: str = _setting(
        "viewer", "Role of who signs in there for the first time: viewer or reader."
    )
    insecure_no_login: bool = _setting(
        False,
        "Serve other machines without any log-in, as for a demonstration behind a "
        "proxy that has one; every page says so.",
    )
    trusted_proxies: int = _setting(
        0,
        "Proxies in front of the server whose X-Forwarded headers are believed.",
        0,
        10,
    )
    metrics: bool | None = _setting(
        None,
        "Answer /metrics; by default where only this machine can connect, or there is "
        "a log-in.",
    )
    queue_length: int = _setting(
        32, "Uploads of pictures that may wait for the model at a time.", 1, 1000
    )
    client_requests: int = _setting(
        24, "Uploads of pictures of one client at a time.", 1, 1000
    )
    client_scans: int = _setting(
        8, "Uploads of series of one client that may wait at a time.", 1, 1000
    )
    pages_per_upload: int = _setting(
        1000, "Most pages and slices in one upload of pictures.", 1, 100_000
    )
    slices_per_scan: int = _setting(
        10_000, "Most slices in one upload of a series.", 1, 1_000_000
    )
    request_seconds: int = _setting(
        60, "Seconds that judging one upload of pictures may take.", 1, 3600
    )
    scan_minutes: int = _setting(
        240, "Minutes that judging one upload of a series may take.", 1, 10_000
    )
    connections: int = _setting(
        500, "Connections at a time; the slowest are cut off for others.", 16, 10_000
    )
    webhook_hosts: str | None = _setting(
        None,
        "Hosts that may be told that a series is judged, separated by commas; by "
        "default none.",
    )
    peer_seconds: int = _setting(
        30,
        "Seconds for which a peer may be silent, or send the header of a request.",
        1,
        3600,
    )


@dataclass(frozen=True)
class NodeLimits:
    """Limits and times of the DICOM node; each field is one row of its table."""

    associations: int = _setting(
        10, "Associations of the node at a time; more are turned away.", 1, 200
    )
    connections: int = _setting(
        32,
        "Connections at a time that have not asked for an association yet; the oldest "
        "is cut off for a new one.",
        1,
        1000,
    )
    association_seconds: int = _setting(
        10, "Seconds that a connection has to ask for an association.", 1, 300
    )
    peer_seconds: int = _setting(
        30,
        "Seconds for which a peer may be silent, or send one PDU.",
        1,
        3600,
    )
    pdu_kb: int = _setting(
        1024, "Longest PDU, in KB; a longer one is cut off unread.", 16, 65_536
    )
    receiving_mb: int = _setting(
        512,
        "MB of images that are being received at a time, over all associations; the "
        "one that passes it is cut off.",
        144,
        65_536,
    )
    wait_seconds: int = _setting(
        900,
        "Seconds after its last image for which a series that is not known to be whole "
        "waits for more; then it is judged as a part.",
        0,
        604_800,
    )
    study_seconds: int = _setting(
        300,
        "Seconds after the last judgement of one of its series after which a study is "
        "judged as a whole, with --study-results.",
        0,
        604_800,
    )
    stop_seconds: int = _setting(
        10,
        "Seconds that open associations have to end when the node is stopped, and then "
        "the series at hand.",
        0,
        600,
    )


@dataclass(frozen=True)
class Setting:
    """One row of a table.

    Parameters
    ----------
    name
        The name of the field in `Settings` or `NodeLimits`.
    kind
        ``text``, ``number``, ``folder`` or ``switch`` (yes or no).
    default
        None where the default is found elsewhere, as the help says.
    help
        One sentence.
    low, high
        The least and greatest number; None where there is none.
    command
        The command that it is of, where that is another than ``serve``.
    """

    name: str
    kind: str
    default: str | int | bool | None
    help: str
    low: int | None
    high: int | None
    command: str = ""

    @property
    def environment(self) -> str:
        """The name of its environment variable."""
        prefix = f"{self.command.upper()}_" if self.command else ""
        return ENVIRONMENT_PREFIX + prefix + self.name.upper()

    @property
    def option(self) -> str:
        """The name of its command line option."""
        return "--" + self.name.replace("_", "-")

    def parse(self, text: str, origin: str) -> str | int | bool | Path:
        """Read a value.

        Parameters
        ----------
        text
            The value as it was typed.
        origin
            Origin of the value, for the message: the option or the variable.

        Raises
        ------
        SettingError
            Where it is empty, no number, neither yes nor no, or beyond the limits.
        """
        text = text.strip()
        if not text or "\0" in text:
            raise SettingError(f"{origin} is empty.", "Give a value, or leave it out.")
        if self.kind == "folder":
            return Path(text).expanduser()
        if self.kind == "text":
            return text
        if self.kind == "switch":
            if text.lower() not in _SWITCHES:
                raise SettingError(f"{origin} is {text[:40]!r}.", "Give yes or no.")
            return _SWITCHES[text.lower()]
        wanted = f"Give a whole number from {self.low} to {self.high}."
        try:
            number = int(text)
        except ValueError:
            raise SettingError(
                f"{origin} is {text[:40]!r}, which is no whole number.", wanted
            ) from None
        if (self.low is not None and number < self.low) or (
            self.high is not None and number > self.high
        ):
            raise SettingError(f"{origin} is {text[:40]}.", wanted)
        return number


def _table(
    settings: type[Settings | NodeLimits], command: str = ""
) -> Iterator[Setting]:
    kinds = {"str": "text", "int": "number", "bool": "switch", "Path": "folder"}
    for row in fields(settings):
        # Annotations are text here: "int | None" is of the kind "int".
        kind = kinds[str(row.type).split(" ")[0]]
        default: Any = row.default
        yield Setting(row.name, kind, default, **row.metadata, command=command)


SETTINGS: dict[str, Setting] = {row.name: row for row in _table(Settings)}
"""Every setting by name, in the order in which they are shown."""

NODE_LIMITS: dict[str, Setting] = {row.name: row for row in _table(NodeLimits, "node")}
"""Every limit of the DICOM node; likewise."""


def load_settings(
    options: Mapping[str, str | None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Gather the settings: an option goes before the environment's value.

    Parameters
    ----------
    options
        Values from the command line by name of the setting; None where an
        option was not given.
    environment
        Variables; by default the process's. ``PORT``, which hosts set, stands
        in for ``TUMORLENS_PORT``.

    Raises
    ------
    SettingError
        Where a value cannot be; it names the option or the variable.
    """
    options = options or {}
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for row in SETTINGS.values():
        typed, origin = options.get(row.name), row.option
        if typed is None:
            typed, origin = environment.get(row.environment), row.environment
        if typed is None and row.name == "port":
            typed, origin = environment.get("PORT"), "PORT"
        if typed is not None:
            values[row.name] = row.parse(typed, origin)
    return Settings(**values)
