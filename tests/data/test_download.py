"""Downloads go on, are checked, and say what went wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.samples.archive_server import Archive, serve
from tumorlens.data.public import Remote, download, fetch_json
from tumorlens.errors import DatasetError, OutputError

CONTENT = np.random.default_rng(0).bytes(1_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
QUICK = (0.0, 0.0, 0.0)


@pytest.fixture
def archive() -> Iterator[Archive]:
    with serve() as archive:
        archive.files["/set.zip"] = CONTENT
        yield archive


def remote(archive: Archive, **changes: object) -> Remote:
    facts = {"size": len(CONTENT), "md5": MD5} | changes
    return Remote(f"{archive.url}/set.zip", "set.zip", **facts)  # type: ignore[arg-type]


def test_a_file_comes_whole_and_tells_how_far(archive: Archive, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    path = download(
        remote(archive), tmp_path / "in", progress=lambda *step: seen.append(step)
    )
    assert path == tmp_path / "in/set.zip"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("set.zip", len(CONTENT), len(CONTENT))
    assert [step[1] for step in seen] == sorted(step[1] for step in seen)
    assert [file.name for file in path.parent.iterdir()] == ["set.zip"]


def test_what_is_here_is_not_fetched_again(archive: Archive, tmp_path: Path) -> None:
    download(remote(archive), tmp_path)
    download(remote(archive), tmp_path)
    assert len(archive.asked) == 1


def test_a_cut_connection_goes_on(archive: Archive, tmp_path: Path) -> None:
    # More cuts than tries: what arrives earns new ones.
    archive.cut_after = [300_000, 100_000, 100_000, 100_000, 100_000]
    path = download(remote(archive), tmp_path, pauses_s=QUICK)
    assert path.read_bytes() == CONTENT
    spans = [span for _, span, _ in archive.asked]
    assert spans[:3] == ["", "bytes=300000-", "bytes=400000-"]


def test_a_stopped_download_goes_on_next_time(archive: Archive, tmp_path: Path) -> None:
    archive.cut_after = [400_000]
    with pytest.raises(DatasetError, match="goes on where it stopped"):
        download(remote(archive), tmp_path, pauses_s=())
    assert (tmp_path / "set.zip.part").stat().st_size == 400_000
    assert not (tmp_path / "set.zip").exists()
    assert download(remote(archive), tmp_path).read_bytes() == CONTENT
    assert archive.asked[-1][1] == "bytes=400000-"


def test_a_server_without_ranges_starts_over(archive: Archive, tmp_path: Path) -> None:
    archive.ranges = False
    archive.cut_after = [400_000]
    unknown = remote(archive, size=None, md5=None)
    path = download(unknown, tmp_path, pauses_s=QUICK)
    assert path.read_bytes() == CONTENT


def test_a_size_that_is_not_known_is_read_off_the_answer(
    archive: Archive, tmp_path: Path
) -> None:
    archive.cut_after = [400_000]
    unknown = remote(archive, size=None, md5=None)
    path = download(unknown, tmp_path, pauses_s=QUICK)
    assert path.read_bytes() == CONTENT


def test_a_complete_part_needs_nothing_more(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "set.zip.part").write_bytes(CONTENT)
    path = download(remote(archive, size=None), tmp_path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("length", [500, 1_000_000, 1_200_000])
def test_a_part_of_another_version_is_thrown_away(
    archive: Archive, tmp_path: Path, length: int
) -> None:
    (tmp_path / "set.zip.part").write_bytes(b"x" * length)
    path = download(remote(archive), tmp_path, pauses_s=QUICK)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("facts", "word"), [({"md5": "0" * 32}, "MD5"), ({"size": 5}, "instead of 5")]
)
def test_a_file_that_is_not_what_it_should_be_is_refused(
    archive: Archive, tmp_path: Path, facts: dict[str, object], word: str
) -> None:
    with pytest.raises(DatasetError, match=word):
        download(remote(archive, **facts), tmp_path, pauses_s=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_passing_trouble_is_waited_out(archive: Archive, tmp_path: Path) -> None:
    archive.failures = [503, 429]
    path = download(remote(archive), tmp_path, pauses_s=QUICK)
    assert path.read_bytes() == CONTENT


def test_lasting_trouble_is_told(archive: Archive, tmp_path: Path) -> None:
    archive.failures = [503] * 9
    with pytest.raises(DatasetError, match="503"):
        download(remote(archive), tmp_path, pauses_s=QUICK)
    assert len(archive.asked) == 1 + len(QUICK)


@pytest.mark.parametrize(("status", "word"), [(404, "moved"), (403, "token")])
def test_a_refusal_is_told_at_once(
    archive: Archive, tmp_path: Path, status: int, word: str
) -> None:
    archive.failures = [status]
    with pytest.raises(DatasetError, match=word):
        download(remote(archive), tmp_path, pauses_s=QUICK)
    assert len(archive.asked) == 1


def test_nobody_at_the_address_is_told(tmp_path: Path) -> None:
    with serve() as gone:
        url = gone.url
    with pytest.raises(DatasetError, match="cannot be fetched"):
        download(Remote(f"{url}/a", "a"), tmp_path, pauses_s=(0.0,))


def test_a_name_cannot_lead_out_of_the_folder(archive: Archive, tmp_path: Path) -> None:
    path = download(Remote(f"{archive.url}/set.zip", "../../out.zip"), tmp_path / "in")
    assert path == tmp_path / "in/out.zip"


def test_a_token_stays_with_its_host(archive: Archive, tmp_path: Path) -> None:
    with serve() as other:
        other.files["/real"] = CONTENT
        archive.redirects["/set.zip"] = f"{other.url}/real"
        known = remote(archive, headers={"Authorization": "Bearer secret"})
        assert download(known, tmp_path).read_bytes() == CONTENT
        assert archive.asked[0][2] == "Bearer secret"
        assert other.asked[0][2] == ""


def test_a_folder_that_cannot_be_written_is_named(
    archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/set\.zip"):
        download(remote(archive), tmp_path / "file")


def test_an_answer_that_is_no_json_is_told(archive: Archive) -> None:
    archive.files["/list"] = b"<html>"
    with pytest.raises(DatasetError, match="JSON"):
        fetch_json(f"{archive.url}/list")
