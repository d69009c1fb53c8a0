"""Public sets are fetched from a small server with files of the real format."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.samples.archive_server import zipped
from tumorlens.data.public import extract
from tumorlens.errors import DatasetError

pytest.importorskip("h5py")

from tests.samples.archive_server import Archive, list_article, mat_file, serve
from tests.samples.heads import draw_person
from tumorlens.data import public as module
from tumorlens.data.manifest import read_manifest
from tumorlens.data.public import fetch, read_tumor_slice
from tumorlens.taxonomy import TumorClass

KAGGLE_PATH = "/kaggle/datasets/download/masoudnickparvar/brain-tumor-mri-dataset"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with serve() as archive:
        monkeypatch.setattr(module, "FIGSHARE_API", f"{archive.url}/v2")
        monkeypatch.setattr(module, "KAGGLE_API", f"{archive.url}/kaggle")
        yield archive


@pytest.fixture
def figshare(archive: Archive) -> Archive:
    archive.files["/files/1"] = b""
    archive.files = {
        "/files/brainTumorDataPublic_1-2.zip": zipped(
            {"1.mat": mat_file(1, "100360"), "2.mat": mat_file(2, "MR032322C")}
        ),
        "/files/brainTumorDataPublic_3-10.zip": zipped(
            {"10.mat": mat_file(3, "MR032322"), "cvind.mat": b"folds"}
        ),
        "/files/README.txt": b"text",
    }
    list_article(archive, 1512427)
    return archive


def kaggle_zip() -> bytes:
    _, png = cv2.imencode(".png", draw_person(1))
    return zipped(
        {
            "Training/glioma/Tr-gl_1.png": png.tobytes(),
            "Testing/notumor/Te-no_1.png": png.tobytes(),
        }
    )


def test_cheng_becomes_pictures_outlines_and_a_manifest(
    figshare: Archive, tmp_path: Path
) -> None:
    path = fetch("cheng", tmp_path / "set")
    records = read_manifest(path)
    assert [record.path.name for record in records] == ["1.png", "2.png", "10.png"]
    assert [record.label for record in records] == [
        TumorClass.MENINGIOMA,
        TumorClass.GLIOMA,
        TumorClass.PITUITARY,
    ]
    assert [record.patient for record in records] == [
        "cheng:100360",
        "cheng:MR032322",
        "cheng:MR032322",
    ]
    assert records[1].extra["record"] == "MR032322C"
    pixels = cv2.imread(str(records[0].path), cv2.IMREAD_UNCHANGED)
    expected = np.rint(np.arange(24).reshape(4, 6) * 255 / 23)
    np.testing.assert_array_equal(pixels, expected)
    mask = cv2.imread(str(records[0].mask), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert (mask.dtype, mask[1, 2], int(mask.sum())) == (np.uint8, 255, 255)


def test_a_fetch_that_stopped_goes_on(figshare: Archive, tmp_path: Path) -> None:
    figshare.cut_after = []
    size = len(figshare.files["/files/brainTumorDataPublic_1-2.zip"])
    fetched = tmp_path / "set/archives"
    fetched.mkdir(parents=True)
    half = figshare.files["/files/brainTumorDataPublic_1-2.zip"][: size // 2]
    (fetched / "brainTumorDataPublic_1-2.zip.part").write_bytes(half)
    path = fetch("cheng", tmp_path / "set")
    assert len(read_manifest(path)) == 3
    assert f"bytes={size // 2}-" in [span for _, span, _ in figshare.asked]


def test_progress_is_told_for_download_and_conversion(
    figshare: Archive, tmp_path: Path
) -> None:
    seen: dict[str, tuple[int, int | None]] = {}
    fetch(
        "cheng",
        tmp_path,
        progress=lambda name, done, total: seen.update({name: (done, total)}),
    )
    assert len(seen) == 4
    assert all(done == total for done, total in seen.values())


def test_a_wrong_checksum_is_refused(figshare: Archive, tmp_path: Path) -> None:
    content = bytearray(figshare.files["/files/brainTumorDataPublic_1-2.zip"])
    content[100] ^= 0xFF
    figshare.files["/files/brainTumorDataPublic_1-2.zip"] = bytes(content)
    with pytest.raises(DatasetError, match="MD5"):
        fetch("cheng", tmp_path, pauses_s=())


@pytest.mark.parametrize("listing", [b"[]", b'{"files": [{"name": 1}]}', b"null"])
def test_a_listing_of_another_kind_is_told(
    archive: Archive, tmp_path: Path, listing: bytes
) -> None:
    archive.files["/v2/articles/1512427"] = listing
    with pytest.raises(DatasetError, match="not known"):
        fetch("cheng", tmp_path)


def test_an_article_without_archives_is_told(archive: Archive, tmp_path: Path) -> None:
    archive.files["/v2/articles/1512427"] = json.dumps({"files": []}).encode()
    with pytest.raises(DatasetError, match="no zip"):
        fetch("cheng", tmp_path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"no HDF5", "damaged"),
        (mat_file()[:900], "damaged"),
        (mat_file(leave_out="image"), "no slice"),
        (mat_file(label=7), "7"),
        (mat_file(patient=""), "no patient"),
        (mat_file(image=np.zeros((4, 6), np.int16)), "blank"),
        (mat_file(image=np.zeros((4, 6, 2), np.int16)), "shape"),
    ],
)
def test_a_file_that_is_no_slice_is_named(content: bytes, word: str) -> None:
    with pytest.raises(DatasetError, match=word) as caught:
        read_tumor_slice(content, "7.mat")
    assert "7.mat" in str(caught.value)


def test_kaggle_becomes_a_manifest(archive: Archive, tmp_path: Path) -> None:
    archive.files[KAGGLE_PATH] = kaggle_zip()
    records = read_manifest(fetch("kaggle", tmp_path / "set"))
    assert {(item.label, item.split, item.source) for item in records} == {
        (TumorClass.GLIOMA, "train", "kaggle"),
        (TumorClass.NO_TUMOR, "test", "kaggle"),
    }


@pytest.mark.parametrize("kind", ["token", "pair", "file"])
def test_a_kaggle_token_is_used(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    archive.files[KAGGLE_PATH] = kaggle_zip()
    archive.token = "Bearer t" if kind == "token" else "Basic dTprZXk="
    if kind == "token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", "t")
    elif kind == "pair":
        monkeypatch.setenv("KAGGLE_USERNAME", "u")
        monkeypatch.setenv("KAGGLE_KEY", "key")
    else:
        saved = tmp_path / "home/.kaggle/kaggle.json"
        saved.parent.mkdir(parents=True)
        saved.write_text('{"username": "u", "key": "key"}')
    assert len(read_manifest(fetch("kaggle", tmp_path / "set"))) == 2


def test_without_a_token_the_mend_says_how(archive: Archive, tmp_path: Path) -> None:
    archive.token = "Bearer t"
    with pytest.raises(DatasetError, match="KAGGLE_API_TOKEN"):
        fetch("kaggle", tmp_path)


def test_a_page_in_place_of_the_archive_is_told(
    archive: Archive, tmp_path: Path
) -> None:
    archive.files[KAGGLE_PATH] = b"<html>Sign in</html>"
    with pytest.raises(DatasetError, match="no zip archive"):
        fetch("kaggle", tmp_path)
    archive.files[KAGGLE_PATH] = kaggle_zip()
    assert len(read_manifest(fetch("kaggle", tmp_path))) == 2


def test_an_unknown_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'nix'"):
        fetch("nix", tmp_path)


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
    monkeypatch.setattr("tumorlens.data.public.MAX_BYTES", 1_000_000)
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
