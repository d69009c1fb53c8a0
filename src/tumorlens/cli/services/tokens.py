"""`tumorlens tokens`: who may use the server, and what they may do.

Tested in `tests/cli/services/test_tokens.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tumorlens.cli.services.service import Place, place_options

if TYPE_CHECKING:
    from tumorlens.jobs.accounts import TokenStore


@click.group()
def tokens() -> None:
    """Make, list and end the tokens by which people and programs log in.

    The server may be running meanwhile. A token opens the results of its user, and is
    shown only when it is made.
    """


@tokens.command()
@click.argument("user")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("read", "write"),
    show_default=True,
    help="What it allows: read, write, metrics, admin. May be given several times.",
)
@click.option(
    "--days",
    type=click.FloatRange(0.0, min_open=True),
    default=365.0,
    show_default=True,
    help="Days after which it ends.",
)
@place_options
def add(
    place: Place,
    user: str,
    scopes: tuple[str, ...],
    days: float,
) -> None:
    """Make a token for USER, and print it."""
    with _open(place) as store:
        token, text = store.add(user, scopes, days)
    click.echo(
        f"Token {token.id} of {token.user}, until {_date(token.expires)}. Keep it: it "
        "is not shown again.",
        err=True,
    )
    click.echo(text)


@tokens.command("list")
@place_options
def list_all(place: Place) -> None:
    """List all tokens, without the tokens themselves."""
    with _open(place) as store:
        for token in store.all():
            end = f"until {_date(token.expires)}"
            if token.revoked is not None:
                end = f"ended {_date(token.revoked)}"
            scopes = " ".join(token.scopes)
            click.echo(f"{token.id}  {token.user}  {scopes}  {end}")


@tokens.command()
@click.argument("token_id")
@place_options
def revoke(place: Place, token_id: str) -> None:
    """End the token TOKEN_ID at once."""
    with _open(place) as store:
        store.revoke(token_id)
    click.echo(f"Token {token_id} has ended.")


@contextmanager
def _open(place: Place) -> Iterator[TokenStore]:
    from tumorlens.jobs.accounts import TokenStore
    from tumorlens.jobs.store import open_database

    with closing(open_database(*place)) as database:
        yield TokenStore(database)


def _date(seconds: float | None) -> str:
    if seconds is None:
        return "ever"
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
