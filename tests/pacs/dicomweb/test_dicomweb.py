"""What odd and hostile DICOMweb servers answer ends in an error of ours.

Real servers are in `test_poller` and in the tests of the command; these are the
answers that no real server can be brought to give.
"""

from __future__ import annotations

import gzip
import json
from datetime import date
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.samples.dicom_studies import write_series
from tests.samples.scripted_peers import Answer, Answers, archive_of, listed
from tumorlens.errors import (
    ArchiveAccessError,
    ArchiveDownError,
    ArchiveError,
    SettingError,
    TooLargeError,
)
from tumorlens.pacs.dicomweb import client
from tumorlens.pacs.dicomweb.client import (
    PASSWORD,
    TOKEN,
    TOKEN_FILE,
    USER,
    SeriesEntry,
    check_url,
    open_session,
    single_file,
)

ENTRY = SeriesEntry("1.2", "1.2.3", "MR", 1, 3)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(b"<html>log in</html>", "text/html"), ArchiveError),
        (Answer(b"null"), ArchiveError),
        (Answer(b'["a", "b"]'), ArchiveError),
        (Answer(b'[{"0020000D": "1.2"}]'), ArchiveError),
        (Answer(b'[{"0020000D": {"Value": ["../../x"]}}]'), ArchiveError),
        (Answer(b"[{"), ArchiveError),
        (Answer(b"\xff\xfe[]"), ArchiveError),
        (Answer(b"{}", headers={"Content-Encoding": "gzip"}), ArchiveError),
        (Answer(b"[]", length=1000), ArchiveDownError),
        (Answer(status=500), ArchiveError),
        (Answer(status=503), ArchiveDownError),
        (Answer(status=429), ArchiveDownError),
        (Answer(status=403), ArchiveAccessError),
        (Answer(status=302, headers={"Location": "/dicom-web/studies"}), ArchiveError),
        (Answer(status=302, headers={"Location": "ftp://x/"}), ArchiveError),
    ],
)
def test_an_odd_answer_is_an_error_of_ours(
    answer: Answer, kind: type[ArchiveError]
) -> None:
    with archive_of(lambda _: answer) as archive, pytest.raises(kind) as caught:
        archive.studies(date(2026, 1, 1))
    assert type(caught.value) is kind
    assert "127.0.0.1" in caught.value.message and caught.value.hint


def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_FILE_BYTES", 2**20)
    bomb = gzip.compress(bytes(2**25))
    packed = Answer(bomb, headers={"Content-Encoding": "gzip"})
    for answer in (Answer(b" " * 2**21), packed):
        with archive_of(lambda _, a=answer: a) as archive, pytest.raises(TooLargeError):
            archive.series("1.2")


def test_pages_are_read_to_the_end_and_not_for_ever() -> None:
    pages = [[f"1.2.{n}" for n in range(k, k + 5)] for k in (0, 5)]

    def paged(request: BaseHTTPRequestHandler) -> Answer:
        start = int(request.path.split("offset=")[1].split("&")[0])
        found = {0: pages[0], 5: pages[1]}.get(start, [])
        return Answer(listed("0020000E", *found))

    def same(_: BaseHTTPRequestHandler) -> Answer:
        return Answer(listed("0020000E", *pages[0]))

    with archive_of(paged) as archive:
        assert [item.uid for item in archive.series("1.2")] == pages[0] + pages[1]
    with archive_of(same) as archive:
        assert [item.uid for item in archive.series("1.2")] == pages[0]


def test_an_entry_without_a_valid_uid_does_not_hide_the_others() -> None:
    found = listed("0020000E", "1.2.1", "../x", "1." + 70 * "2", "1.2.2")
    with archive_of(lambda _: Answer(found)) as archive:
        assert [item.uid for item in archive.series("1.2")] == ["1.2.1", "1.2.2"]


