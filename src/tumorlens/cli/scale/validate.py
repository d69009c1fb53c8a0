"""`tumorlens validate`: a model at many sites, by a protocol written beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorlens.cli._shared import (
    FILE,
    FOLDER,
    PATH,
    check_files,
    make_folder,
    show_tables,
    write_json,
)
from tumorlens.errors import MissingExtraError
from tumorlens.report.page_parts import Table, figure_text
from tumorlens.report.slice.document import RESEARCH_USE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EXIT_UNSIGNED = 1

_protocol_option = click.option(
    "--protocol",
    "protocol_path",
    type=FILE,
    required=True,
    help="The protocol (TOML), the same file at every site.",
)
_files_argument = click.argument(
    "files",
    nargs=-1,
    required=True,
    type=FILE,
    metavar="FILES...",
)
_password_option = click.option(
    "--ask-password", is_flag=True, help="Ask for the key's password."
)


def _require_extra() -> None:
    try:
        import tumorlens.scale.validation  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Validating", "train") from error


@click.group()
def validate() -> None:
    """Measure a model at many sites, by a protocol that was written beforehand.

    `check` reads the protocol and says its hash, `site` counts at one hospital,
    `merge` puts the hospitals' counts together and decides. `sign` signs the report,
    and `verify` shows that nobody has changed it since.
    """


@validate.command()
@_protocol_option
def check(protocol_path: Path) -> None:
    """Read a protocol, say its SHA-256, and how many patients it needs.

    Write the hash down where others can see it, before any data are looked at.
    """
    from tumorlens.scale.validation import read_protocol

    protocol = read_protocol(protocol_path)
    click.echo(f"SHA-256 {protocol.sha256}")
    click.echo(
        f"{protocol.primary.name} above {protocol.primary.margin:g}, expected "
        f"{protocol.expected:g}: a power of {protocol.power:g} needs "
        f"{protocol.needed_patients} patients; {protocol.patients} are planned."
    )


@validate.command()
@_protocol_option
@click.option("--name", required=True, help="Name of the site, as in the protocol.")
@click.option(
    "--data",
    "manifest",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="The site's manifest (CSV) or folder.",
)
@click.option(
    "--columns",
    type=FILE,
    help="A table (CSV) with a row a patient: its columns, such as age and sex, join "
    "those of the manifest.",
)
@click.option(
    "--model",
    type=PATH,
    help="A model bundle other than the shipped one.",
)
@click.option(
    "--json",
    "json_path",
    type=FILE,
    required=True,
    help="File for the counts: what is sent.",
)
def site(
    protocol_path: Path,
    name: str,
    manifest: Path,
    columns: Path | None,
    model: Path | None,
    json_path: Path,
) -> None:
    """Judge a site's labelled slices, and write counts without any patient's row."""
    check_files(json_path)
    _require_extra()
    from tumorlens.scale.validation import count_site, read_protocol

    protocol = read_protocol(protocol_path)
    counts = count_site(protocol, name, manifest, model, click.echo, columns)
    write_json(json_path, counts)
    click.echo(f"Counts of {name} written to {json_path}.")


@validate.command()
@_protocol_option
@click.argument(
    "counts",
    nargs=-1,
    required=True,
    type=FILE,
    metavar="COUNTS...",
)
@click.option(
    "--out",
    "folder",
    type=FOLDER,
    required=True,
    help="Folder for metrics.json, report.html and report.pdf.",
)
@click.option(
    "--sign-key",
    type=FILE,
    help="Sign all three with this private Ed25519 key; see `validate sign`.",
)
@_password_option
def merge(
    protocol_path: Path,
    counts: tuple[Path, ...],
    folder: Path,
    sign_key: Path | None,
    ask_password: bool,
) -> None:
    """Merge what sites counted, test the endpoints, and name deviations.

    COUNTS are files that `validate site` wrote.
    """
    make_folder(folder)
    _require_extra()
    key = None if sign_key is None else _private_key(sign_key, ask_password)
    from tumorlens.scale.validation import (
        merge_sites,
        read_protocol,
        read_site,
        write_validation,
    )

    protocol = read_protocol(protocol_path)
    result = merge_sites(protocol, [read_site(path) for path in counts])
    files = write_validation(result, folder)
    rows = [
        (
            f"{item['role']}: {item['endpoint']} above {item['margin']:g}",
            figure_text(item["figure"]),
            "met" if item["met"] else "not met",
        )
        for item in result["endpoints"]
    ]
    show_tables([Table(protocol.title, ("Endpoint", "Figure", ""), rows)])
    for sentence in result["deviations"]:
        click.echo(f"Deviation from the protocol: {sentence}")
    click.echo(f"Report written to {folder}: {', '.join(path.name for path in files)}.")
    if key is not None:
        _sign(key, files)
    click.echo(RESEARCH_USE)


@validate.command()
@_files_argument
@click.option(
    "--key",
    "key_path",
    type=FILE,
    required=True,
    help="Private Ed25519 key: PEM (`openssl genpkey -algorithm ed25519`), or as "
    "`ssh-keygen -t ed25519` makes it.",
)
@_password_option
def sign(files: tuple[Path, ...], key_path: Path, ask_password: bool) -> None:
    """Sign files of a validation: a signature, FILE.sig, beside each."""
    _sign(_private_key(key_path, ask_password), files)


@validate.command()
@_files_argument
@click.option(
    "--key",
    "key_path",
    type=FILE,
    required=True,
    help="Public half of the signer's key (PEM, or OpenSSH's .pub), from the signer.",
)
def verify(files: tuple[Path, ...], key_path: Path) -> int:
    """Check that files are, byte for byte, what the owner of a key signed.

    The signature of FILE is FILE.sig beside it. The status is 1 where one does not fit.
    """
    _require_signing()
    from tumorlens.scale.signature import fingerprint, is_signed, read_public_key

    key = read_public_key(key_path)
    signed = {path: is_signed(key, path) for path in files}
    for path, is_good in signed.items():
        click.echo(f"{path}: {'signed' if is_good else 'NOT what was signed'}")
    click.echo(f"Key {fingerprint(key)}")
    return 0 if all(signed.values()) else EXIT_UNSIGNED


def _require_signing() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Signing", "signing") from error


def _private_key(path: Path, ask_password: bool) -> Ed25519PrivateKey:
    _require_signing()
    from tumorlens.scale.signature import read_private_key

    password = click.prompt("Password", hide_input=True) if ask_password else None
    return read_private_key(path, password)


def _sign(key: Ed25519PrivateKey, files: Sequence[Path]) -> None:
    from tumorlens.scale.signature import fingerprint, sign_files

    for path in sign_files(key, files):
        click.echo(f"Signature written to {path}.")
    click.echo(f"Key {fingerprint(key.public_key())}")
