"""The database under queue and artefacts: SQLite in a file, or PostgreSQL by URL.

Its tables hold jobs, artefacts, their files, tokens, accounts and counts of drift, and
are the same in both. Who changes them writes a migration; a test compares both.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    Double,
    Engine,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from tumorlens.errors import (
    DiskFullError,
    OutputError,
    SettingError,
    install_command,
)

_Number = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up only what is called an integer."""

_LONGEST_NAME = 100
"""Characters of a user's name."""

_MOST_VALUES = 500
"""Values that go into one statement; some builds of SQLite take 999 at most."""

_Value = TypeVar("_Value")


class JobState(StrEnum):
    """State of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """True where nothing more happens by itself."""
        return self in OVER


OVER = (JobState.DONE, JobState.FAILED, JobState.STOPPED)
"""States in which a job keeps nobody busy."""


_State = Enum(
    JobState,
    values_callable=lambda states: [state.value for state in states],
    native_enum=False,
    length=16,
)


class Base(DeclarativeBase):
    """All tables."""


class Job(Base):
    """A piece of work that was accepted: its owner, its state and its result.

    A job belongs to a `kind` (what it is), and stands in one `stage` at a time (who
    works on it next). Times are seconds since 1970, UTC.

    Attributes
    ----------
    number
        Order in which jobs came.
    id
        Random, 128 bits, not to be guessed.
    kind, key
        Kind, and the sender's name for it; unique together.
    owner
        Whom it and its artefacts belong to.
    parent
        Id of the job that this one is a part of.
    state, stage, step
        State, worker's stage, and a word for people for what is done.
    created, arrived, updated, finished
        Times when it was accepted, when the last of its input came, when its state
        changed, and when it was over.
    due, rank
        Not before when it is worked on, and in which order, the least first.
    cost
        Amount of work, in the unit of its stage.
    attempts
        Number of times that it failed, or was lost with its worker.
    time_limit
        Seconds that one attempt may take.
    worker, lease, lease_until
        Worker that holds it, its lease, and the lease's end unless renewed.
    steps_done, steps_total
        Progress of the attempt at hand.
    document
        Facts of it, as plain JSON values.
    error
        Why it failed: ``code``, ``message`` and ``mend``.
    kept_until
        Time until which retention does not remove it by its age; None for no such.
    pinned
        Time at which its owner pinned it: nothing but he removes it until he takes that
        back. None for not pinned. Its parts bear the same.
    computed_from
        Digest of all that its result was computed from, its owner too; None where it is
        not computed again from that.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("id", name="jobs_id"),
        UniqueConstraint("kind", "key", name="jobs_kind_key"),
        Index("jobs_by_stage", "stage", "state", "rank"),
        Index("jobs_by_owner", "owner", "kind", "created"),
        Index("jobs_by_end", "state", "finished"),
        Index("jobs_by_parent", "parent"),
        Index("jobs_by_pinned", "pinned"),
        Index("jobs_by_computed_from", "computed_from"),
    )

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    id: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    key: Mapped[str | None] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(Text)
    parent: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    state: Mapped[JobState] = mapped_column(_State)
    stage: Mapped[str] = mapped_column(String(16))
    step: Mapped[str] = mapped_column(String(16))
    created: Mapped[float] = mapped_column(Double)
    arrived: Mapped[float] = mapped_column(Double)
    updated: Mapped[float] = mapped_column(Double)
    finished: Mapped[float | None] = mapped_column(Double)
    due: Mapped[float] = mapped_column(Double)
    rank: Mapped[float] = mapped_column(Double)
    cost: Mapped[int] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(Integer)
    time_limit: Mapped[float | None] = mapped_column(Double)
    worker: Mapped[str | None] = mapped_column(String(64))
    lease: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float | None] = mapped_column(Double)
    steps_done: Mapped[int] = mapped_column(Integer)
    steps_total: Mapped[int] = mapped_column(Integer)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    error: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    kept_until: Mapped[float | None] = mapped_column(Double)
    pinned: Mapped[float | None] = mapped_column(Double)
    computed_from: Mapped[str | None] = mapped_column(String(64))


class Blob(Base):
    """A file of the store, named by what it holds.

    Attributes
    ----------
    digest
        SHA-256 of the content, in hexadecimal: the file's name.
    size
        Bytes.
    """

    __tablename__ = "blobs"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)