def test_a_file_that_cannot_be_had_is_counted_but_a_busy_server_is_an_error(
    tmp_path: Path,
) -> None:
    (path,) = write_series(tmp_path / "a", slices=1)
    good = path.read_bytes()
    whole = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + good + b"\r\n--x--"
    parts = 'multipart/related; type="application/dicom"; boundary=x'
    files = {
        "1": Answer(whole, parts),
        "2": Answer(good, "application/dicom"),
        "3": Answer(b"<html></html>", "text/html"),
        "4": Answer(whole[:5000], parts),
        "5": Answer(status=500),
        "6": Answer(status=404),
        "7": Answer(whole, "multipart/related"),
    }
    busy = {"8": Answer(status=503)}

    def answers(known: dict[str, Answer]) -> Answers:
        def answer(request: BaseHTTPRequestHandler) -> Answer:
            path = request.path.split("?")[0]
            if path.endswith("instances"):
                return Answer(listed("00080018", *(f"1.2.{name}" for name in known)))
            return known[path.rsplit(".", 1)[1]]

        return answer

    with archive_of(answers(files)) as archive:
        assert list(archive.images(ENTRY)) == [good, good, *5 * [None]]
    with archive_of(answers(files | busy)) as archive, pytest.raises(ArchiveDownError):
        list(archive.images(ENTRY))
    del files["1"], files["2"]
    with archive_of(answers(files)) as archive, pytest.raises(ArchiveError):
        list(archive.images(ENTRY))
    with archive_of(lambda _: Answer()) as archive, pytest.raises(ArchiveError):
        list(archive.images(ENTRY))


def test_what_was_stored_is_what_the_server_names_or_holds(tmp_path: Path) -> None:
    one, two = write_series(tmp_path / "a", slices=2)
    arrived: list[Path] = []
    uid = only_uid(one)
    named = {"00081199": {"vr": "SQ", "Value": [{"00081155": ui(uid)}]}}
    half = Answer(json.dumps(named).encode())
    with archive_of(lambda _: half) as archive, pytest.raises(ArchiveError) as caught:
        archive.store([one, two], arrived.append)
    assert "1 of 2 results" in caught.value.message
    assert arrived == [one]

    def silent(request: BaseHTTPRequestHandler) -> Answer:
        held = request.command == "GET" and uid in request.path
        return Answer(listed("00080018", uid) if held else b"")

    arrived.clear()
    with archive_of(silent) as archive:
        archive.store([one], arrived.append)
        with pytest.raises(ArchiveError):
            archive.store([two], arrived.append)
    assert arrived == [one]


def only_uid(path: Path) -> str:
    from pydicom import dcmread

    return str(dcmread(path).SOPInstanceUID)


def ui(value: str) -> dict[str, object]:
    return {"vr": "UI", "Value": [value]}


def test_reports_of_others_do_not_count() -> None:
    def report(maker: str) -> Answer:
        series = {"0020000E": ui("1.2.3")}
        study = {"00081115": {"vr": "SQ", "Value": [series]}}
        item = {
            "00080070": {"vr": "LO", "Value": [maker]},
            "0040A375": {"vr": "SQ", "Value": [study]},
        }
        return Answer(json.dumps([item]).encode())

    entries = [ENTRY, SeriesEntry("1.2", "1.2.9", "SR", 9901, 1)]
    for maker, found in (("TumorLens", {"1.2.3"}), ("Other", set())):
        with archive_of(lambda _, m=maker: report(m)) as archive:
            assert archive.judged(entries) == found


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({}, None),
        ({TOKEN: "abc.def"}, "Bearer abc.def"),
        ({USER: "reader", PASSWORD: "a:b"}, "Basic cmVhZGVyOmE6Yg=="),
    ],
)
def test_credentials_go_with_each_request(
    environment: dict[str, str],
    header: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str | None] = []

    def note(request: BaseHTTPRequestHandler) -> Answer:
        host = request.headers["Host"]
        assert host == f"127.0.0.1:{request.server.server_address[1]}"
        seen.append(request.headers.get("Authorization"))
        return Answer()

    monkeypatch.delenv("NETRC", raising=False)
    with archive_of(note, environment) as archive:
        archive.studies(date(2026, 1, 1))
        # What another program keeps for the host does not go before it.
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login other password other\n")
        if environment:
            monkeypatch.setenv("NETRC", str(netrc))
        archive.series("1.2")
    assert seen == [header, header]


@pytest.mark.parametrize(
    "environment",
    [
        {USER: "reader"},
        {PASSWORD: "secret-1"},
        {TOKEN: "secret-1", USER: "reader"},
        {TOKEN: "secret-1", TOKEN_FILE: "/run/token"},
        {PASSWORD: "secret-1", USER: "reader", TOKEN_FILE: "/run/token"},
        {TOKEN: "secret 1"},
        {TOKEN: "secret-1\r\nX: y"},
    ],
)
def test_credentials_that_cannot_be_are_refused_and_not_shown(
    environment: dict[str, str],
) -> None:
    with pytest.raises(SettingError) as caught:
        open_session(environment)
    assert "secret" not in str(caught.value)


