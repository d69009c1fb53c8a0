"""The queue in front of the network: full, fair, and over in time."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from tumorlens.errors import BusyError, QuotaError, TooSlowError
from tumorlens.web.inference_queue import InferenceQueue, Place

PATIENCE_SECONDS = 60.0


def test_full_means_refused_at_once() -> None:
    queue = InferenceQueue(lanes=1, length=2, client_limit=10, seconds=60.0)
    with ExitStack() as stack:
        for client in "abc":
            stack.enter_context(queue.admit(client))
        with pytest.raises(BusyError) as refused, queue.admit("d"):
            pass
        assert not isinstance(refused.value, QuotaError)
        assert refused.value.retry_seconds >= 1
        assert queue.depth == 3
    assert queue.depth == 0
    with queue.admit("d"):
        pass


def test_one_client_has_so_many_and_others_are_admitted() -> None:
    queue = InferenceQueue(lanes=1, length=9, client_limit=2, seconds=60.0)
    with queue.admit("a"), queue.admit("a"):
        with pytest.raises(QuotaError), queue.admit("a"):
            pass
        with queue.admit("b"):
            pass


def test_who_has_had_least_goes_first() -> None:
    queue = InferenceQueue(lanes=1, length=9, client_limit=9, seconds=60.0)
    order: list[str] = []

    def work(place: Place, name: str) -> None:
        with place.turn():
            order.append(name)

    with queue.admit("many pages") as long, queue.admit("one page") as short:
        long._used_seconds = 5.0
        with queue.admit("x") as holder, holder.turn():
            threads = []
            for place, name in ((long, "long"), (short, "short")):
                thread = threading.Thread(target=work, args=(place, name))
                thread.start()
                threads.append(thread)
                while len(queue._waiting) < len(threads):
                    time.sleep(0.001)
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert order == ["short", "long"]


def test_waits_are_told_while_they_last_and_afterwards() -> None:
    queue = InferenceQueue(lanes=1, length=9, client_limit=9, seconds=60.0)

    def work(place: Place) -> None:
        with place.turn():
            pass

    with queue.admit("a") as first, queue.admit("b") as second:
        assert queue.oldest_seconds == 0.0
        with first.turn():
            thread = threading.Thread(target=work, args=(second,))
            thread.start()
            while not (seen := queue.oldest_seconds):
                time.sleep(0.001)
        thread.join(PATIENCE_SECONDS)
        assert queue.oldest_seconds == 0.0
        assert first.waited_seconds < seen < second.waited_seconds


def test_an_upload_gets_no_turn_after_its_time() -> None:
    queue = InferenceQueue(lanes=1, length=9, client_limit=9, seconds=0.0)
    with (
        queue.admit("a") as place,
        pytest.raises(TooSlowError, match="0 s"),
        place.turn(),
    ):
        pass


def test_who_gives_up_waiting_leaves_the_turn_to_others() -> None:
    queue = InferenceQueue(lanes=1, length=9, client_limit=9, seconds=60.0)
    with (
        queue.admit("a") as holder,
        queue.admit("b") as hasty,
        queue.admit("c") as last,
    ):
        with holder.turn():
            hasty._deadline = time.monotonic() + 0.01
            with pytest.raises(TooSlowError), hasty.turn():
                pass
        with last.turn():
            pass
        with holder.turn():
            pass


def test_as_many_have_a_turn_as_there_are_lanes() -> None:
    queue = InferenceQueue(lanes=2, length=9, client_limit=9, seconds=60.0)
    together, most = 0, []
    lock, both = threading.Lock(), threading.Barrier(2, timeout=PATIENCE_SECONDS)

    def work() -> None:
        nonlocal together
        with queue.admit("a") as place, place.turn():
            with lock:
                together += 1
                most.append(together)
            both.wait()
            with lock:
                together -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(most) == 6
    assert max(most) == 2


def test_a_queue_that_stops_admits_nobody_and_ends_in_time() -> None:
    queue = InferenceQueue(lanes=1, length=9, client_limit=9, seconds=60.0)
    with queue.admit("a") as place:
        with place.turn():
            queue.stop(0.0)
        with pytest.raises(TooSlowError, match="stopping"), place.turn():
            pass
        with pytest.raises(BusyError, match="stopping"), queue.admit("b"):
            pass


def test_files_of_many_pages_are_read_one_at_a_time_and_hold_up_nobody() -> None:
    queue = InferenceQueue(lanes=1, length=9, client_limit=9, seconds=60.0)
    second_reads = threading.Event()

    def read(place: Place) -> None:
        with place.reading_turn():
            second_reads.set()

    with queue.admit("a") as first, queue.admit("b") as second, queue.admit("c") as one:
        with first.reading_turn():
            thread = threading.Thread(target=read, args=(second,))
            thread.start()
            while len(queue._waiting) < 1:
                time.sleep(0.001)
            with one.turn():
                assert not second_reads.is_set()
            assert queue.depth == 2
        assert second_reads.wait(PATIENCE_SECONDS)
        thread.join(PATIENCE_SECONDS)
        # Who has read waits for the network like all others.
        with first.turn(), pytest.raises(TooSlowError):
            queue.stop(0.0)
            with second.turn():
                pass


def test_who_waits_to_read_gives_up_in_time() -> None:
    queue = InferenceQueue(lanes=1, length=9, client_limit=9, seconds=60.0)
    with queue.admit("a") as first, queue.admit("b") as second:
        with first.reading_turn():
            second._deadline = 0.0
            with pytest.raises(TooSlowError), second.reading_turn():
                pass
        with queue.admit("c") as third, third.reading_turn():
            pass
