"""Shared by commands that run until they are stopped: settings, and an orderly end.

Tested in `tests/cli/services/test_serve.py` and `tests/cli/services/test_worker.py`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias, TypeVar, cast

import click

from tumorlens.cli._shared import FOLDER
from tumorlens.operations.logs import only_our_log
from tumorlens.settings import SETTINGS

Command = TypeVar("Command", bound="Callable[..., Any]")


def setting_options(
    names: Collection[str] = tuple(SETTINGS),
) -> Callable[[Command], Command]:
    """Give a command an option for each setting, or for some.

    The command gets each as text, or None where the option was not given;
    `load_settings` reads and checks them.

    Parameters
    ----------
    names
        Names of the settings.
    """

    def add(command: Command) -> Command:
        for row in reversed(SETTINGS.values()):
            if row.name not in names:
                continue
            default = "" if row.default is None else f" Default: {row.default}."
            facts: dict[str, Any] = {"metavar": row.kind.upper()}
            if row.kind == "switch":
                default = ""
                facts = {"is_flag": True, "flag_value": "yes", "default": None}
            command = click.option(
                row.option,
                row.name,
                help=f"{row.help}{default} Environment: {row.environment}.",
                **facts,
            )(command)
        return command

    return add


Place: TypeAlias = tuple[Path | None, str | None]
"""Folder of a server's store, or the URL of its database."""


def place_options(command: Command) -> Command:
    """Give a command the options for where a server keeps its state.

    The command gets it as its first argument.
    """

    @wraps(command)
    def check(store: Path | None, database_url: str | None, **more: object) -> object:
        if (store is None) == (database_url is None):
            raise click.UsageError("Give --store or --database-url, as to the server.")
        return command((store, database_url), **more)

    with_url = click.option(
        "--database-url",
        envvar="TUMORLENS_DATABASE_URL",
        help="The server's database. Environment: TUMORLENS_DATABASE_URL.",
    )(check)
    with_store = click.option(
        "--store",
        type=FOLDER,
        envvar="TUMORLENS_STORE",
        help="The server's folder. Environment: TUMORLENS_STORE.",
    )(with_url)
    return cast("Command", with_store)


def end_now() -> None:
    """End the process, though threads compute: the interpreter's end would crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class OrderlyStop:
    """Ends the server in order at the first signal, and at once at the second."""

    def __init__(self) -> None:
        self._steps: tuple[Callable[[], None], ...] = ()
        self._is_asked = False

    def begin_with(self, *steps: Callable[[], None]) -> None:
        """Do this, one after the other, at the first signal."""
        self._steps = steps

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to Ctrl-C and SIGTERM."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._heard) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_asked or not self._steps:
            raise SystemExit(0)
        self._is_asked = True
        # Locks may be held where the signal came; they are not waited for here.
        threading.Thread(target=self._go, daemon=True).start()

    def _go(self) -> None:
        for step in self._steps:
            step()


@contextmanager
def private_log() -> Iterator[None]:
    """Log what TumorLens says as lines of text, and nothing of what libraries say."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    with only_our_log(handler):
        yield
