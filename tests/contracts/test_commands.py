"""Commands, sub-commands, and all they take."""

from __future__ import annotations

import enum
from typing import Any

import click

from tests.contracts.conftest import Compare
from tumorlens.cli.main import tumorlens_command


def _parameter(item: click.Parameter, place: int) -> str:
    """Say in one line what an option or argument takes, without what goes unsaid."""
    kind = item.type
    if isinstance(item, click.Argument):
        told = [f"argument {place}"]
    else:
        told = ["option " + ", ".join([*item.opts, *item.secondary_opts])]
    flag = isinstance(item, click.Option) and item.is_flag
    told.append("flag" if flag else kind.name)
    if isinstance(kind, click.Choice):
        told.append("one of " + ", ".join(str(_plain(name)) for name in kind.choices))
    if isinstance(kind, click.IntRange | click.FloatRange):
        told.append(f"from {kind.min} to {kind.max}")
    if item.required:
        told.append("required")
    if item.multiple:
        told.append("several times")
    if item.nargs != 1:
        told.append(f"nargs {item.nargs}")
    if item.envvar is not None:
        told.append(f"environment {item.envvar}")
    return "; ".join([*told, f"default {_plain(item.default)}"])


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        # Click has a value of its own for "none was given".
        return value.value if isinstance(value.value, str) else None
    return value if isinstance(value, str | int | float | None) else str(value)


def _commands(command: click.Command, path: str) -> dict[str, Any]:
    arguments = [item for item in command.params if isinstance(item, click.Argument)]
    options = [item for item in command.params if item not in arguments]
    told = {item.opts[0]: _parameter(item, 0) for item in options}
    for place, item in enumerate(arguments, 1):
        told[item.name or ""] = _parameter(item, place)
    found: dict[str, Any] = {path: told}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name
            found |= _commands(below, f"{path} {name}")
    return found


def test_commands_and_their_options(compare: Compare) -> None:
    compare("commands", _commands(tumorlens_command, "tumorlens"))
