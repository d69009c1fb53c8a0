"""Archives from elsewhere cannot write where they please."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from tests.samples.archive_server import zipped
from tumorlens.data.public.archive import extract
from tumorlens.errors import DatasetError


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"x/1.txt": b"one", "2.txt": b"two"}))
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out/x/1.txt").read_bytes() == b"one"
    assert (tmp_path / "out/2.txt").read_bytes() == b"two"


@pytest.mark.parametrize(
    "name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "C:/out.txt", "..\\o.txt"]
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"ok.txt": b"", name: b"bad"}))
    with pytest.raises(DatasetError, match="leads elsewhere"):
        extract(tmp_path / "a.zip", tmp_path / "in" / "out")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"a.zip"}


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(DatasetError, match="link"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tumorlens.data.public.archive.MAX_BYTES", 1_000_000)
    (tmp_path / "a.zip").write_bytes(zipped({"zeros": bytes(1_000_001)}))
    with pytest.raises(DatasetError, match="1,000,001 bytes"):
        extract(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 40, -30])
def test_a_damaged_archive_is_named(tmp_path: Path, keep: int) -> None:
    content = zipped({"1.txt": b"one" * 99})
    (tmp_path / "a.zip").write_bytes(content[:keep])
    with pytest.raises(DatasetError, match=r"a\.zip"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    content = bytearray(zipped({"1.txt": bytes(range(256)) * 9}))
    content[60] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DatasetError, match="damaged"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()
