"""Analyses are private, and gone when their time is over."""

from __future__ import annotations

import io
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorlens import Prediction, SeriesClassifier
from tumorlens.errors import MissingFileError, OutputError
from tumorlens.inference.slice.prediction import Explanation
from tumorlens.report.slice.overlay import grey_map, window_picture
from tumorlens.web.uploads.store import ANYONE, Store
from tumorlens.web.uploads.upload import (
    pack_pictures,
    unpack_picture,
    unpack_pictures,
)

MB = 2**20


class Clock:
    """A clock that a test turns on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def kept_bytes(prediction: Prediction) -> int:
    """Tell how much one takes: a picture of 8 bits, and the network's grids."""
    return len(pack_pictures(prediction))


def files(store: Store) -> list[Path]:
    return list((store.folder / "files").iterdir())


@pytest.fixture(scope="module")
def prediction(classifier: SeriesClassifier, lesion_png: bytes) -> Prediction:
    found = classifier.slice_classifier().predict(lesion_png, name="head.png")
    assert isinstance(found, Prediction)
    return found


def test_what_was_kept_comes_back(store: Store, prediction: Prediction) -> None:
    analysis = store.add(prediction, "me")
    again = store.prediction(store.get(analysis.id, "me"))
    assert again.decision == prediction.decision
    assert again.explanation.box == prediction.explanation.box
    evidence = prediction.explanation.evidence
    assert np.abs(again.explanation.evidence - evidence).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(grey_map(again.explanation.evidence), grey_map(evidence))


def test_maps_come_back_from_grids_and_from_what_older_releases_kept(
    store: Store, prediction: Prediction
) -> None:
    maps = prediction.explanation.evidence, prediction.explanation.gradcam
    drawn = np.stack([window_picture(prediction.pixels), *map(grey_map, maps)])
    older = io.BytesIO()
    np.save(older, drawn)
    without_grids = replace(prediction, explanation=replace(prediction.explanation))
    assert pack_pictures(without_grids) == older.getvalue()
    packed = pack_pictures(prediction)
    assert len(packed) < len(older.getvalue()) / 2
    for stored in (packed, older.getvalue()):
        assert np.array_equal(unpack_picture(stored), drawn[0])
        pixels, *sources = unpack_pictures(stored)
        again = Explanation(*sources, prediction.explanation.explained)
        for found, expected in zip(
            (pixels, again.evidence, again.gradcam), drawn, strict=True
        ):
            assert found.dtype == np.float32
            assert np.array_equal(found, expected.astype(np.float32) / np.float32(255))


def test_only_the_owner_sees_lists_and_deletes(
    store: Store, prediction: Prediction
) -> None:
    mine = store.add(prediction, "me")
    for stranger in ("you", ANYONE):
        with pytest.raises(MissingFileError):
            store.get(mine.id, stranger)
        with pytest.raises(MissingFileError):
            store.delete(mine.id, stranger)
        assert store.owned(stranger) == ()
        assert store.delete_all(stranger) == 0
    assert [item.id for item in store.owned("me")] == [mine.id]


def test_what_was_deleted_is_hidden_then_removed_unless_brought_back(
    tmp_path: Path, prediction: Prediction
) -> None:
    clock = Clock()
    store = Store(tmp_path / "s", 600, 100 * MB, clock)
    mine, yours = store.add(prediction, "me"), store.add(prediction, "you")
    for brought_back in (True, False):
        assert store.delete_all("me") == 1
        assert store.owned("me") == ()
        with pytest.raises(MissingFileError):
            store.get(mine.id, "me")
        clock.now += 9
        assert store.sweep() == 0
        deletion = store.deletion("me")
        assert deletion is not None
        assert (deletion.count, deletion.seconds_left) == (1, 1.0)
        if brought_back:
            store.undo_deletion("me")
            assert store.get(mine.id, "me") == mine
    clock.now += 2
    assert store.deletion("me") is None
    with pytest.raises(MissingFileError, match="cannot be undone"):
        store.undo_deletion("me")
    assert store.owned("me") == ()
    assert store.sweep() == 1
    assert store.sweep() == 0
    assert [item.id for item in store.owned("you")] == [yours.id]
    store.close()


def test_a_deletion_outlives_a_restart(tmp_path: Path, prediction: Prediction) -> None:
    clock = Clock()
    store = Store(tmp_path / "s", 600, 100 * MB, clock)
    store.add(prediction, "me")
    store.delete_all("me")
    store.close()
    clock.now += 3
    store = Store(tmp_path / "s", 600, 100 * MB, clock)
    assert store.owned("me") == ()
    assert store.deletion("me") is not None
    store.close()
    clock.now += 8
    store = Store(tmp_path / "s", 600, 100 * MB, clock)
    assert not files(store)
    store.close()


def test_equal_pictures_are_known_as_copies_of_the_oldest(
    store: Store, prediction: Prediction
) -> None:
    first = store.add(prediction, "me")
    other = store.add(replace(prediction, pixels=1.0 - prediction.pixels), "me")
    again = store.add(replace(prediction, source="again.png"), "me")
    store.add(prediction, "you")
    assert store.copies(store.owned("me")) == {again.id: first.id}
    assert other.id not in store.copies(store.owned("me"))


def test_folder_key_and_index_are_closed_to_others(store: Store) -> None:
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.folder / "key").stat().st_mode) == 0o600


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    Store(folder, 60, MB).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_time_over_means_not_shown_even_before_the_sweep(
    tmp_path: Path, prediction: Prediction
) -> None:
    clock = Clock()
    store = Store(tmp_path / "s", 60, 100 * MB, clock)
    analysis = store.add(prediction, "me")
    clock.now += 59
    assert store.get(analysis.id, "me") == analysis
    clock.now += 2
    with pytest.raises(MissingFileError):
        store.get(analysis.id, "me")
    assert store.owned("me") == ()
    assert files(store)
    assert store.sweep() == 1
    assert not files(store)
    store.close()


