"""The tables: jobs, artefacts, their files, tokens, accounts, counts of drift.

They are the same in SQLite and PostgreSQL. Who changes them writes a migration;
a test compares both.

Tested in `tests/jobs/test_queue.py`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tumorlens.errors import SettingError

_Number = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up only what is called an integer."""

_LONGEST_NAME = 100
"""Characters of a user's name."""


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
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("id", name="jobs_id"),
        UniqueConstraint("kind", "key", name="jobs_kind_key"),
        Index("jobs_by_stage", "stage", "state", "rank"),
        Index("jobs_by_owner", "owner", "kind", "created"),
        Index("jobs_by_end", "state", "finished"),
        Index("jobs_by_parent", "parent"),
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
