"""Archives are read in memory; those that try more are refused."""

from __future__ import annotations

import struct
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.samples.pictures import blank_png
from tests.samples.zips import dicom, encrypted, good, link, lying, pack, tarred
from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.limits import MAX_ENTRIES, MAX_FILE_BYTES
from tumorlens.imaging.read import read_archive, read_collection, read_study


def test_a_series_and_a_picture(slice_file: Path) -> None:
    data = pack(
        ("p.png", slice_file.read_bytes()),
        ("notes.txt", b"hello"),
        *((f"Doe/{z}", dicom(z)) for z in (9, 1)),
    )
    study = read_study(data, "study.zip")
    assert [len(series.slices) for series in study.series] == [2, 1]
    assert all("Doe" not in item.source for item in study.slices)
    assert any("left out" in note for note in study.notes)


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (pack(("../a", b"x")), InputError, "leads out"),
        (pack(("a/..\\..\\b", b"x")), InputError, "leads out"),
        (pack(("/etc/a", b"x")), InputError, "leads out"),
        (pack((link(), b"/etc/passwd")), InputError, "link"),
        (pack(("a.jar", pack(("b", b"x")))), InputError, "another archive"),
        (
            pack(("a.zip", pack(("b.zip", pack(("c", b"x")))))),
            InputError,
            "another archive",
        ),
        (pack(("a.zip", pack(("b", b"x")))), InputError, "text, no picture"),
        (pack(("a.zip", good()[:-30])), InputError, "no end"),
        (pack(("a.zip", pack(("b", bytes(20 * 2**20))))), InputError, "inflates"),
        (pack(*((str(i), b"") for i in range(10_001))), TooLargeError, "10,000"),
        (pack(("a", bytes(20 * 2**20))), TooLargeError, "inflates"),
        (encrypted(), InputError, "encrypted"),
        (lying(100), DamagedFileError, "."),
        (lying(10_000), DamagedFileError, "."),
        (lying(2**31), TooLargeError, "inflates"),
        (pack(), InputError, "no file"),
    ],
)
def test_hostile_archives(data: bytes, kind: type[InputError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        read_archive(data, "hostile.zip")
    assert "hostile.zip" in caught.value.message


def test_cut_off_at_each_kilobyte() -> None:
    data = good()
    for end in [*range(4, len(data), 256), len(data) - 1]:
        with pytest.raises(InputError):
            read_archive(data[:end], "cut.zip")


def test_archives_in_an_archive_are_series_of_the_study(slice_file: Path) -> None:
    picture = pack(("p.png", slice_file.read_bytes()))
    data = pack(("one.zip", good()), ("two.ZIP", picture), ("viewer.jar", picture))
    study = read_study(data, "a.zip")
    assert [len(series.slices) for series in study.series] == [3, 1]
    assert study.slices[-1].source == "a.zip#2/p.png"
    assert study.notes == ("1 file was left out: it is another archive.",)


def test_a_broken_archive_in_an_archive_costs_no_other() -> None:
    study = read_study(pack(("a.zip", good()[:-30]), ("b.zip", good())), "a.zip")
    assert len(study.slices) == 3
    assert any("1 file was left out" in note for note in study.notes)


def test_archives_in_an_archive_share_its_limits() -> None:
    inner = pack(*((f"{n}.png", blank_png(3000)) for n in range(60)))
    with pytest.raises(TooLargeError):
        read_archive(pack(*((f"{n}.zip", inner) for n in range(200))), "a.zip")
    empty = pack(*((str(n), b"") for n in range(600)))
    with pytest.raises(TooLargeError, match="10,000"):
        read_archive(pack(*((f"{n}.zip", empty) for n in range(20))), "a.zip")


def test_an_archive_too_large_beside_or_in_the_others_is_left_out(
    tmp_path: Path,
) -> None:
    bomb = pack(("b", bytes(20 * 2**20)), ("p.png", blank_png(3000)))
    study = read_study(pack(("viewer.zip", bomb), ("a.zip", good())), "a.zip")
    assert len(study.series[0].slices) == 3
    (tmp_path / "a.dcm").write_bytes(dicom(0))
    with (tmp_path / "setup.zip").open("wb") as file:
        file.write(b"PK\3\4")
        file.truncate(MAX_FILE_BYTES + 1)
    study = read_study(tmp_path)
    assert len(study.slices) == 1
    assert any("1 file was left out" in note for note in study.notes)


def test_archives_among_other_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(good())
    (tmp_path / "b.dcm").write_bytes(dicom(40))
    assert [len(x.slices) for x in read_study(tmp_path).series] == [4]
    uploaded = [("1", good()), ("2", dicom(40))]
    assert [len(x.slices) for x in read_collection(uploaded, "up").series] == [4]


def test_links_and_empty_files_are_left_out_and_said(tmp_path: Path) -> None:
    files = [(f"{z}", dicom(z)) for z in (9, 1, 5)]
    study = read_study(pack((link(), b"x"), ("empty", b""), *files), "a.zip")
    assert len(study.slices) == 3
    assert any("it is a link" in note for note in study.notes)
    assert any("it is empty" in note for note in study.notes)
    for name, data in (*files, ("empty", b"")):
        (tmp_path / name).write_bytes(data)
    assert any("it is empty" in note for note in read_study(tmp_path).notes)


def test_the_wide_kind_of_zip_is_read() -> None:
    data = good()
    end = data.rindex(b"PK\5\6")
    count, size, start = struct.unpack_from("<10xHII", data, end)
    wide = struct.pack(
        "<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, *[count] * 2, size, start
    )
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    last = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, *[0xFFFF] * 2, *[2**32 - 1] * 2, 0)
    assert len(read_archive(data[:end] + wide + locator + last, "a.zip").slices) == 3
    for broken in (locator + last, wide[:20] + locator + last):
        with pytest.raises(InputError):
            read_archive(data[:end] + broken, "a.zip")


def test_a_short_list_named_before_a_long_one_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = good()
    end = data.rindex(b"PK\5\6")
    short = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, *[0] * 6)
    long = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, *[10**6] * 4)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    last = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, *[0xFFFF] * 2, *[2**32 - 1] * 2, 0)
    monkeypatch.setattr(
        "tumorlens.imaging.archive.zipfile.ZipFile", lambda _: pytest.fail("unpacked")
    )
    with pytest.raises(DamagedFileError, match="no end"):
        read_archive(data[:end] + short + long + locator + last, "a.zip")


