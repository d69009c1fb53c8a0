"""`tumorlens serve`: the web app, on this machine."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from contextlib import closing
from typing import TYPE_CHECKING

import click

from tumorlens.cli._shared import share_heaps
from tumorlens.cli.services.service import (
    OrderlyStop,
    end_now,
    setting_options,
)
from tumorlens.settings import Settings, load_settings

if TYPE_CHECKING:
    from tumorlens.operations.audit import AuditTrail


@click.command()
@setting_options()
@click.option(
    "--open/--no-open",
    "open_browser",
    default=None,
    help="Open the page in a browser. Default: where there is a screen.",
)
def serve(open_browser: bool | None, **options: str | None) -> None:
    """Serve the web app until Ctrl-C."""
    share_heaps()
    settings = load_settings(options)
    # Imported late: `tumorlens --help` needs none of it.
    from tumorlens.inference.series.classifier import load_series_classifier
    from tumorlens.operations.logs import json_log
    from tumorlens.operations.tracing import traced
    from tumorlens.web.app import create_app, open_store
    from tumorlens.web.app_state import state_of
    from tumorlens.web.server import HttpServer
    from tumorlens.web.tls import tls_front

    classifier = load_series_classifier(
        settings.model, settings.threads, precision=settings.precision
    )
    stop = OrderlyStop()
    with (
        stop.on_signals(),
        json_log() as log,
        traced("tumorlens serve"),
        closing(open_store(settings)) as store,
    ):
        app = create_app(classifier, store, settings)
        state = state_of(app)
        state.access.check_host(settings.host)
        tls = tls_front(settings, state.metrics.count_dropped)
        server = HttpServer(app, settings, state.metrics.count_dropped, tls)
        stop.begin_with(state.stop, server.drain)
        url = address(settings.host, server.port, "http" if tls is None else "https")
        _say(url, settings, state.access.asks)
        log.begin()
        if _has_screen() if open_browser is None else open_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        _note(store.audit, "server started")
        server.run()
        _note(store.audit, "server stopped")
        is_quiet = server.close()
    click.echo("TumorLens has stopped.", err=True)
    if not (is_quiet and state.jobs.is_quiet):
        end_now()


def _note(trail: AuditTrail, detail: str) -> None:
    from tumorlens.operations.audit import AuditAction, AuditEvent, AuditOutcome

    trail.record(
        AuditEvent.ACTIVITY,
        AuditAction.EXECUTE,
        AuditOutcome.SUCCESS,
        detail=detail,
    )


def address(host: str, port: int, scheme: str = "http") -> str:
    """Write the address at which a browser finds the app."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    return f"{scheme}://{shown}:{port}/"


def _say(url: str, settings: Settings, asks: bool) -> None:
    from tumorlens.web.security import is_loopback

    has_tls = settings.tls_certificate is not None
    if settings.insecure_no_login:
        lacking = "no login" if has_tls else "no login and no encryption"
        click.echo(
            f"Warning: other machines can reach it, and there is {lacking}. Send no "
            "patient's images.",
            err=True,
        )
    elif asks and not (has_tls or is_loopback(settings.host)):
        click.echo(
            "Warning: there is no encryption. Give --tls-certificate and --tls-key, or "
            "put a proxy with TLS in front of it.",
            err=True,
        )
    click.echo(f"TumorLens is at {url} (Ctrl-C stops it).")


def _has_screen() -> bool:
    if not sys.stdout.isatty():
        return False
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