def test_a_clock_that_jumps_takes_no_result_that_is_not_over(
    tmp_path: Path, prediction: Prediction
) -> None:
    clock = Clock()
    store = Store(tmp_path / "s", 3600, 100 * MB, clock)
    start = clock.now
    analysis = store.add(prediction, "me")
    for hours in (-2, 0, 0.9):
        clock.now = start + 3600 * hours
        assert store.sweep() == 0
        assert store.get(analysis.id, "me") == analysis
    clock.now = start - 7200
    later = store.add(prediction, "me")
    clock.now = start + 7200
    for result in (analysis, later):
        with pytest.raises(MissingFileError):
            store.get(result.id, "me")
    assert store.sweep() == 2
    store.close()


def test_the_sweeper_removes_files_by_itself(
    tmp_path: Path, prediction: Prediction
) -> None:
    store = Store(tmp_path / "s", 0.2, 100 * MB)
    store.start_sweeper()
    store.add(prediction, "me")
    waited = time.monotonic() + 20
    while files(store) and time.monotonic() < waited:
        time.sleep(0.02)
    assert not files(store)
    store.close()


def test_what_a_killed_server_left_is_removed_at_the_next_start(
    tmp_path: Path, prediction: Prediction
) -> None:
    clock = Clock()
    first = Store(tmp_path / "s", 60, 100 * MB, clock)
    first.add(prediction, "me")
    first.close()
    clock.now += 61
    second = Store(tmp_path / "s", 60, 100 * MB, clock)
    assert not files(second)
    second.close()


def test_the_oldest_go_when_the_room_is_used_up(
    tmp_path: Path, prediction: Prediction
) -> None:
    each = kept_bytes(prediction)
    store = Store(tmp_path / "s", 3600, 2 * each)
    ids = [store.add(prediction, "me").id for _ in range(4)]
    assert [item.id for item in store.owned("me")] == [ids[3], ids[2]]
    assert len(files(store)) == 1, "the same pixels lie there once"
    for analysis_id in ids[2:]:
        store.delete(analysis_id, "me")
    assert not files(store)
    store.close()


def test_who_sends_most_pushes_nobody_else_out(
    tmp_path: Path, prediction: Prediction
) -> None:
    each = kept_bytes(prediction)
    store = Store(tmp_path / "s", 3600, 4 * each)
    visitor = store.add(prediction, "visitor")
    for _ in range(60):
        store.add(prediction, ANYONE)
    assert store.get(visitor.id, "visitor").id == visitor.id
    assert len(store.owned(ANYONE)) < 4
    # Who keeps least may come, at the cost of who keeps most.
    newcomer = store.add(prediction, "newcomer")
    assert store.get(newcomer.id, "newcomer").id == newcomer.id
    assert store.get(visitor.id, "visitor").id == visitor.id
    store.close()


def test_a_result_that_finds_no_room_is_refused_and_leaves_nothing(
    tmp_path: Path, prediction: Prediction
) -> None:
    each = kept_bytes(prediction)
    store = Store(tmp_path / "s", 3600, each)
    mine = store.add(prediction, "me")
    with pytest.raises(OutputError, match="full of others' results"):
        store.add(prediction, "you")
    assert store.owned("you") == ()
    assert store.prediction(store.get(mine.id, "me")).source == prediction.source
    store.close()


def test_one_larger_than_all_room_is_still_shown(
    tmp_path: Path, prediction: Prediction
) -> None:
    store = Store(tmp_path / "s", 3600, 10)
    analysis = store.add(prediction, "me")
    assert store.get(analysis.id, "me") == analysis
    store.close()


def test_a_temporary_store_leaves_nothing(prediction: Prediction) -> None:
    store = Store(None, 3600, 100 * MB)
    store.add(prediction, "me")
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    store.close()
    assert not store.folder.exists()


def test_the_key_stays_with_the_folder_and_differs_between_folders(
    tmp_path: Path,
) -> None:
    keys = []
    for name in ("a", "a", "b"):
        store = Store(tmp_path / name, 60, MB)
        keys.append(store.key)
        store.close()
    assert keys[0] == keys[1] != keys[2]
    assert len(keys[0]) == 32


def test_a_cut_off_key_is_made_anew(tmp_path: Path) -> None:
    Store(tmp_path / "s", 60, MB).close()
    (tmp_path / "s" / "key").write_bytes(b"short")
    store = Store(tmp_path / "s", 60, MB)
    assert len(store.key) == 32
    store.close()


def test_a_folder_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    with pytest.raises(OutputError, match="file"):
        Store(taken, 60, MB)


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(OutputError, match="holds files"):
        Store(tmp_path, 60, MB)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_folder_that_vanished_is_an_error_that_says_so(
    tmp_path: Path, prediction: Prediction
) -> None:
    store = Store(tmp_path / "s", 60, MB)
    store.folder.rename(tmp_path / "gone")
    with pytest.raises(OutputError, match=r"head\.png"):
        store.add(prediction, "me")
    store.close()


def test_many_threads_at_a_time(store: Store, prediction: Prediction) -> None:
    def work(owner: str) -> None:
        for _ in range(5):
            analysis = store.add(prediction, owner)
            store.prediction(store.get(analysis.id, owner))

    threads = [threading.Thread(target=work, args=(f"o{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(store.owned(f"o{n}")) for n in range(6)] == [5] * 6