def test_slashes_that_were_turned_round_in_the_list_of_files() -> None:
    data = good()
    start = data.index(b"PK\1\2")
    turned = data[:start] + data[start:].replace(b"s/", b"s\\")
    assert len(read_archive(turned, "a.zip").slices) == 3


def drawn_png(grey: int) -> bytes:
    picture = np.random.default_rng(grey).integers(0, grey, (64, 64)).astype(np.uint8)
    return cv2.imencode(".png", picture)[1].tobytes()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_a_tar_archive_is_read_as_a_zip(packed: bool, kind: int) -> None:
    long = "d" * 70 + "/" + "e" * (20 if kind == tarfile.USTAR_FORMAT else 200)
    members = [(f"./{long}/{z}", dicom(z)) for z in (9, 1, 5)]
    study = read_study(tarred(*members, packed=packed, kind=kind), "a.tar")
    (series,) = study.series
    assert [item.source for item in series.slices] == ["a.tar#2", "a.tar#3", "a.tar#1"]
    assert not study.notes


def test_pictures_in_a_tar_archive_keep_their_long_names() -> None:
    picture = drawn_png(200)
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        name = "ü" * 90 + ".png"
        data = tarred((f"{'d' * 90}/{name}", picture), kind=kind)
        assert read_study(data, "a.tgz").slices[0].source == f"a.tgz/{name}"


def test_a_name_that_a_tar_archive_holds_twice_is_two_files() -> None:
    data = tarred(("a.png", drawn_png(90)), ("a.png", drawn_png(200)))
    assert len(read_study(data, "a.tar").slices) == 2


def test_a_tar_archive_inside_another_is_read_one_level_deep() -> None:
    inner = tarred(*((f"{z}", dicom(z)) for z in range(3)))
    for outer in (tarred(("i.tar", inner)), pack(("i.tgz", inner))):
        assert len(read_study(outer, "a").slices) == 3
    deep = tarred(("a.tar", tarred(("b.tar", inner))))
    with pytest.raises(InputError, match="another archive"):
        read_study(deep, "a.tar")


def tar_link(kind: bytes) -> tarfile.TarInfo:
    item = tarfile.TarInfo("link.png")
    item.type, item.linkname = kind, "/etc/passwd"
    return item


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar_archive_are_passed_over(kind: bytes) -> None:
    data = tarred((tar_link(kind), b""), ("1.dcm", dicom(1)))
    assert read_study(data, "a.tar").notes == ("1 file was left out: it is a link.",)


def sparse() -> tarfile.TarInfo:
    item = tarfile.TarInfo("a.png")
    item.type = tarfile.GNUTYPE_SPARSE
    return item


def sparse_by_header() -> tarfile.TarInfo:
    item = tarfile.TarInfo("a.png")
    item.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    return item


PNG = drawn_png(90)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tarred(("/etc/a.png", PNG)), "leads out"),
        (tarred(("../a.png", PNG)), "leads out"),
        (tarred(("a/../../a.png", PNG), kind=tarfile.GNU_FORMAT), "leads out"),
        (tarred(("C:a.png", PNG)), "leads out"),
        (tarred((sparse(), b"")), "sparse"),
        (tarred((sparse_by_header(), PNG)), "sparse"),
        (tarred(("a.png", PNG))[:2000], "cut off"),
        (tarred(("a.png", drawn_png(60)), packed=False)[:900], "cut off"),
        (tarred(("a" * 2**15, PNG)), "too long"),
        (tarred(*((f"{n}.txt", b"a") for n in range(MAX_ENTRIES + 1))), "10,000 files"),
        (tarred(("a", b"b"), packed=False)[:1024] + b"x" * 512, "broken header"),
    ],
)
def test_tar_archives_that_try_more_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_study(data, "hostile.tar")


def test_a_tar_archive_that_swells_is_refused_by_the_total_of_all() -> None:
    swelling = tarred(*((f"{n}.bin", bytes(30 * 2**20)) for n in range(4)))
    with pytest.raises(TooLargeError, match="inflates"):
        read_study(swelling, "a.tgz")
    # What archives inside are passed over to is counted together.
    inner = tarred(("a.bin", bytes(20 * 2**20)))
    with pytest.raises(TooLargeError, match="inflates"):
        read_study(pack(*((f"{n}.tgz", inner) for n in range(3))), "a.zip")


def test_an_extended_header_of_a_tar_archive_that_is_broken_is_refused() -> None:
    whole = tarred(("ü" * 80, PNG), packed=False)
    place = whole.index(b" path=") - 3
    for text in (b"000", b"999", b"abc"):
        with pytest.raises(DamagedFileError, match="broken header"):
            read_study(whole[:place] + text + whole[place + 3 :], "a.tar")