class Artifact(Base):
    """A named file of a job; several may lie in one blob.

    Attributes
    ----------
    number
        Order in which artefacts came.
    job
        Id of its job, whose owner it belongs to.
    role, name
        Role in the job, and name; unique together in a job.
    digest
        Digest of its blob; None where only the file's name is known.
    size
        Bytes; 0 without a blob.
    """

    __tablename__ = "artifacts"
    __table_args__ = (
        UniqueConstraint("job", "role", "name", name="artifacts_job_role_name"),
        Index("artifacts_by_name", "name"),
        Index("artifacts_by_digest", "digest"),
    )

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    role: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(Text)
    digest: Mapped[str | None] = mapped_column(ForeignKey("blobs.digest"))
    size: Mapped[int] = mapped_column(BigInteger)


def user_name(text: str) -> str:
    """Return the name of a user, without spaces around it.

    Raises
    ------
    SettingError
        It is empty, too long, or cannot be printed.
    """
    name = text.strip()
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise SettingError(
            f"The user's name has {len(name)} characters.",
            f"Give 1 to {_LONGEST_NAME} that can be printed.",
        )
    return name


class Token(Base):
    """A token of a user or a program.

    Attributes
    ----------
    id
        Name of the token that is no secret.
    user
        Whom the results belong to.
    digest
        SHA-256 of the token, in hexadecimal.
    scopes
        What it allows.
    created, expires, revoked
        Times, in seconds since 1970; None for never.
    """

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("digest", name="tokens_digest"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created: Mapped[float] = mapped_column(Double)
    expires: Mapped[float | None] = mapped_column(Double)
    revoked: Mapped[float | None] = mapped_column(Double)


class Account(Base):
    """An account of a person.

    Attributes
    ----------
    name
        Whom the results belong to.
    password
        Its argon2 hash; empty for who signs in elsewhere.
    role
        What it allows.
    stamp
        Random; sessions that began with another have ended.
    created, disabled
        Times, in seconds since 1970; None for never.
    subject
        Issuer and subject of who signs in by OpenID Connect, with a space between.
    code_key
        Key of an authenticator app, in base 32; None for none.
    code_step
        Number of the 30 seconds whose code was taken last.
    """

    __tablename__ = "accounts"
    __table_args__ = (Index("accounts_by_subject", "subject", unique=True),)

    name: Mapped[str] = mapped_column(String(_LONGEST_NAME), primary_key=True)
    password: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(16))
    stamp: Mapped[str] = mapped_column(String(32))
    created: Mapped[float] = mapped_column(Double)
    disabled: Mapped[float | None] = mapped_column(Double)
    subject: Mapped[str | None] = mapped_column(Text)
    code_key: Mapped[str | None] = mapped_column(String(64))
    code_step: Mapped[int | None] = mapped_column(BigInteger)


class Passkey(Base):
    """A passkey of an account.

    Attributes
    ----------
    id
        The credential's, in base64url.
    account
        Name of the account that it opens.
    public_key
        Its public key, as COSE.
    uses
        How often its authenticator says that it was used; 0 where it does not count.
    created, used
        Times, in seconds since 1970; None for never.
    """

    __tablename__ = "passkeys"
    __table_args__ = (Index("passkeys_by_account", "account"),)

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    account: Mapped[str] = mapped_column(
        String(_LONGEST_NAME), ForeignKey("accounts.name")
    )
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    uses: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[float] = mapped_column(Double)
    used: Mapped[float | None] = mapped_column(Double)


class MonitoredRate(Base):
    """How often something was so among what a model judged, in windows.

    Attributes
    ----------
    model, name
        Version of the model, and what is counted.
    began
        Time of the window's first observation.
    observations, hits
        Number of observations in the window, and of those in which it was so.
    alarmed
        Time at which the window's test gave an alarm; None for none so far.
    last_observations, last_hits, last_ended, last_alarmed
        The same of the window before, with the time of its end; None where there was
        none.
    """

    __tablename__ = "monitored_rates"

    model: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    began: Mapped[float] = mapped_column(Double)
    observations: Mapped[int] = mapped_column(BigInteger)
    hits: Mapped[int] = mapped_column(BigInteger)
    alarmed: Mapped[float | None] = mapped_column(Double)
    last_observations: Mapped[int | None] = mapped_column(BigInteger)
    last_hits: Mapped[int | None] = mapped_column(BigInteger)
    last_ended: Mapped[float | None] = mapped_column(Double)
    last_alarmed: Mapped[float | None] = mapped_column(Double)


HEAD = "0005"
"""The newest migration; a test compares it with those in `migrations`."""

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says of a disk that takes no more."""

logger = logging.getLogger(__name__)
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


def portions(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    """Divide what would be too many values for one statement."""
    for start in range(0, len(values), _MOST_VALUES):
        yield values[start : start + _MOST_VALUES]


def _do(acts: Sequence[Callable[[], None]]) -> None:
    for act in acts:
        try:
            act()
        except OutputError as error:
            # The transaction is over; what is left behind goes with the next start.
            logger.warning("%s", error)


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
