"""`tumorlens node`: a DICOM node between a scanner or PACS and the radiologist.

Tested in `tests/pacs/test_killed.py`, `tests/pacs/node/test_node.py` and
`tests/cli/services/test_node.py`.
"""

from __future__ import annotations

import json
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tumorlens.cli._shared.output_files import make_folder
from tumorlens.cli._shared.service import end_now
from tumorlens.cli.services.private_log import private_log
from tumorlens.errors import MissingExtraError, SettingError
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.settings import NODE_LIMITS, NodeLimits

if TYPE_CHECKING:
    from tumorlens.pacs.queue import SeriesEntry, SeriesQueue

Command = TypeVar("Command", bound=Callable[..., Any])

UNKNOWN_SERIES = 1


def _limit_options(command: Command) -> Command:
    """Give a command an option for each limit of the node."""
    for row in reversed(NODE_LIMITS.values()):
        command = click.option(
            row.option,
            row.name,
            envvar=row.environment,
            type=click.IntRange(row.low, row.high),
            default=row.default,
            show_default=True,
            help=row.help,
        )(command)
    return command


_folder_option = click.option(
    "--folder",
    envvar="TUMORLENS_NODE_FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Of the queue; what was accepted is kept there until its results are sent. "
    "Always needed.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@_folder_option
@click.option(
    "--title",
    envvar="TUMORLENS_NODE_TITLE",
    default="TUMORLENS",
    show_default=True,
    help="AE title.",
)
@click.option(
    "--host",
    envvar="TUMORLENS_NODE_HOST",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 for other machines to reach it.",
)
@click.option(
    "--port",
    envvar="TUMORLENS_NODE_PORT",
    type=click.IntRange(0, 65535),
    default=11112,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--allow",
    envvar="TUMORLENS_NODE_ALLOW",
    multiple=True,
    metavar="TITLE@HOST",
    help="Who may send; may be given several times. Always needed.",
)
@click.option(
    "--send-to",
    envvar="TUMORLENS_NODE_SEND_TO",
    metavar="TITLE@HOST:PORT",
    help="Where results go. Always needed.",
)
@click.option(
    "--counted-by",
    envvar="TUMORLENS_NODE_COUNTED_BY",
    metavar="TITLE@HOST:PORT",
    help="Who is asked how many images a series has (C-FIND), such as the archive.",
)
@click.option(
    "--quiet-seconds",
    envvar="TUMORLENS_NODE_QUIET_SECONDS",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="A series is looked at when nothing came for so long.",
)
@click.option(
    "--keep-hours",
    envvar="TUMORLENS_NODE_KEEP_HOURS",
    type=click.FloatRange(0),
    default=24.0,
    show_default=True,
    help="How long the images of a judged series are kept, to judge it anew with what "
    "comes late.",
)
@click.option("--operating-point", default=None, metavar="screening|balanced")
@click.option("--model", default=None, metavar="DIR", help="Another model bundle.")
@click.option(
    "--health",
    envvar="TUMORLENS_NODE_HEALTH",
    metavar="HOST:PORT",
    help="Where to answer /healthz, /readyz and /metrics over HTTP.",
)
@click.option(
    "--fhir",
    envvar="TUMORLENS_NODE_FHIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for a FHIR R4 report of each series, beside what goes to --send-to.",
)
@click.option(
    "--tls-certificate",
    envvar="TUMORLENS_NODE_TLS_CERTIFICATE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --tls-key and --tls-authorities: take and send DICOM over TLS alone.",
)
@click.option(
    "--tls-key",
    envvar="TUMORLENS_NODE_TLS_KEY",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Private key of the certificate, in PEM.",
)
@click.option(
    "--tls-authorities",
    envvar="TUMORLENS_NODE_TLS_AUTHORITIES",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Certificates that sign those of peers, in PEM; each has to show one.",
)
@_limit_options
@click.pass_context
def node(
    context: click.Context,
    /,
    folder: Path | None,
    title: str,
    host: str,
    port: int,
    allow: tuple[str, ...],
    send_to: str | None,
    counted_by: str | None,
    quiet_seconds: float,
    keep_hours: float,
    operating_point: str | None,
    model: str | None,
    health: str | None,
    fhir: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    tls_authorities: Path | None,
    **limits: int,
) -> None:
    """Take MR series by C-STORE, judge them, send SR, SEG and SC back.

    Only peers that --allow names may send. A series is judged once nothing came
    for a while and nothing speaks against its being whole: its association ended
    normally, no slice is missing between others, and --counted-by has no more
    images of it. Otherwise it waits; after --wait-seconds it is judged as a part,
    and its report is PARTIAL, never says that there is no tumour, and is replaced
    when the rest comes. Results go to --send-to, again and again with longer waits
    until they arrive, for a week. A kill or a power cut loses nothing that was
    accepted.

    What comes again is ignored. Where new images come to a judged series, the whole
    of it is judged anew, as long as --keep-hours has its other images kept; the new
    report names those that it replaces, and a key object selection rejects them.

    The log says nothing about patients. Each option can also be set by a variable
    TUMORLENS_NODE_..., such as TUMORLENS_NODE_SEND_TO.

    For research use only: TumorLens is not a medical device.
    """
    if context.invoked_subcommand is not None:
        return
    for value, name in ((folder, "folder"), (allow, "allow"), (send_to, "send_to")):
        if not value:
            (parameter,) = (item for item in node.params if item.name == name)
            raise click.MissingParameter(ctx=context, param=parameter)
    assert folder is not None and send_to is not None
    try:
        # Each result needs it: better to miss it now than at the first series.
        import highdicom  # noqa: F401

        from tumorlens.pacs.node.health import HealthPort
        from tumorlens.pacs.node.receiver import Receiver
        from tumorlens.pacs.node.sender import send_files
        from tumorlens.pacs.node.wholeness import Wholeness
        from tumorlens.pacs.worker import SeriesWorker
    except ImportError as error:
        raise MissingExtraError("The DICOM node", "pacs") from error
    from tumorlens.inference.series.classifier import load_series_classifier
    from tumorlens.pacs.analysis import analysis_with
    from tumorlens.pacs.node.peers import Peer
    from tumorlens.pacs.queue import SeriesQueue
    from tumorlens.report.fhir import require_fhir

    bounds = NodeLimits(**limits)
    peers = [Peer.read(text, with_port=False) for text in allow]
    destination = Peer.read(send_to, with_port=True)
    counting = None if counted_by is None else Peer.read(counted_by, with_port=True)
    server_tls, client_tls = _tls(tls_certificate, tls_key, tls_authorities)
    place = None if health is None else _host_and_port(health)
    deliver = partial(send_files, title, destination, tls=client_tls)
    if fhir is not None:
        require_fhir()
        make_folder(fhir)
    analyse = analysis_with(
        load_series_classifier(model, side_by_side=True), operating_point, fhir
    )
    with ExitStack() as stack:
        stack.enter_context(private_log())
        queue = stack.enter_context(closing(SeriesQueue(folder, 3600.0 * keep_hours)))
        worker = SeriesWorker(
            queue,
            analyse,
            deliver,
            quiet_seconds,
            Wholeness(title, counting, client_tls),
            bounds.wait_seconds,
        )
        receiver = Receiver(queue, title, host, port, peers, bounds, server_tls)
        stack.callback(worker.close, bounds.stop_seconds)
        stack.callback(receiver.close)
        watched = None
        if place is not None:
            watched = stack.enter_context(closing(HealthPort(*place, receiver, queue)))
        worker.start()
        click.echo(f"{title} listens on {host}:{receiver.port}.", err=True)
        if watched is not None:
            click.echo(f"Its health port is {watched.port}.", err=True)
        click.echo(RESEARCH_USE, err=True)
        _wait_for_a_signal()
        if watched is not None:
            watched.stop_being_ready()
        # Before the health port: whoever watches sees that it is not ready any more.
        receiver.close()
    click.echo("The node has stopped.", err=True)
    end_now()


def _tls(
    certificate: Path | None, key: Path | None, authorities: Path | None
) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    from tumorlens.pacs.node.peers import client_tls, server_tls

    if certificate is None and key is None and authorities is None:
        return None, None
    if certificate is None or key is None or authorities is None:
        raise click.UsageError(
            "--tls-certificate, --tls-key and --tls-authorities go together."
        )
    return (
        server_tls(certificate, key, authorities),
        client_tls(certificate, key, authorities),
    )


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SettingError(f"--health is {text[:80]!r}.", "Give it as HOST:PORT.")
    return host.strip("[]"), int(port)


def _wait_for_a_signal() -> None:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()


@contextmanager
def _queue_of(context: click.Context, folder: Path | None) -> Iterator[SeriesQueue]:
    """Open the queue of a node, which may be running."""
    from tumorlens.pacs.queue import SeriesQueue

    if folder is None and context.parent is not None:
        folder = context.parent.params["folder"]
    if folder is None:
        raise click.UsageError("Missing option '--folder'.", context)
    with closing(SeriesQueue(folder, beside=True)) as queue:
        yield queue


@node.command()
@_folder_option
@_json_option
@click.pass_context
def status(context: click.Context, folder: Path | None, as_json: bool) -> None:
    """Count the series of a node by state; it may be running or not."""
    with _queue_of(context, folder) as queue:
        entries = queue.entries()
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.state] = counts.get(entry.state, 0) + 1
    waiting = [entry.arrived for entry in entries if not entry.is_over]
    facts = {
        "series": counts,
        "partial": sum(entry.is_partial for entry in entries),
        "oldest_waiting": _time(min(waiting)) if waiting else None,
        "newest": _time(entries[0].arrived) if entries else None,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for state, number in sorted(counts.items()):
        click.echo(f"{state:<10}{number:>7}")
    click.echo(f"{'partial':<10}{facts['partial']:>7}")
    click.echo(f"Waiting longest: {facts['oldest_waiting'] or 'none'}")
    click.echo(f"Newest image: {facts['newest'] or 'none'}")


@node.command("list")
@_folder_option
@_json_option
@click.option("--state", help="Only series in this state, such as failed.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Series at most, those with the newest images first.",
)
@click.pass_context
def list_series(
    context: click.Context,
    folder: Path | None,
    as_json: bool,
    state: str | None,
    limit: int,
) -> None:
    """List the series of a node, with the UIDs that requeue and forget take."""
    with _queue_of(context, folder) as queue:
        entries = [
            entry for entry in queue.entries() if state is None or entry.state == state
        ][:limit]
    if as_json:
        click.echo(json.dumps([_facts(entry) for entry in entries], indent=2))
        return
    click.echo(f"{'state':<10} {'images':>6}  {'last image':<20}  series")
    for entry in entries:
        note = " (part)" if entry.is_partial else ""
        click.echo(
            f"{entry.state:<10} {entry.images:>6}  {_time(entry.arrived):<20}  "
            f"{entry.series}{note}"
        )


@node.command()
@_folder_option
@click.argument("series", nargs=-1, required=True, metavar="UID...")
@click.pass_context
def requeue(
    context: click.Context, folder: Path | None, series: tuple[str, ...]
) -> int:
    """Have series judged anew whose images are kept, such as those given up."""
    return _for_each(
        context, folder, series, SERIES_QUEUED, lambda queue, uid: queue.requeue(uid)
    )


@node.command()
@_folder_option
@click.argument("series", nargs=-1, required=True, metavar="UID...")
@click.pass_context
def forget(context: click.Context, folder: Path | None, series: tuple[str, ...]) -> int:
    """Remove series, their images, and results that were not sent."""
    return _for_each(
        context, folder, series, SERIES_GONE, lambda queue, uid: queue.forget(uid)
    )


SERIES_QUEUED = "will be judged anew", "is not known, or its images are gone"
SERIES_GONE = "is forgotten", "is not known"


def _for_each(
    context: click.Context,
    folder: Path | None,
    series: tuple[str, ...],
    words: tuple[str, str],
    act: Callable[[SeriesQueue, str], bool],
) -> int:
    status = 0
    with _queue_of(context, folder) as queue:
        for uid in series:
            done = act(queue, uid)
            click.echo(f"{uid} {words[0] if done else words[1]}.", err=not done)
            status = status if done else UNKNOWN_SERIES
    return status


def _facts(entry: SeriesEntry) -> dict[str, Any]:
    facts = asdict(entry)
    for name in ("arrived", "due"):
        facts[name] = _time(facts[name])
    return facts


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
