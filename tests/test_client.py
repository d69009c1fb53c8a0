"""The client of the HTTP API, and the examples of its page, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import pytest

from tests.conftest import Phantom
from tests.samples.series_uploads import nifti, packed
from tests.samples.serving import serving
from tumorlens.cli.main import main
from tumorlens.client import AsyncClient, Client, Document, ServerError
from tumorlens.errors import InputError, MissingFileError

PAGE = Path(__file__).parents[1] / "docs" / "http-api.md"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, phantom: Phantom) -> Path:
    folder = tmp_path_factory.mktemp("files")
    cv2.imwrite(str(folder / "slice.png"), phantom(lesion=(90, 110, 22)))
    series = packed(("head.nii.gz", nifti(4)))
    (folder / "series.zip").write_bytes(series)
    (folder / "text.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / "store"


@pytest.fixture(scope="module")
def address(store: Path, tiny_bundle: Path) -> Iterator[str]:
    options = ("--model", str(tiny_bundle), "--port", "0", "--store", str(store))
    with serving(*options) as (_, url):
        yield url


def test_pictures_are_judged_marked_and_removed(address: str, files: Path) -> None:
    with Client(address) as client:
        answer = client.predict(files / "slice.png", b"no picture")
        (prediction,), (failure,) = answer["predictions"], answer["failures"]
        assert prediction["file"] == "slice.png"
        assert failure["status"] == "unknown_format"
        links = prediction["links"]
        assert client.download(links["report"]).startswith(b"%PDF-")
        assert client.mark(links["self"], correct=True)["correct"]
        assert client.get(links["self"])["feedback"]["correct"]
        client.pin(links["self"])
        assert client.get(links["self"])["pinned"]
        client.pin(links["self"], pinned=False)
        assert not client.get(links["self"])["pinned"]
        client.remove(links["self"])
        with pytest.raises(ServerError) as gone:
            client.get(links["self"])
        assert (gone.value.status, gone.value.code) == (404, "not_found")
        # One that cannot be judged is no error of the request.
        assert client.predict(files / "text.png")["predictions"] == []


def test_a_series_is_sent_and_waited_for(address: str, files: Path) -> None:
    with Client(address) as client:
        with pytest.raises(ServerError, match="within 0 s"):
            client.judge_series(files / "series.zip", seconds=0.0)
        status = client.judge_series(files / "series.zip")
        assert status["state"] == "done"
        finding = client.get(status["series"][0]["links"]["finding"])
        assert finding["slices"] == 4


def test_others_do_things_meanwhile(address: str, files: Path) -> None:
    async def judge() -> list[Document]:
        async with AsyncClient(address) as client:
            status, answer = await asyncio.gather(
                client.judge_series(files / "series.zip"),
                client.predict(files / "slice.png", operating_point="screening"),
            )
            await client.pin(status["links"]["self"])
            return await client.get(status["links"]["self"]), answer

    status, answer = asyncio.run(judge())
    assert status["state"] == "done"
    assert status["pinned"]
    assert answer["predictions"][0]["operating_point"] == "screening"


def test_what_cannot_be_sent_is_an_error_before_it_is_sent(
    address: str, files: Path
) -> None:
    with Client(address) as client:
        with pytest.raises(MissingFileError, match="not-there"):
            client.predict(files / "not-there.png")
        with pytest.raises(InputError, match="No file"):
            client.send_series()


class Stumbling(httpx.BaseTransport):
    """A way to a server that fails at first: busy, then an answer that is lost."""

    def __init__(self) -> None:
        self._way = httpx.HTTPTransport()
        self.keys: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers["Idempotency-Key"])
        if len(self.keys) == 1:
            return httpx.Response(503, headers={"Retry-After": "0"}, json={})
        answer = self._way.handle_request(request)
        if len(self.keys) == 2:
            answer.read()
            raise httpx.ReadError("lost")
        return answer

    def close(self) -> None:
        self._way.close()


def test_what_is_sent_again_is_judged_once(address: str, files: Path) -> None:
    way = Stumbling()
    with Client(address, transport=way) as client:
        before = decisions(address)
        answer = client.predict(files / "slice.png")
        assert len(way.keys) == 3
        assert len(set(way.keys)) == 1
        assert len(answer["predictions"]) == 1
        assert decisions(address) - before == 1


def decisions(address: str) -> float:
    text = httpx.get(f"{address}metrics").text
    counts = re.findall(r"(?m)^tumorlens_decisions_total\S* (\S+)$", text)
    return sum(map(float, counts))


def test_a_server_that_is_away_is_named_as_the_cause() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(address, retries=0) as client:
        with pytest.raises(ServerError, match="does not answer") as away:
            client.predict(b"a picture")
        assert (away.value.status, away.value.code) == (0, "unreachable")


def test_another_kind_of_server_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(2**16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            Client(f"http://127.0.0.1:{other.getsockname()[1]}") as client,
            pytest.raises(ServerError, match="as TumorLens does"),
        ):
            client.get("scans")
        thread.join()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_examples_of_the_page_run(
    address: str, store: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those with a token come last: from the first one on everybody needs one."""
    monkeypatch.chdir(files)
    own = "http://127.0.0.1:5000"
    with Client(address) as client:
        prediction = client.predict("slice.png")["predictions"][0]["id"]
        scan = client.judge_series("series.zip")["id"]
    curls = [block for block in blocks("sh") if block.startswith("curl")]
    assert len(curls) > 4
    for block in sorted(curls, key=lambda text: "$TOKEN" in text):
        token = ""
        if "$TOKEN" in block:
            with contextlib.redirect_stdout(io.StringIO()) as said:
                assert main(["tokens", "add", "anna", "--store", str(store)]) == 0
            token = said.getvalue().strip()
        id_ = scan if "/scans/$ID" in block else prediction
        line = block.replace(own, address.rstrip("/"))
        line = line.replace("curl", "curl -sS --fail-with-body", 1)
        ran = subprocess.run(
            ["sh", "-ec", line],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ID": id_, "TOKEN": token},
        )
        assert ran.returncode == 0, block + ran.stdout + ran.stderr
        assert ran.stdout
    (example,) = blocks("python")
    exec(example.replace(own, address).replace("TOKEN", token), {})
