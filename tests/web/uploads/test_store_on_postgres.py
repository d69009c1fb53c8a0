"""Uploads are kept as well where the database is PostgreSQL, by the same tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.samples.postgres import Postgres
from tests.web.uploads.test_series_store import (  # noqa: F401
    MB,
    Clock,
    clock,
    files,
    get,
    send,
    take,
    test_a_scan_that_does_not_fit_beside_those_that_wait_costs_nobody_anything,
    test_a_scan_that_is_stopped_keeps_what_was_found,
    test_a_scan_that_waits_is_kept_however_long,
    test_another_s_results_do_not_give_way_to_who_keeps_more,
    test_nothing_is_written_for_a_scan_that_is_gone,
    test_one_larger_than_all_room_is_still_kept,
    test_only_the_owner_sees_lists_and_deletes,
    test_the_oldest_go_when_the_room_is_used_up,
    test_time_over_means_gone,
    test_what_was_saved_comes_back,
)
from tumorlens.jobs.database import JobState
from tumorlens.web.uploads.store import Store
from tumorlens.web.uploads.upload import State


@pytest.fixture
def timed(
    tmp_path: Path,
    clock: Clock,  # noqa: F811
    postgres: Postgres,
) -> Iterator[Store]:
    url = postgres.database()
    with closing(Store(tmp_path / "s", 60, 3 * MB, clock, url)) as store:
        yield store


def test_a_dump_and_a_copy_of_the_folder_are_a_backup(
    tmp_path: Path,
    clock: Clock,  # noqa: F811
    postgres: Postgres,
) -> None:
    url = postgres.database()
    with closing(Store(tmp_path / "s", 60, 3 * MB, clock, url)) as store:
        scan = send(store)
    dump = postgres.dump()
    (tmp_path / "s").rename(tmp_path / "copy")
    assert postgres.database() == url
    postgres.restore(dump)
    with closing(Store(tmp_path / "copy", 60, 3 * MB, clock, url)) as store:
        assert get(store, scan).state is State.WAITING
        (file,) = store.sent_files(take(store)).values()
        assert file.read_bytes() == b"abc"


def test_two_servers_share_what_waits(
    tmp_path: Path,
    clock: Clock,  # noqa: F811
    postgres: Postgres,
) -> None:
    url = postgres.database()
    with (
        closing(Store(tmp_path / "s", 60, 3 * MB, clock, url)) as one,
        closing(Store(tmp_path / "s", 60, 3 * MB, clock, url)) as other,
    ):
        scan = send(one)
        job = other.save(take(other), step=State.JUDGING, files={"report": b"pdf"})
        assert get(one, scan).state is State.JUDGING
        other.finish(job, JobState.DONE)
        assert one.read(get(one, scan), "report") == b"pdf"
        assert files(one) == [b"pdf"]
