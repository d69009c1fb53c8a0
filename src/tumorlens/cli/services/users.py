"""`tumorlens users`: accounts of people, with passwords and roles.

Tested in `tests/cli/services/test_users.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import click

from tumorlens.cli.services.service import Place, place_options

if TYPE_CHECKING:
    from tumorlens.jobs.accounts import AccountStore

_ROLES = ("viewer", "reader", "admin")


@click.group()
def users() -> None:
    """Make, list and close accounts of people who use the web app.

    The server may be running meanwhile. Passwords are asked for, or read from a pipe.
    Needs the extra 'server'.
    """


@users.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    default="reader",
    show_default=True,
    help="viewer: see one's own results; reader: send images, too; admin: all.",
)
@place_options
def add(place: Place, name: str, role: str) -> None:
    """Make an account NAME."""
    with _open(place) as accounts:
        account = accounts.add(name, _password(), role)
    click.echo(f"{account.name} has the role {account.role}.")


@users.command("list")
@place_options
def list_all(place: Place) -> None:
    """List all accounts."""
    with _open(place) as accounts:
        for account in accounts.all():
            passkeys = len(accounts.passkeys(account.name))
            facts = {
                "signs in elsewhere": account.subject is not None,
                "authenticator app": account.code_key is not None,
                f"passkeys: {passkeys}": passkeys > 0,
                "disabled": account.disabled is not None,
            }
            shown = [text for text, is_so in facts.items() if is_so]
            click.echo("  ".join([account.name, account.role, *shown]))


@users.command()
@click.argument("name")
@place_options
def password(place: Place, name: str) -> None:
    """Give the account NAME another password; its sessions end."""
    with _open(place) as accounts:
        accounts.set_password(name, _password())
    click.echo(f"{name} has another password.")


@users.command()
@click.argument("name")
@click.argument("role", type=click.Choice(_ROLES))
@place_options
def role(place: Place, name: str, role: str) -> None:
    """Give the account NAME the role ROLE, at once."""
    with _open(place) as accounts:
        accounts.set_role(name, role)
    click.echo(f"{name} has the role {role}.")


@users.command()
@click.argument("name")
@place_options
def reset(place: Place, name: str) -> None:
    """Take authenticator app and passkeys off the account NAME; its sessions end.

    For who has lost them: the password alone opens the account then.
    """
    with _open(place) as accounts:
        accounts.remove_factors(name)
    click.echo(f"{name} has neither authenticator app nor passkeys.")


@users.command()
@click.argument("name")
@place_options
def disable(place: Place, name: str) -> None:
    """Close the account NAME at once."""
    with _open(place) as accounts:
        accounts.disable(name)
    click.echo(f"{name} is disabled.")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed


@contextmanager
def _open(place: Place) -> Iterator[AccountStore]:
    from tumorlens.jobs.accounts import AccountStore
    from tumorlens.jobs.store import open_database

    with closing(open_database(*place)) as database:
        yield AccountStore(database)
