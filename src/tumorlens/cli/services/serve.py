"""`tumorlens serve`: the web app, on this machine."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
import webbrowser
from contextlib import closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tumorlens.errors import SettingError
from tumorlens.settings import SETTINGS, Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from waitress.server import BaseWSGIServer, MultiSocketServer

Command = TypeVar("Command", bound="Callable[..., Any]")

_THREADS = 8
"""Requests served at a time: uploads are slow, and pages must not wait for them."""


def _setting_options(command: Command) -> Command:
    """Give a command an option for each setting.

    The command gets each as text, or None where the option was not given;
    `load_settings` reads and checks them.
    """
    for row in reversed(SETTINGS.values()):
        default = "" if row.default is None else f" Default: {row.default}."
        command = click.option(
            row.option,
            row.name,
            metavar=row.kind.upper(),
            help=f"{row.help}{default} Environment: {row.environment}.",
        )(command)
    return command


@click.command()
@_setting_options
@click.option(
    "--open/--no-open",
    "open_browser",
    default=None,
    help="Open the page in a browser. Default: where there is a screen.",
)
def serve(open_browser: bool | None, **options: str | None) -> None:
    """Serve the web app until Ctrl-C."""
    settings = load_settings(options)
    # Imported late: `tumorlens --help` needs none of it.
    from tumorlens.inference.series.classifier import load_series_classifier
    from tumorlens.web.app import create_app, open_store

    classifier = load_series_classifier(settings.model, settings.threads)
    with _stop_on_sigterm(), closing(open_store(settings)) as store:
        server = listen(create_app(classifier, store, settings), settings)
        with closing(server):
            url = address(settings.host, port_of(server))
            _say(url, settings)
            if _has_screen() if open_browser is None else open_browser:
                threading.Thread(
                    target=webbrowser.open, args=(url,), daemon=True
                ).start()
            server.run()
    click.echo("TumorLens has stopped.", err=True)


def listen(app: Flask, settings: Settings) -> BaseWSGIServer | MultiSocketServer:
    """Take the port, and get ready to serve.

    Parameters
    ----------
    app
        The app that `create_app` made.
    settings
        Host, port and the limit of an upload.

    Raises
    ------
    SettingError
        Where the port is taken or forbidden, or the host is none of this
        machine's.
    """
    import waitress

    # That a request waits a moment for its turn is no news.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        return waitress.create_server(
            app,
            host=settings.host,
            port=settings.port,
            threads=_THREADS,
            ident="",
            # The app refuses a little above its own limit with a page; far above
            # it the server does so itself, before the bytes fill the disk.
            max_request_body_size=2 * max(settings.upload_mb, settings.scan_mb) * 2**20,
        )
    except OSError as error:
        raise _cannot_listen(error, settings) from error


def port_of(server: BaseWSGIServer | MultiSocketServer) -> int:
    """Return the port that a server has taken."""
    # A name such as "localhost" can stand for two addresses, each with a socket.
    listens = getattr(server, "effective_listen", None)
    return int(listens[0][1] if listens else server.effective_port)


def address(host: str, port: int) -> str:
    """Write the address at which a browser finds the app."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    return f"http://{shown}:{port}/"


def _cannot_listen(error: OSError, settings: Settings) -> SettingError:
    place = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return SettingError(
            f"Port {settings.port} on {settings.host} is in use.",
            "Stop the program that uses it, or choose another with --port.",
        )
    if error.errno == errno.EACCES:
        return SettingError(
            f"You may not listen on {place}.", "Choose a port from 1024 with --port."
        )
    reason = error.strerror or str(error)
    return SettingError(
        f"{place} cannot be listened on: {reason}.",
        "Give --host an address of this machine, such as 127.0.0.1.",
    )


def _say(url: str, settings: Settings) -> None:
    from tumorlens.web.security import is_loopback

    if not is_loopback(settings.host):
        click.echo(
            "Warning: other machines can reach it, and there is no login and no "
            "encryption. Use it so only on a network that you trust.",
            err=True,
        )
    click.echo(f"TumorLens is at {url} (Ctrl-C stops it).")


def _has_screen() -> bool:
    if not sys.stdout.isatty():
        return False
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does; waitress ends its loop on SystemExit."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
