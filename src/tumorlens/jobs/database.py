"""The database under queue and artefacts: SQLite in a file, or PostgreSQL by URL."""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from tumorlens.errors import (
    DiskFullError,
    OutputError,
    SettingError,
    install_command,
)
from tumorlens.jobs.tables import Base

HEAD = "0004"
"""The newest migration; a test compares it with those in `migrations`."""

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says of a disk that takes no more."""

_logger = logging.getLogger(__name__)
_BUSY_SECONDS = 5.0
_MIGRATION_LOCK = 7_455_108
"""Any number: one server at a time migrates a PostgreSQL database."""
_PRAGMAS = (
    "journal_mode = WAL",
    "secure_delete = ON",
    "foreign_keys = ON",
)


class Database:
    """Transactions on the tables, which it brings up to date first.

    Parameters
    ----------
    url
        URL as SQLAlchemy writes it: ``sqlite:///file`` or
        ``postgresql+psycopg://user@host/name``.

    Raises
    ------
    SettingError
        The URL is none, or its driver is not installed.
    OutputError
        The database cannot be used. Every transaction raises it where it fails.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = _open(url)
        except (SQLAlchemyError, ImportError, ValueError) as error:
            # The URL may hold a password: it is not quoted.
            raise SettingError(
                f"The database's URL cannot be used: {type(error).__name__}.",
                "Give one such as postgresql+psycopg://user@host/name. PostgreSQL "
                f"needs {install_command('server')}.",
            ) from error
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._sessions = sessionmaker(self._engine, expire_on_commit=False)
        # SQLite writes one transaction at a time: to wait here is fairer than there.
        self._lock = threading.RLock() if self._is_sqlite else nullcontext()
        self._local = threading.local()
        try:
            with self._engine.begin() as connection:
                bring_up_to_date(connection)
        except BaseException as error:
            self.close()
            if isinstance(error, SQLAlchemyError):
                raise self._failure(error) from error
            raise

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Session]:
        """Write all or nothing; within another of the thread it is part of that.

        Parameters
        ----------
        durable
            Whether it has to survive a power cut, too: a sender is told "accepted"
            once. SQLite waits some milliseconds for the disk then.

        Raises
        ------
        OutputError
            The database does not do it.
        """
        outer: Session | None = getattr(self._local, "session", None)
        if outer is not None:
            yield outer
            return
        done: list[Callable[[], None]] = []
        undone: list[Callable[[], None]] = []
        try:
            with self._lock, self._sessions.begin() as session:
                session.connection(execution_options={"durable": durable})
                self._local.session = session
                self._local.done, self._local.undone = done, undone
                try:
                    yield session
                finally:
                    self._local.session = None
        except BaseException as error:
            _do(undone)
            if isinstance(error, SQLAlchemyError):
                raise self._failure(error) from error
            raise
        _do(done)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Read, without waiting for those who write.

        Raises
        ------
        OutputError
            The database does not do it.
        """
        outer: Session | None = getattr(self._local, "session", None)
        if outer is not None:
            yield outer
            return
        try:
            with self._sessions() as session:
                session.connection(execution_options={"reads_only": True})
                yield session
        except SQLAlchemyError as error:
            raise self._failure(error) from error

    def after_commit(self, act: Callable[[], None]) -> None:
        """Do something once the thread's transaction is written, and only then."""
        self._local.done.append(act)

    def after_rollback(self, act: Callable[[], None]) -> None:
        """Do something once the thread's transaction has failed, and only then."""
        self._local.undone.append(act)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _failure(self, error: SQLAlchemyError) -> OutputError:
        original = getattr(error, "orig", None)
        reason = str(original or type(error).__name__)
        # Only the first line: PostgreSQL's others quote the values.
        reason = reason.splitlines()[0].rstrip(".")
        if self._is_sqlite:
            place = f"The database in {Path(str(self._engine.url.database)).parent}"
            hint = "Check that its disk is not full and the folder may be written to."
        else:
            place = f"The database on {self._engine.url.host or 'this machine'}"
            hint = "Check that it runs and has room."
        code = getattr(original, "sqlite_errorcode", None)
        kind = DiskFullError if code == sqlite3.SQLITE_FULL else OutputError
        return kind(f"{place} does not take it: {reason}.", hint)


def _do(acts: Sequence[Callable[[], None]]) -> None:
    for act in acts:
        try:
            act()
        except OutputError as error:
            # The transaction is over; what is left behind goes with the next start.
            _logger.warning("%s", error)


def bring_up_to_date(connection: Connection) -> None:
    """Make the tables in an empty database, and migrate those of an older release.

    Parameters
    ----------
    connection
        Connection in a transaction.

    Raises
    ------
    SQLAlchemyError
        The database does not do it.
    OutputError
        The tables are of a newer release.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    version = version_of(connection)
    if version == HEAD:
        return
    if version is None:
        # Much faster than to import Alembic and go through all migrations.
        Base.metadata.create_all(connection)
        connection.execute(
            text(
                "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
                "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
            )
        )
        connection.execute(
            text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD}
        )
        return
    migrate(connection, HEAD)


def version_of(connection: Connection) -> str | None:
    """Name the migration that a database's tables are of; None where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return None if revision is None else str(revision)


def migrate(connection: Connection, revision: str) -> None:
    """Take the tables up or down to a migration; ``base`` leaves none.

    Raises
    ------
    OutputError
        The tables are of a newer release, whose migrations are not known.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).with_name("migrations"))
    )
    config.attributes["connection"] = connection
    order = [
        script.revision
        for script in reversed(
            list(ScriptDirectory.from_config(config).walk_revisions())
        )
    ]
    version = version_of(connection)
    try:
        if version is not None and version not in order:
            raise CommandError(f"unknown revision {version}")
        place = -1 if version is None else order.index(version)
        wanted = -1 if revision == "base" else order.index(revision)
        if wanted >= place:
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)
    except CommandError as error:
        raise OutputError(
            f"The database was made by a newer TumorLens: {error}.",
            "Use that one, or another store.",
        ) from error


def _open(url: str) -> Engine:
    parsed = make_url(url)
    # Values may be a patient's: they stay out of errors and logs.
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, hide_parameters=True, pool_pre_ping=True)
    engine = create_engine(
        parsed, hide_parameters=True, connect_args={"timeout": _BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _: object) -> None:
        # The driver would begin transactions by itself, and too late.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("reads_only", False):
            connection.exec_driver_sql("BEGIN")
            return
        waits = "FULL" if options.get("durable", True) else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous = {waits}")
        # Who begins to read and then writes may find that another was faster.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
