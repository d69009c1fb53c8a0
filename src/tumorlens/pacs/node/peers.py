"""Peers that may talk to the node, and those it talks to; encryption with them."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tumorlens.errors import SettingError

_PEER = re.compile(r"([^@\s\\]{1,16})@([^:@\s]+)(?::(\d{1,5}))?")
_TITLE = re.compile(r"[ -\[\]-~]{1,16}")


@dataclass(frozen=True)
class Peer:
    """Another application entity, which may send to the node or takes its results.

    Parameters
    ----------
    title
        Its AE title, at most 16 characters (DICOM PS3.5, 6.2).
    host
        Name or address.
    port
        Port that it listens on; None for one that only calls.
    """

    title: str
    host: str
    port: int | None = None

    @classmethod
    def read(cls, text: str, *, with_port: bool) -> Self:
        """Read ``TITLE@HOST`` or ``TITLE@HOST:PORT``.

        Raises
        ------
        SettingError
            Where the text names no peer.
        """
        form = "TITLE@HOST:PORT" if with_port else "TITLE@HOST"
        match = _PEER.fullmatch(text.strip())
        port = int(match[3]) if match and match[3] else None
        if match is None or (port is None) is with_port or port == 0:
            raise SettingError(f"{text!r} names no DICOM peer.", f"Give it as {form}.")
        if port is not None and port > 65535:
            raise SettingError(f"The port {port} cannot be.", "Use 1 to 65535.")
        return cls(match[1], match[2], port)


def check_title(title: str) -> None:
    """Refuse what cannot be an AE title of one's own (DICOM PS3.5, 6.2).

    Raises
    ------
    SettingError
        It is empty, too long, or has a character that none may have.
    """
    if not _TITLE.fullmatch(title) or not title.strip():
        raise SettingError(
            f"{title[:40]!r} cannot be an AE title.",
            "Give --title 1 to 16 letters, digits or signs of ASCII, without \\.",
        )


def server_tls(certificate: Path, key: Path, authorities: Path) -> ssl.SSLContext:
    """Make the context of a node that takes associations (DICOM PS3.15, B.12).

    Parameters
    ----------
    certificate, key
        The node's certificate with its chain, and its private key, in PEM.
    authorities
        Certificates in PEM that sign those of peers: each has to show one.

    Raises
    ------
    SettingError
        A file cannot be read, or is no such thing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _load(context, certificate, key, authorities)


def client_tls(certificate: Path, key: Path, authorities: Path) -> ssl.SSLContext:
    """Make the context of a node that calls others; as `server_tls`.

    The peer's certificate has to name the host that is called.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _load(context, certificate, key, authorities)


def _load(
    context: ssl.SSLContext, certificate: Path, key: Path, authorities: Path
) -> ssl.SSLContext:
    # BCP 195 (RFC 9325): nothing below TLS 1.2, forward secrecy, authenticated ciphers.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    try:
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authorities)
    except OSError as error:
        # `ssl.SSLError` is one of them.
        reason = error.strerror or type(error).__name__
        raise SettingError(
            f"The certificates for DICOM over TLS cannot be used: {reason}.",
            "Give PEM files: a certificate, its key, and the authorities of peers.",
        ) from error
    return context
