"""Both databases have the same tables, whichever way they came there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, select, text

from tests.samples.postgres import Postgres
from tumorlens.errors import OutputError, SettingError
from tumorlens.jobs import database as database_module
from tumorlens.jobs.database import (
    HEAD,
    Base,
    Database,
    Job,
    JobState,
    Token,
    bring_up_to_date,
    migrate,
    version_of,
)


def test_the_newest_migration_is_the_one_that_is_asked_for() -> None:
    folder = Path(database_module.__file__).with_name("migrations")
    assert ScriptDirectory(str(folder)).get_current_head() == HEAD


def test_migrations_go_up_and_down_and_make_the_same_tables(any_url: str) -> None:
    engine = create_engine(any_url)
    with engine.begin() as connection:
        migrate(connection, HEAD)
        assert version_of(connection) == HEAD
        context = MigrationContext.configure(connection, {"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        migrated = described(connection)
        migrate(connection, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
        connection.execute(text("DROP TABLE alembic_version"))
        bring_up_to_date(connection)
        assert version_of(connection) == HEAD
        assert described(connection) == migrated
        migrate(connection, HEAD)
    engine.dispose()


def described(connection):
    """Columns, keys and indices of all tables."""
    found = inspect(connection)
    return {
        name: (
            [
                (column["name"], str(column["type"]), column["nullable"])
                for column in found.get_columns(name)
            ],
            sorted(str(key) for key in found.get_foreign_keys(name)),
            sorted(str(item) for item in found.get_indexes(name)),
            sorted(str(item) for item in found.get_unique_constraints(name)),
        )
        for name in sorted(found.get_table_names())
    }


def test_tables_of_a_newer_release_are_left_alone(any_url: str) -> None:
    Database(any_url).close()
    engine = create_engine(any_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(OutputError, match="newer TumorLens"):
        Database(any_url)
    with engine.begin() as connection:
        assert version_of(connection) == "9999"
    engine.dispose()


def test_a_transaction_within_another_is_part_of_it(any_url: str) -> None:
    database = Database(any_url)
    done: list[str] = []
    with pytest.raises(ZeroDivisionError), database.transaction():
        with database.transaction() as inner:
            inner.execute(text("UPDATE jobs SET owner = 'x'"))
            database.after_commit(lambda: done.append("never"))
        raise ZeroDivisionError
    with database.transaction():
        with database.transaction():
            database.after_commit(lambda: done.append("once"))
        assert done == []
    assert done == ["once"]
    database.close()


def test_a_row_that_is_inserted_at_once_is_the_sessions(any_url: str) -> None:
    database = Database(any_url)
    assert not database.has_rows(Job)
    facts = {"kind": "k", "stage": "s", "step": "", "owner": "me", "document": {"a": 1}}
    times = dict.fromkeys(("created", "arrived", "updated", "due", "rank"), 1.0)
    counts = dict.fromkeys(("cost", "attempts", "steps_done", "steps_total"), 0)
    with database.transaction() as session:
        job = Job(id="x", state=JobState.WAITING, **facts, **times, **counts)
        database.insert(session, job)
        assert job.number == 1
        assert job.error is None
        assert session.get(Job, 1) is job
        job.owner = "you"
    with database.reading() as session:
        (row,) = session.scalars(select(Job))
    assert (row.id, row.owner, row.state) == ("x", "you", JobState.WAITING)
    assert (row.document, row.error, row.finished) == ({"a": 1}, None, None)
    assert database.has_rows(Job)
    assert database.has_rows(Job, owner="you", kind="k")
    assert not database.has_rows(Job, owner="you", kind="'")
    with database.transaction() as session:
        session.execute(text("DROP TABLE tokens"))
    with pytest.raises(OutputError, match="does not take it"):
        database.has_rows(Token)
    database.close()


def test_values_are_in_no_error(any_url: str) -> None:
    database = Database(any_url)
    with pytest.raises(OutputError) as caught, database.transaction() as session:
        session.execute(
            text("INSERT INTO blobs VALUES (:digest, :size), (:digest, :size)"),
            {"digest": "Drawn^Head", "size": 1},
        )
    assert "Drawn^Head" not in str(caught.value)
    with database.reading() as session:
        assert session.scalars(select(Job)).all() == []
    database.close()


@pytest.mark.parametrize("url_text", ["no url", "mysql+nothing://x/y", "oracle://x"])
def test_a_url_that_cannot_be_is_refused(url_text: str) -> None:
    with pytest.raises(SettingError, match="URL cannot be used"):
        Database(url_text)


def test_a_server_that_is_away_for_a_while_ends_nothing(postgres: Postgres) -> None:
    database = Database(postgres.database())
    postgres.stop()
    try:
        away = pytest.raises(OutputError, match="database on")
        with away, database.transaction() as session:
            session.execute(select(Job))
    finally:
        postgres.start()
    with database.transaction() as session:
        assert session.scalars(select(Job)).all() == []
    database.close()


def test_a_database_that_another_holds_is_said_and_used_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_BUSY_SECONDS", 0.1)
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        locked = pytest.raises(OutputError, match="database is locked")
        with locked, database.transaction():
            pass
        # Who only reads does not wait.
        with database.reading() as session:
            assert session.scalars(select(Job)).all() == []
    with database.transaction() as session:
        assert session.scalars(select(Job)).all() == []
    database.close()
