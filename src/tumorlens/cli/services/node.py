"""`tumorlens node`: a DICOM node between a scanner or PACS and the radiologist.

Tested in `tests/pacs/test_killed.py`, `tests/pacs/node/test_node.py` and
`tests/cli/services/test_node.py`.
"""

from __future__ import annotations

import csv
import getpass
import io
import json
import re
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tumorlens.cli._shared.heaps import share_heaps
from tumorlens.cli._shared.options import FILE, FOLDER, PATH, precision_option
from tumorlens.cli._shared.output_files import (
    check_files,
    make_folder,
    write_bytes,
    write_json,
)
from tumorlens.cli._shared.service import end_now, private_log
from tumorlens.errors import MissingExtraError, SettingError
from tumorlens.report.slice.document import RESEARCH_USE, spreadsheet_text
from tumorlens.settings import NODE_LIMITS, SETTINGS, NodeLimits

if TYPE_CHECKING:
    from tumorlens.pacs.node.peers import Peer
    from tumorlens.pacs.queue import SeriesEntry, SeriesQueue
    from tumorlens.pacs.shadow import ShadowCase

Command = TypeVar("Command", bound=Callable[..., Any])

UNKNOWN_SERIES = 1

_DAYS = SETTINGS["feedback_days"]
"""How long the web keeps what is marked, and a node likewise."""


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
    type=FOLDER,
    help="Folder of the queue; what was accepted is kept there until its results are "
    "sent. Always needed.",
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
    help="Where results go. Always needed, but with --shadow.",
)
@click.option(
    "--shadow",
    envvar="TUMORLENS_NODE_SHADOW",
    is_flag=True,
    help="Judge everything and send nothing: findings are kept in --folder, and "
    "compared with labels by `node labels` and `node compare`.",
)
@click.option(
    "--counted-by",
    envvar="TUMORLENS_NODE_COUNTED_BY",
    metavar="TITLE@HOST:PORT",
    help="Who is asked how many images a series has (C-FIND), such as the archive.",
)
@click.option(
    "--commit-results",
    envvar="TUMORLENS_NODE_COMMIT_RESULTS",
    is_flag=True,
    help="Ask --send-to to commit what it was sent (Storage Commitment), and keep the "
    "results, or send them anew, until it has. It reports to --port.",
)
@click.option(
    "--commit-for",
    envvar="TUMORLENS_NODE_COMMIT_FOR",
    multiple=True,
    metavar="TITLE@HOST:PORT",
    help="Who of --allow may ask the node whether it holds what it was sent (Storage "
    "Commitment), with the port that takes the answer. The node is no archive: it "
    "holds images for --keep-hours.",
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
@precision_option
@click.option(
    "--health",
    envvar="TUMORLENS_NODE_HEALTH",
    metavar="HOST:PORT",
    help="Where to answer /healthz, /readyz and /metrics over HTTP.",
)
@click.option(
    "--fhir",
    envvar="TUMORLENS_NODE_FHIR",
    type=FOLDER,
    help="Folder for a FHIR R4 report of each series, beside what goes to --send-to.",
)
@click.option(
    "--study-results",
    envvar="TUMORLENS_NODE_STUDY_RESULTS",
    type=FOLDER,
    help="Also judge the series of each study together: a JSON and a PDF of it go into "
    "this folder, results as DICOM to --send-to.",
)
@click.option(
    "--tls-certificate",
    envvar="TUMORLENS_NODE_TLS_CERTIFICATE",
    type=FILE,
    help="With --tls-key and --tls-authorities: take and send DICOM over TLS alone.",
)
@click.option(
    "--tls-key",
    envvar="TUMORLENS_NODE_TLS_KEY",
    type=FILE,
    help="Private key of the certificate, in PEM.",
)
@click.option(
    "--tls-authorities",
    envvar="TUMORLENS_NODE_TLS_AUTHORITIES",
    type=FILE,
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
    shadow: bool,
    counted_by: str | None,
    commit_results: bool,
    commit_for: tuple[str, ...],
    quiet_seconds: float,
    keep_hours: float,
    operating_point: str | None,
    model: str | None,
    precision: str,
    health: str | None,
    fhir: Path | None,
    study_results: Path | None,
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

    With --shadow nothing is sent: findings are kept, and `node compare` sets them
    beside labels that come later.

    What comes again is ignored. Where new images come to a judged series, the whole
    of it is judged anew, as long as --keep-hours has its other images kept; the new
    report names those that it replaces, and a key object selection rejects them.

    The log says nothing about patients. Each option can also be set by a variable
    TUMORLENS_NODE_..., such as TUMORLENS_NODE_SEND_TO.

    For research use only: TumorLens is not a medical device.
    """
    if context.invoked_subcommand is not None:
        return
    share_heaps()
    needed = ((folder, "folder"), (allow, "allow"), (shadow or send_to, "send_to"))
    for value, name in needed:
        if not value:
            (parameter,) = (item for item in node.params if item.name == name)
            raise click.MissingParameter(ctx=context, param=parameter)
    assert folder is not None
    if shadow and (send_to is not None or fhir is not None or commit_results):
        raise click.UsageError(
            "--shadow keeps everything here: leave out --send-to, --commit-results and "
            "--fhir."
        )
    if study_results is not None and keep_hours <= 0.0:
        raise click.UsageError(
            "--study-results needs the images of all series: give --keep-hours."
        )
    try:
        # Each result needs it: better to miss it now than at the first series.
        import highdicom  # noqa: F401

        from tumorlens.pacs.node.health import HealthPort
        from tumorlens.pacs.node.node_queue import NodeQueue
        from tumorlens.pacs.node.receiver import Receiver
        from tumorlens.pacs.node.sender import Commitments, recorded, send_files
        from tumorlens.pacs.node.wholeness import Wholeness
        from tumorlens.pacs.worker import SeriesWorker, Studies
    except ImportError as error:
        raise MissingExtraError("The DICOM node", "pacs") from error
    from tumorlens.inference.series.classifier import load_series_classifier
    from tumorlens.inference.study.classifier import StudyClassifier
    from tumorlens.jobs.monitored_rates import RateMonitor
    from tumorlens.operations.audit import AUDIT_FILE, AuditTrail
    from tumorlens.operations.drift import reference_rates
    from tumorlens.operations.tracing import traced
    from tumorlens.pacs.analysis import analysis_with, study_analysis
    from tumorlens.pacs.feedback import note_answers
    from tumorlens.pacs.node.peers import Peer, check_title
    from tumorlens.pacs.shadow import shadow_analysis, shadow_study_analysis
    from tumorlens.report.fhir import require_fhir

    check_title(title)
    bounds = NodeLimits(**limits)
    peers = [Peer.read(text, with_port=False) for text in allow]
    counting = None if counted_by is None else Peer.read(counted_by, with_port=True)
    server_tls, client_tls = _tls(tls_certificate, tls_key, tls_authorities)
    place = None if health is None else _host_and_port(health)
    asking = [Peer.read(text, with_port=True) for text in commit_for]
    _check_senders(asking, peers)
    trail = AuditTrail(folder / AUDIT_FILE)
    deliver = archive = None
    if send_to is not None:
        destination = Peer.read(send_to, with_port=True)
        archive = destination if commit_results else None
        sending = partial(send_files, title, destination, tls=client_tls)
        deliver = recorded(sending, destination, trail)
    if fhir is not None:
        require_fhir()
        make_folder(fhir)
    classifier = load_series_classifier(model, side_by_side=True, precision=precision)
    # Before the queue is opened: it may name an operating point that is none.
    classifier.bundle.point(operating_point)
    if study_results is not None:
        make_folder(study_results)
        together = StudyClassifier(classifier.slice_classifier())
    with ExitStack() as stack:
        stack.enter_context(private_log())
        stack.enter_context(traced("tumorlens node"))
        queue = stack.enter_context(
            closing(
                NodeQueue(
                    folder,
                    3600.0 * keep_hours,
                    commits=commit_results,
                    study_seconds=bounds.study_seconds if study_results else None,
                )
            )
        )
        bundle = classifier.bundle
        drift = RateMonitor(queue.database, bundle.version, reference_rates(bundle))
        keep = partial(note_answers, queue)
        analyse = analysis_with(classifier, operating_point, fhir, drift, keep)
        if shadow:
            analyse = shadow_analysis(classifier, operating_point, queue, drift, keep)
        studies = None
        if study_results is not None:
            given = (together, operating_point, study_results)
            judge = shadow_study_analysis(*given, queue) if shadow else None
            studies = Studies(queue.next_study, judge or study_analysis(*given))
        worker = SeriesWorker(
            queue,
            analyse,
            deliver,
            quiet_seconds,
            Wholeness(title, counting, client_tls),
            bounds.wait_seconds,
            studies,
            Commitments(queue, title, archive, asking, client_tls).steps,
        )
        receiver = Receiver(
            queue, title, host, port, peers, bounds, server_tls, asking, archive, trail
        )
        stack.callback(worker.close, bounds.stop_seconds)
        stack.callback(receiver.close)
        watched = None
        if place is not None:
            watched = stack.enter_context(
                closing(HealthPort(*place, receiver, queue, drift))
            )
        worker.start()
        click.echo(f"{title} listens on {host}:{receiver.port}.", err=True)
        if shadow:
            click.echo("Shadow mode: nothing is sent.", err=True)
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


def _check_senders(asking: Sequence[Peer], allowed: Sequence[Peer]) -> None:
    """Make sure that who may ask for commitment may send at all."""
    titles = {peer.title for peer in allowed}
    for peer in asking:
        if peer.title not in titles:
            raise SettingError(
                f"--commit-for names {peer.title}, which --allow does not.",
                "Commitment is of what a peer has sent: name it in both.",
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
        note += "".join(
            f" (marked {'right' if mark['correct'] else 'wrong'})"
            for mark in entry.feedback.values()
        )
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


@node.command()
@_folder_option
@click.argument("series", metavar="UID")
@click.option(
    "--right/--wrong",
    "correct",
    default=None,
    help="Whether what the node said of the series is right.",
)
@click.option(
    "--finding",
    metavar="CLASS",
    help="What the series shows, where it is known: glioma, meningioma, pituitary, "
    "no_tumor, other (a tumour of another kind) or vascular (a lesion that is no "
    "tumour).",
)
@click.option(
    "--part",
    type=click.IntRange(1),
    help="Which part, where the series was judged in several.",
)
@click.option("--remove", is_flag=True, help="Take back what was said before.")
@click.option(
    _DAYS.option,
    "days",
    envvar=_DAYS.environment,
    type=click.IntRange(1, _DAYS.high),
    default=_DAYS.default,
    show_default=True,
    help="For how many days the images are kept from now on.",
)
@click.pass_context
def feedback(
    context: click.Context,
    folder: Path | None,
    series: str,
    correct: bool | None,
    finding: str | None,
    part: int | None,
    remove: bool,
    days: int,
) -> int:
    """Mark what the node said of a series right or wrong.

    The images are kept for `tumorlens data from-feedback --store FOLDER`, which writes
    them as a dataset. The node may be running. Who marked what stands in its audit
    trail. Exit status 1 where there is nothing to take back.
    """
    from tumorlens.operations.audit import (
        AUDIT_FILE,
        AuditAction,
        AuditEvent,
        AuditOutcome,
        AuditTrail,
        note_event,
    )
    from tumorlens.pacs.feedback import mark_series

    if remove != (correct is None) or (remove and finding):
        raise click.UsageError(
            "Give one of --right, --wrong and --remove; --finding goes with the former."
        )
    with _queue_of(context, folder) as queue:
        if correct is None:
            is_known = queue.mark(series, part or 1, None, 0.0)
            said = "is not marked any more" if is_known else "has no such mark"
        else:
            now = time.time()
            mark = mark_series(queue, series, part, correct, finding, days, now)
            is_known = True
            shown = "" if mark.finding is None else f" ({mark.finding.value})"
            said = f"is marked as {'right' if correct else 'wrong'}{shown}"
        note_event(
            AuditTrail(queue.folder / AUDIT_FILE),
            (AuditEvent.ACTIVITY, AuditAction.UPDATE),
            AuditOutcome.of(is_known),
            user=_operator(),
            objects=(series,) if is_known else (),
            detail="node.unmark" if remove else "node.mark",
        )
    click.echo(f"{series} {said}.", err=not is_known)
    return 0 if is_known else UNKNOWN_SERIES


@node.command()
@_folder_option
@click.argument("file", type=FILE)
@click.pass_context
def labels(context: click.Context, folder: Path | None, file: Path) -> None:
    """Take labels of studies from a CSV file, for `node compare`.

    FILE has a column label and one of accession_number and study_instance_uid. A
    label is glioma, meningioma, pituitary, no_tumor, other (a tumour of another kind),
    vascular (a lesion that is no tumour) or tumor (of a kind that is not known); where
    the model has classes of your own, also one of these, once it has judged a series. A
    label that comes again takes the place of the earlier one. Either all rows are
    taken or none.
    """
    from tumorlens.pacs.shadow import judged_classes, read_labels

    with _queue_of(context, folder) as queue:
        found = read_labels(file, judged_classes(queue))
        queue.keep_labels({name: label.value for name, label in found.items()})
        total = len(queue.labels())
    click.echo(f"{len(found)} labels taken; {total} are known.")


@node.command()
@_folder_option
@click.option("--html", metavar="F", type=PATH, help="Write the page here.")
@click.option(
    "--json",
    "json_path",
    metavar="F",
    type=PATH,
    help="Write the figures here, as JSON.",
)
@click.option(
    "--disagreements",
    metavar="F.csv",
    type=PATH,
    help="Write the studies here of which something else turned out, with their "
    "accession numbers: for people in the house.",
)
@click.option(
    "--week", metavar="2026-W48", help="Week to look at; by default the newest."
)
@click.pass_context
def compare(
    context: click.Context,
    folder: Path | None,
    html: Path | None,
    json_path: Path | None,
    disagreements: Path | None,
    week: str | None,
) -> None:
    """Compare what a node said in shadow mode with the labels that came.

    The page names no patient and no study. It can be made anew every week, while the
    node runs.
    """
    from tumorlens.evaluation.shadow import disagreements as differing
    from tumorlens.evaluation.shadow import measure_shadow
    from tumorlens.pacs.shadow import shadow_cases
    from tumorlens.report.evaluation.shadow import shadow_sections
    from tumorlens.report.page import render_evaluation
    from tumorlens.report.page_parts import figure_text

    check_files(html, json_path, disagreements)
    if week is not None and not _WEEK.fullmatch(week):
        raise SettingError(f"--week is {week[:20]!r}.", "Give it as 2026-W48.")
    with _queue_of(context, folder) as queue:
        cases = shadow_cases(queue)
    figures = measure_shadow(cases.series, cases.studies, week)
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    if html is not None:
        sections = shadow_sections(figures, cases.states, cases.labels, cases.unmatched)
        title = f"Shadow mode, {figures['chosen_week'] or 'no series yet'}"
        page = render_evaluation(title, f"Made on {made}.", sections)
        write_bytes(html, page.encode())
    if json_path is not None:
        counts = {"labels": cases.labels, "labels_unmatched": cases.unmatched}
        document = {**figures, **counts, "states": dict(cases.states)}
        write_json(json_path, {**document, "research_use_only": RESEARCH_USE})
    if disagreements is not None:
        write_bytes(disagreements, _as_csv(differing(cases.studies)))
    whole = figures["all"]
    click.echo(
        f"{whole['cases']} studies, {whole['labelled']} with a label: "
        f"{whole['tumor']} with a tumour, {whole['free']} without."
    )
    for name in ("sensitivity", "specificity"):
        click.echo(f"{name.capitalize()} {figure_text(whole[name], percent=True)}")
    click.echo(RESEARCH_USE)


_WEEK = re.compile(r"\d{4}-W\d{2}")


def _as_csv(studies: Sequence[ShadowCase]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ("study_instance_uid", "accession_number", "week", "label", "finding", "kinds")
    )
    for case in studies:
        label = "" if case.label is None else case.label.value
        kinds = " ".join(case.kinds)
        accession = spreadsheet_text(case.accession)
        writer.writerow((case.study, accession, case.week, label, case.answer, kinds))
    return file.getvalue().encode()


def _operator() -> str:
    """Name who runs the command; nobody where the system has no name for it."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""


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
