"""The queue of series keeps its promises on PostgreSQL too, by the same tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.pacs.conftest import Clock
from tests.pacs.test_queue import (  # noqa: F401
    DAY,
    test_a_series_given_up_whose_images_are_gone_takes_them_again,
    test_a_series_is_complete_once_nothing_came_for_a_while,
    test_a_series_of_which_images_are_missing_is_taken_only_where_that_is_asked,
    test_a_series_that_is_fetched_at_once_is_whole_or_not_there,
    test_a_series_that_was_given_up_is_tried_anew_when_it_is_sent_again,
    test_a_series_that_was_given_up_leaves_nothing_behind,
    test_an_image_of_another_series_takes_no_row_away,
    test_an_image_or_series_that_comes_again_is_not_judged_twice,
    test_an_image_that_comes_while_its_series_is_judged_is_not_left_out,
    test_images_are_removed_when_they_were_kept_long_enough,
    test_nothing_is_taken_where_the_disk_is_nearly_full,
    test_results_are_sent_for_a_week,
    test_results_are_sent_one_by_one_and_then_gone,
    test_results_that_were_not_sent_yet_give_way_to_newer_ones,
    test_waits_double_and_end,
)
from tests.samples.postgres import Postgres
from tumorlens.jobs.queue import LEASE_SECONDS
from tumorlens.pacs.dicomweb.fetch_queue import FetchQueue
from tumorlens.pacs.queue import SeriesQueue


@pytest.fixture
def queue(
    tmp_path: Path,
    clock: Clock,
    postgres: Postgres,
) -> Iterator[SeriesQueue]:
    url = postgres.database()
    with closing(SeriesQueue(tmp_path / "node", DAY, clock, url)) as made:
        yield made


@pytest.fixture
def fetches(
    tmp_path: Path,
    clock: Clock,
    postgres: Postgres,
) -> Iterator[FetchQueue]:
    url = postgres.database()
    with closing(FetchQueue(tmp_path / "poller", 0.0, clock, url)) as made:
        yield made


def test_another_process_goes_on_once_the_first_is_silent(
    tmp_path: Path,
    clock: Clock,
    postgres: Postgres,
) -> None:
    url = postgres.database()
    with closing(SeriesQueue(tmp_path / "node", DAY, clock, url)) as first:
        first.add("1.1", "1", b"image")
        clock.now += 20
        lost = first.next_complete(10)
        assert lost is not None
        with closing(SeriesQueue(tmp_path / "node", DAY, clock, url)) as second:
            assert second.next_complete(10) is None
            clock.now += LEASE_SECONDS + 1
            job = second.next_complete(10)
            assert job is not None
            assert [path.read_bytes() for path in job.files] == [b"image"]
            assert not first.put_results(lost, [b"late"])
            assert second.put_results(job, [b"result"])
            sending = second.next_to_send()
            assert sending is not None
            assert [path.read_bytes() for path in sending.files] == [b"result"]
