"""A server that is brought up to date goes on with what 0.1.0 left in its store.

The store was made by 0.1.0 itself, which was killed: its last rows are in the log of
the index alone.
"""

from __future__ import annotations

import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.web.uploads.test_store import Clock, files
from tumorlens.errors import MissingFileError
from tumorlens.web.uploads import store as store_module
from tumorlens.web.uploads.store import ANYONE, STAGE, Store
from tumorlens.web.uploads.upload import Kind, State

LEFT = Path(__file__).parents[2] / "samples" / "web_store_0_1_0.zip"


@pytest.fixture
def clock() -> Clock:
    made = Clock()
    made.now = 1_800_000_060.0
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(LEFT) as archive:
        archive.extractall(tmp_path / "store")
    return tmp_path / "store"


def test_results_keys_and_what_waits_are_there(folder: Path, clock: Clock) -> None:
    key = (folder / "key").read_bytes()
    with closing(Store(folder, 3600, 2**30, clock)) as store:
        assert store.key == key, "sessions go on"
        (picture,) = store.owned("me")
        assert store.prediction(picture).width == 96
        scans = {
            item.document["label"]: item
            for owner in ("me", ANYONE)
            for item in store.owned(owner, Kind.SCAN)
        }
        told = {name: item.document["error"] for name, item in scans.items()}
        assert told["bad.zip"] == {"code": "damaged_file", "message": "m", "mend": "h"}
        assert told["half.nii"]["code"] == "interrupted"
        assert told["waits.png"] is told["pictures.zip"] is None
        states = {name: item.state for name, item in scans.items()}
        assert states == {
            "bad.zip": State.FAILED,
            "half.nii": State.FAILED,
            "waits.png": State.WAITING,
            "pictures.zip": State.DONE,
        }
        done = scans["pictures.zip"]
        assert store.read(done, "report") == b"%PDF-old"
        (part,) = done.document["analyses"]
        assert store.prediction(store.get(part, ANYONE)).width == 96
        # What waited when 0.1.0 was stopped is judged now.
        job = store.queue.claim(STAGE, "worker")
        assert job is not None and job.id == scans["waits.png"].id
        assert list(store.sent_files(job)) == ["00001"]
        store.delete(done.id, ANYONE, Kind.SCAN)
        with pytest.raises(MissingFileError):
            store.get(part, ANYONE)
    left = {item.name for item in folder.iterdir()}
    assert left <= {"files", "jobs.sqlite", "key", "lock"}


def test_it_is_done_once_however_it_is_killed(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # After all was written, before the older files were removed.
        patch.setattr(store_module, "remove_older", killed)
        with pytest.raises(KeyboardInterrupt):
            Store(folder, 3600, 2**30, clock)
    assert list(folder.glob("*.npy"))
    with closing(Store(folder, 3600, 2**30, clock)) as store:
        assert len(store.owned("me")) == 1
        assert not list(folder.glob("*.npy"))


def test_what_is_over_goes_as_if_it_had_been_kept_here(
    folder: Path, clock: Clock
) -> None:
    clock.now += 3600
    with closing(Store(folder, 3600, 2**30, clock)) as store:
        (waiting,) = store.owned("me", Kind.SCAN)
        assert waiting.state is State.WAITING
        assert store.owned("me") == ()
        assert len(files(store)) == 1
