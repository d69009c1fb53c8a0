"""Stores of both kinds of database, and a clock that a test turns on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.samples.postgres import Postgres
from tumorlens.jobs.database import Database
from tumorlens.jobs.queue import RetryPolicy
from tumorlens.jobs.store import JobStore

POLICIES = {"judge": RetryPolicy(4), "send": RetryPolicy(2)}


class Clock:
    now = 100_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """The database's: none for the SQLite file in the store's folder."""
    if request.param == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def any_url(url: str | None, tmp_path: Path) -> str:
    return url or f"sqlite:///{tmp_path}/jobs.sqlite"


@pytest.fixture
def database(any_url: str) -> Iterator[Database]:
    with closing(Database(any_url)) as database:
        yield database


Opened = Callable[[], JobStore]


@pytest.fixture
def opened(tmp_path: Path, url: str | None, clock: Clock) -> Iterator[Opened]:
    """Opens the same store, however often."""
    stores: list[JobStore] = []

    def open_it() -> JobStore:
        stores.append(JobStore(tmp_path / "store", POLICIES, url=url, clock=clock))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Opened) -> JobStore:
    return opened()
