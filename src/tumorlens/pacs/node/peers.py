"""Peers that may talk to the node, and those it talks to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from tumorlens.errors import SettingError

_PEER = re.compile(r"([^@\s\\]{1,16})@([^:@\s]+)(?::(\d{1,5}))?")


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