class Rotating:
    """A server whose token another program renews in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.valid = "first"
        self.file.write_text("first\n")
        self.seen: list[str | None] = []
        self.bodies: list[int] = []
        self.at_request = lambda: None

    def __call__(self, request: BaseHTTPRequestHandler) -> Answer:
        sent = request.headers.get("Authorization")
        self.seen.append(sent)
        self.bodies.append(int(request.headers.get("Content-Length") or 0))
        self.at_request()
        good = sent == f"Bearer {self.valid}"
        return Answer() if good else Answer(b"", status=401)


@pytest.fixture
def rotating(tmp_path: Path) -> Rotating:
    return Rotating(tmp_path / "token")


def test_a_token_in_a_file_may_be_renewed(rotating: Rotating) -> None:
    with archive_of(rotating, {TOKEN_FILE: str(rotating.file)}) as archive:
        archive.studies(date(2026, 1, 1))
        rotating.valid = "second"
        rotating.file.write_text("second")
        archive.studies(date(2026, 1, 1))
        assert rotating.seen == ["Bearer first", "Bearer second"]


def test_a_token_that_is_renewed_while_it_is_sent_is_read_once_more(
    rotating: Rotating, tmp_path: Path
) -> None:
    def renew() -> None:
        rotating.valid = "second"
        rotating.file.write_text("second")

    files = write_series(tmp_path / "a", slices=1)
    with archive_of(rotating, {TOKEN_FILE: str(rotating.file)}) as archive:
        rotating.at_request = renew
        with pytest.raises(ArchiveError):
            archive.store(files, lambda _: None)
        # What was to be stored went out again, whole; the answer named no file.
        assert rotating.seen[:2] == ["Bearer first", "Bearer second"]
        assert rotating.bodies[0] == rotating.bodies[1] > 1000
        rotating.at_request = lambda: None
        rotating.seen.clear()
        rotating.valid = "third"
        with pytest.raises(ArchiveAccessError):
            archive.series("1.2")
        assert rotating.seen == ["Bearer second"], "the same one is not sent again"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"a b", b"a\nb", b"\xff\xfe"])
def test_a_file_without_a_token_is_told_and_asked_again_later(
    rotating: Rotating, content: bytes | None
) -> None:
    environment = {TOKEN_FILE: str(rotating.file)}
    with archive_of(rotating, environment) as archive:
        if content is None:
            rotating.file.unlink()
        else:
            rotating.file.write_bytes(content)
        with pytest.raises(ArchiveAccessError, match="token") as caught:
            archive.studies(date(2026, 1, 1))
        assert str(rotating.file) in caught.value.message
        assert rotating.seen == []
        with pytest.raises(ArchiveAccessError):
            open_session(environment)
        rotating.file.write_text("first")
        archive.studies(date(2026, 1, 1))


def test_a_renewed_token_is_not_sent_to_another_host(rotating: Rotating) -> None:
    seen: list[str | None] = []

    def other(request: BaseHTTPRequestHandler) -> Answer:
        seen.append(request.headers.get("Authorization"))
        rotating.file.write_text("second")
        return Answer(b"", status=401)

    with archive_of(other) as elsewhere:
        away = Answer(b"", status=302, headers={"Location": elsewhere._url})
        with (
            archive_of(lambda _: away, {TOKEN_FILE: str(rotating.file)}) as archive,
            pytest.raises(ArchiveAccessError),
        ):
            archive.studies(date(2026, 1, 1))
    assert seen == [None]


@pytest.mark.parametrize(
    "url",
    [
        "pacs.example.org",
        "ftp://pacs",
        "http://",
        "http://pacs:0/",
        "http://pacs:99999/",
        "http://[::1",
        "http://user:word@pacs/",
        "http://pacs/?x=1",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingError) as caught:
        check_url(url)
    assert "word" not in caught.value.message


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", b""),
        ("multipart/related", b""),
        ("multipart/related; boundary=", b"--\r\n\r\n\r\n--"),
        ("multipart/related; boundary=x", b"--x"),
        ("multipart/related; boundary=x", b"--x\r\n\r\n"),
        ("multipart/related; boundary=x", b"--y\r\n\r\nDICM\r\n--y--"),
        ("multipart/related; boundary*=x'", b"--x\r\n\r\nDICM\r\n--x--"),
        ("text/html", b"\0" * 100),
    ],
)
def test_what_holds_no_file_gives_none(kind: str, body: bytes) -> None:
    assert single_file(kind, body) is None
