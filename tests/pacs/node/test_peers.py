"""Peers are read as they are written, or refused by name."""

from __future__ import annotations

import pytest
from pynetdicom import AE

from tumorlens.errors import SettingError
from tumorlens.pacs.node.peers import Peer, check_title


def test_peers_are_read() -> None:
    assert Peer.read("PACS@10.0.0.5", with_port=False) == Peer("PACS", "10.0.0.5")
    read = Peer.read("PACS 1".replace(" ", "_") + "@pacs.local:104", with_port=True)
    assert read == Peer("PACS_1", "pacs.local", 104)


@pytest.mark.parametrize(
    ("text", "with_port"),
    [
        ("PACS", False),
        ("PACS@host", True),
        ("PACS@host:104", False),
        ("PACS@host:0", True),
        ("PACS@host:70000", True),
        ("A_TITLE_THAT_IS_TOO_LONG@host", False),
        ("@host", False),
    ],
)
def test_what_is_no_peer_is_refused(text: str, with_port: bool) -> None:
    with pytest.raises(SettingError):
        Peer.read(text, with_port=with_port)


@pytest.mark.parametrize("title", ["A", "TUMORLENS", "NODE 1@[x]~", "X" * 16])
def test_a_title_that_an_entity_may_have_is_taken(title: str) -> None:
    check_title(title)
    assert AE(title).ae_title == title


@pytest.mark.parametrize("title", ["", "  ", "X" * 17, "A\\B", "A\n", "Ä"])
def test_a_title_that_no_entity_may_have_is_refused(title: str) -> None:
    with pytest.raises(SettingError, match="AE title"):
        check_title(title)
    with pytest.raises(ValueError, match="ae_title"):
        AE(title)
