"""`tumorlens tokens`, beside a server that runs and without one."""

from __future__ import annotations

from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.samples.serving import serving
from tumorlens.cli.main import main


def tokens(store: Path, *words: str) -> int:
    return main(["tokens", *words, "--store", str(store)])


def test_tokens_open_and_close_a_running_server(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"

    def status(url: str, text: str = "") -> int:
        headers = {"Authorization": f"Bearer {text}"} if text else {}
        try:
            with urlopen(
                Request(f"{url}api/v1/openapi.json", headers=headers)
            ) as found:
                return int(found.status)
        except HTTPError as error:
            error.close()
            return error.code

    with serving("--model", str(tiny_bundle), "--port", "0", "--store", str(store)) as (
        _,
        url,
    ):
        assert status(url) == 200
        assert tokens(store, "add", "anna", "--scope", "read", "--days", "7") == 0
        said = capsys.readouterr()
        text = said.out.strip()
        assert text.startswith("tl_")
        assert "not shown again" in said.err
        assert (status(url), status(url, text)) == (401, 200)
        assert tokens(store, "list") == 0
        listed = capsys.readouterr().out.split()
        assert listed[1:3] == ["anna", "read"]
        assert text not in listed
        assert tokens(store, "revoke", listed[0]) == 0
        assert status(url, text) == 401


def test_with_a_token_other_machines_are_served(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert tokens(store, "add", "anna") == 0
    arguments = ["--model", str(tiny_bundle), "--port", "0", "--store", str(store)]
    with serving(*arguments, "--host", "0.0.0.0") as (_, url):
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{url}api/v1/openapi.json")
        assert refused.value.code == 401
        refused.value.close()
        with urlopen(f"{url}healthz") as found:
            assert found.status == 200


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "anna", "--scope", "all"), "'all'"),
        (("add", "anna", "--days", "0"), "--days"),
        (("revoke", "none"), "no token 'none'"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    assert tokens(tmp_path / "store", *words) == 2
    assert said in capsys.readouterr().err


def test_a_store_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokens", "list"]) == 2
    assert "--store or --database-url" in capsys.readouterr().err
