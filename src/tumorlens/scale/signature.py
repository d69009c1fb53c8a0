"""Ed25519 signatures of reports: a file of 64 bytes beside each signed file.

The signature is over the file's bytes as they are (RFC 8032, no hash before it), so
that OpenSSL checks it, too: ``openssl pkeyutl -verify -pubin -inkey PUBLIC -rawin -in
FILE -sigfile FILE.sig``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from tumorlens.errors import MissingFileError, OutputError, SettingError
from tumorlens.imaging.formats import display_name

ENDING = ".sig"
_SSH = b"-----BEGIN OPENSSH"
_SSH_PUBLIC = b"ssh-"


def read_private_key(path: Path, password: str | None = None) -> Ed25519PrivateKey:
    """Read a private key, as ``openssl genpkey`` or ``ssh-keygen -t ed25519`` makes it.

    Parameters
    ----------
    path
        PEM, or OpenSSH's format.
    password
        Password of the key; None where it has none.

    Raises
    ------
    MissingFileError
        The file cannot be read.
    SettingError
        It is no Ed25519 key, or its password is missing or wrong.
    """
    data = _read(path)
    secret = None if password is None else password.encode()
    try:
        key = (
            serialization.load_ssh_private_key(data, secret)
            if data.startswith(_SSH)
            else serialization.load_pem_private_key(data, secret)
        )
    except UnsupportedAlgorithm as error:
        raise SettingError(
            f"The key {display_name(path)} cannot be opened: {error}.",
            "Encrypted keys of OpenSSH need bcrypt (pip install bcrypt); PEM does not.",
        ) from error
    except (TypeError, ValueError) as error:
        # Both loaders say by a TypeError that a password is missing, or one too many.
        if password is None and isinstance(error, ValueError):
            raise _no_key(path, "private") from error
        raise SettingError(
            f"The key {display_name(path)} cannot be opened: {str(error).rstrip('.')}.",
            "Give --ask-password for a key that has a password, and only then.",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key: PEM, or the line of an OpenSSH ``.pub`` file.

    Raises
    ------
    MissingFileError
        The file cannot be read.
    SettingError
        It is no Ed25519 key.
    """
    data = _read(path)
    try:
        key = (
            serialization.load_ssh_public_key(data)
            if data.startswith(_SSH_PUBLIC)
            else serialization.load_pem_public_key(data)
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """Name a key as OpenSSH does, ``SHA256:`` and 43 letters."""
    line = key.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def sign_files(key: Ed25519PrivateKey, paths: Sequence[Path]) -> list[Path]:
    """Write a signature beside each file, with `ENDING` after its name.

    Raises
    ------
    MissingFileError
        A file cannot be read.
    OutputError
        A signature cannot be written.
    """
    signatures = []
    for path in paths:
        place = signature_path(path)
        try:
            place.write_bytes(key.sign(_read(path)))
        except OSError as error:
            raise OutputError(
                f"{display_name(place)} cannot be written: {error.strerror}."
            ) from error
        signatures.append(place)
    return signatures


def signature_path(path: Path) -> Path:
    """Return where a file's signature lies."""
    return path.with_name(path.name + ENDING)


def is_signed(key: Ed25519PublicKey, path: Path, signature: Path | None = None) -> bool:
    """Say whether a file is, byte for byte, what the owner of a key signed.

    Parameters
    ----------
    key
        Public half of the signer's key.
    path
        The file.
    signature
        Its signature; None for that beside it.

    Raises
    ------
    MissingFileError
        The file or its signature cannot be read.
    """
    try:
        key.verify(_read(signature or signature_path(path)), _read(path))
    except InvalidSignature:
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingFileError(
            f"{display_name(path)} cannot be read: {error.strerror}."
        ) from error


def _no_key(path: Path, kind: str) -> SettingError:
    return SettingError(
        f"{display_name(path)} holds no {kind} Ed25519 key.",
        "Make one with `openssl genpkey -algorithm ed25519` or `ssh-keygen -t "
        "ed25519`.",
    )
