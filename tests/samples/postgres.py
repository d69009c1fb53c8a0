"""A PostgreSQL server of the tests' own, in a folder, reached by a socket in it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _program(name: str) -> str | None:
    for place in _PLACES:
        if (place / name).exists():
            return str(place / name)
    return shutil.which(name)


class Postgres:
    """One cluster; it never runs as root, which PostgreSQL refuses."""

    def __init__(self) -> None:
        found = _program("initdb"), _program("pg_ctl")
        if found[0] is None or found[1] is None:
            pytest.skip("PostgreSQL is not installed (apt install postgresql)")
        self._control = found[1]
        self._user = self._other_user()
        # Sockets have short names only: not below pytest's folders.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._call(
            *(found[0], "-D", self.folder / "data", "--auth", "trust"),
            *("--username", "lens", "--no-sync", "--encoding", "UTF8"),
        )
        self.start()

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off"
        self._control_it("start", "-l", self.folder / "log", "-o", options)

    def stop(self) -> None:
        self._control_it("stop", "-m", "immediate")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def dump(self) -> bytes:
        """Write the database down as SQL, as `pg_dump` does."""
        return self._client("pg_dump", b"")

    def restore(self, dump: bytes) -> None:
        """Carry out what was written down, on an empty database."""
        self._client("psql", dump, "-q", "-v", "ON_ERROR_STOP=1")

    def _client(self, name: str, sent: bytes, *options: str) -> bytes:
        program = _program(name)
        if program is None:
            pytest.skip(f"{name} is not installed (apt install postgresql-client)")
        place = ("-h", str(self.folder), "-U", "lens", "-d", "postgres")
        ran = subprocess.run(
            [program, *place, *options], input=sent, stdout=subprocess.PIPE, check=True
        )
        return ran.stdout

    def database(self) -> str:
        """Empty the database; return its URL."""
        from sqlalchemy import create_engine, text

        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
        return self._url("postgres")

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://lens@/{name}?host={self.folder}"

    def _control_it(self, *arguments: object) -> None:
        self._call(self._control, "-D", self.folder / "data", "-w", *arguments)

    def _call(self, *arguments: object) -> None:
        # The server keeps what it inherits: a pipe would never end.
        with (self.folder / "calls").open("ab") as log:
            subprocess.run(
                [str(item) for item in arguments],
                check=True,
                user=self._user,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "LC_ALL": "C"},
            )

    @staticmethod
    def _other_user() -> str | None:
        if os.getuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name).pw_name
            except KeyError:
                continue
        pytest.skip("PostgreSQL does not run as root, and there is no other user")
