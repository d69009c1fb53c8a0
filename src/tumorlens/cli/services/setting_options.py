"""Command line options made from the table of settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tumorlens.settings import SETTINGS

F = TypeVar("F", bound=Callable[..., Any])


def setting_options(*names: str) -> Callable[[F], F]:
    """Give a command an option for each of these settings.

    Parameters
    ----------
    names
        Of settings. The command gets each as text, or None where the option
        was not given; `load_settings` reads and checks them.
    """

    def decorate(command: F) -> F:
        for name in reversed(names):
            row = SETTINGS[name]
            default = "" if row.default is None else f" Default: {row.default}."
            command = click.option(
                row.option,
                name,
                metavar=row.kind.upper(),
                help=f"{row.help}{default} Environment: {row.environment}.",
            )(command)
        return command

    return decorate
