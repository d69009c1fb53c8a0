"""The queue in front of the network: short, fair, and full rather than slow.

Uploads of pictures are judged while their senders wait. So many may wait, and no more:
the next is refused at once. Who has had the network least goes first, so that an upload
of a thousand pages holds up no single picture. To read all these pages takes seconds:
one such file is read at a time, beside the turns of the others.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tumorlens.errors import BusyError, QuotaError, TooSlowError
from tumorlens.settings import SETTINGS

_LONGEST_RETRY_SECONDS = 60
_WEIGHT = 0.1
"""Weight of the newest turn in the mean length of turns."""


class InferenceQueue:
    """Admits uploads, and gives them the network in turns; safe to use from threads.

    Parameters
    ----------
    lanes
        Turns at a time: more pictures than cores would only need more memory.
    length
        Uploads that may wait.
    client_limit
        Uploads of one client, waiting or not.
    seconds
        Seconds after which an upload gets no further turn.
    """

    def __init__(
        self, lanes: int, length: int, client_limit: int, seconds: float
    ) -> None:
        self._lanes = lanes
        self._capacity = lanes + length
        self._client_limit = client_limit
        self._seconds = seconds
        self._lock = threading.Lock()
        self._places: list[Place] = []
        self._waiting: list[Place] = []
        self._by_client: Counter[str] = Counter()
        self._running = 0
        self._is_reading = False
        self._mean_seconds = 0.1
        self._end = math.inf
        self._stopped = False

    @property
    def depth(self) -> int:
        """Number of uploads that wait."""
        with self._lock:
            at_work = self._running + self._is_reading
            return max(0, len(self._places) - at_work)

    @property
    def admitted(self) -> int:
        """Number of uploads under way, waiting or not."""
        with self._lock:
            return len(self._places)

    @property
    def oldest_seconds(self) -> float:
        """Seconds for which the upload that waits longest has waited; 0 where none."""
        with self._lock:
            since = [place._waits_since for place in self._waiting]
            return time.monotonic() - min(since) if since else 0.0

    @contextmanager
    def admit(self, client: str) -> Iterator[Place]:
        """Admit an upload until it is done.

        Parameters
        ----------
        client
            Sender: a user, a browser's session or an address.

        Raises
        ------
        QuotaError
            The client has as many under way as it may have.
        BusyError
            The queue is full, or the server stops.
        """
        place = Place(self, client, time.monotonic() + self._seconds)
        with self._lock:
            self._check(client)
            self._places.append(place)
            self._by_client[client] += 1
        try:
            yield place
        finally:
            with self._lock:
                self._places.remove(place)
                self._by_client[client] -= 1
                if not self._by_client[client]:
                    del self._by_client[client]

    def stop(self, patience_seconds: float) -> None:
        """Admit nobody any more, and end turns after so many seconds."""
        with self._lock:
            self._stopped = True
            self._end = time.monotonic() + patience_seconds
            for place in self._waiting:
                place._changed.notify()

    def _give_turns(self) -> None:
        """Wake those whose turn it is, and nobody else; the lock is held."""
        while self._running < self._lanes and (place := self._next(reads=False)):
            self._running += 1
            place._begin()
        if not self._is_reading and (place := self._next(reads=True)):
            self._is_reading = True
            place._begin()

    def _next(self, *, reads: bool) -> Place | None:
        # The list keeps the order of arrival among those that have had as much.
        waiting = (item for item in self._waiting if item._wants_to_read is reads)
        return min(waiting, key=lambda item: item._used_seconds, default=None)

    def _check(self, client: str) -> None:
        if self._stopped:
            raise BusyError("The server is stopping.", retry_seconds=10)
        # Each upload is counted as one turn, which most are.
        seconds = self._mean_seconds * len(self._places) / self._lanes
        retry = min(_LONGEST_RETRY_SECONDS, max(1, math.ceil(seconds)))
        if self._by_client[client] >= self._client_limit:
            raise QuotaError(
                f"{self._client_limit} uploads of this client are under way already.",
                "Wait until they are done; whoever runs the server can set "
                f"{SETTINGS['client_requests'].option}.",
                retry,
            )
        if len(self._places) >= self._capacity:
            raise BusyError(
                "As many uploads are waiting as may wait.",
                f"Try again in {retry} s.",
                retry,
            )


class Place:
    """An upload's place in the queue.

    Attributes
    ----------
    client
        Who sent it.
    waited_seconds
        Seconds that it has waited for its turns so far.

    Parameters
    ----------
    queue
        The queue that admitted it.
    client
        Sender.
    deadline
        Time on the monotonic clock after which it gets no further turn.
    """

    def __init__(self, queue: InferenceQueue, client: str, deadline: float) -> None:
        self._queue = queue
        self._deadline = deadline
        self._used_seconds = self._waits_since = 0.0
        self.waited_seconds = 0.0
        self._wants_to_read = self._has_turn = False
        self._changed = threading.Condition(queue._lock)
        self.client = client

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the network, and have it for one piece of work.

        Raises
        ------
        TooSlowError
            The upload has taken as long as it may, or the server stops.
        """
        with self._held(reads=False):
            yield

    @contextmanager
    def reading_turn(self) -> Iterator[None]:
        """Wait until nobody else reads a file of many pages, and read one.

        Raises
        ------
        TooSlowError
            The upload has taken as long as it may, or the server stops.
        """
        with self._held(reads=True):
            yield

    @contextmanager
    def _held(self, *, reads: bool) -> Iterator[None]:
        """Wait for a turn, and have it."""
        queue = self._queue
        with queue._lock:
            self._check()
            self._wants_to_read = reads
            self._waits_since = time.monotonic()
            queue._waiting.append(self)
            queue._give_turns()
            try:
                while not self._has_turn:
                    left = min(self._deadline, queue._end) - time.monotonic()
                    self._changed.wait(min(left, 1.0))
                    self._check()
            except BaseException:
                self._leave()
                raise
        start = time.monotonic()
        self.waited_seconds += start - self._waits_since
        try:
            yield
        finally:
            seconds = time.monotonic() - start
            self._used_seconds += seconds
            with queue._lock:
                if not reads:
                    queue._mean_seconds += _WEIGHT * (seconds - queue._mean_seconds)
                self._leave()

    def _begin(self) -> None:
        """Be given the turn; the lock is held."""
        self._queue._waiting.remove(self)
        self._has_turn = True
        self._changed.notify()

    def _leave(self) -> None:
        """Wait no longer, or end the turn, and let the next ones have theirs."""
        queue = self._queue
        if not self._has_turn:
            queue._waiting.remove(self)
        elif self._wants_to_read:
            queue._is_reading = False
        else:
            queue._running -= 1
        self._has_turn = False
        queue._give_turns()

    def _check(self) -> None:
        now = time.monotonic()
        if now >= self._queue._end:
            raise TooSlowError("The server is stopping.", "Send the rest again.")
        if now >= self._deadline:
            raise TooSlowError(
                f"It took longer than the {self._queue._seconds:.0f} s that one upload "
                "may take.",
                "Send fewer pages at a time, or a whole series as a scan; whoever runs "
                f"the server can set {SETTINGS['request_seconds'].option}.",
            )
