"""`tumorlens dicomweb`: series from a PACS over HTTP, findings back into it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING

import click

from tumorlens.cli._shared.heaps import share_heaps
from tumorlens.cli._shared.options import (
    FOLDER,
    PATH,
    model_option,
    operating_point_option,
    precision_option,
    threads_option,
)
from tumorlens.cli._shared.output_files import cannot_write, make_folder
from tumorlens.cli._shared.service import private_log
from tumorlens.errors import ArchiveError, InputError, MissingExtraError
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.words import counted, with_probability

if TYPE_CHECKING:
    from tumorlens.inference.series.classifier import SeriesClassifier
    from tumorlens.pacs.dicomweb.client import Archive, SeriesEntry
    from tumorlens.pacs.dicomweb.poller import Poller
    from tumorlens.pacs.worker import SeriesWorker
    from tumorlens.report.dicom.results import Judged

ALL_JUDGED, SOME_FAILED, NONE_JUDGED = 0, 1, 2


@click.command()
@click.option(
    "--url",
    required=True,
    help="Address of the DICOMweb service, as https://pacs.example.org/dicom-web.",
)
@click.option("--study", metavar="UID", help="Judge the series of this study.")
@click.option(
    "--out",
    metavar="DIR",
    help="With --study: write the results there instead of storing them.",
)
@click.option(
    "--poll",
    type=click.FloatRange(1, 86_400),
    metavar="SECONDS",
    help="Look for new studies so often, and judge them, until Ctrl-C.",
)
@click.option(
    "--folder",
    type=FOLDER,
    help="With --poll: folder of the queue, from which a restart goes on.",
)
@click.option(
    "--days",
    type=click.IntRange(0, 36_500),
    default=1,
    show_default=True,
    help="With --poll: how many days before today a study may be of.",
)
@click.option(
    "--worklist",
    metavar="TITLE@HOST:PORT",
    help="With --poll: judge only the studies that this Modality Worklist orders for "
    "--title, of whatever day.",
)
@click.option(
    "--ups",
    metavar="URL",
    help="With --poll: judge only the series that the Unified Procedure Steps of this "
    "UPS-RS service order for --title, and end the steps with the results.",
)
@click.option(
    "--title",
    default="TUMORLENS",
    show_default=True,
    help="With --worklist: AE title of the station that orders name; with --ups: its "
    "code value.",
)
@click.option(
    "--ca-bundle",
    envvar="TUMORLENS_CA_BUNDLE",
    type=PATH,
    metavar="F",
    help="Certificates to trust, in PEM.  [default: those of public authorities]",
)
@click.option(
    "--fhir",
    type=FOLDER,
    metavar="DIR",
    help="Write a FHIR R4 report of each series into this folder, too.",
)
@operating_point_option
@model_option
@threads_option
@precision_option
def dicomweb(
    url: str,
    study: str | None,
    out: str | None,
    poll: float | None,
    folder: Path | None,
    days: int,
    worklist: str | None,
    ups: str | None,
    title: str,
    ca_bundle: Path | None,
    fhir: Path | None,
    operating_point: str | None,
    model: str | None,
    threads: int | None,
    precision: str,
) -> int:
    """Judge MR series of a PACS over DICOMweb, and store SR, SEG and SC beside them.

    With --study, one study, and out. With --poll, whatever is new: each series
    once, also after a restart, and again and again with longer waits while the
    server is down. A series that has a TumorLens report is passed over. With
    --worklist or --ups, only what is ordered there.

    Credentials come from the environment: TUMORLENS_DICOMWEB_USER and
    TUMORLENS_DICOMWEB_PASSWORD, or TUMORLENS_DICOMWEB_TOKEN, or
    TUMORLENS_DICOMWEB_TOKEN_FILE, a file that is read for each request, so that
    its token may be renewed. Those of --ups begin with TUMORLENS_UPS_ where it is
    another server. The log says nothing about patients. Exit status:
    0 what could be judged was, 1 some series failed, 2 wrong use or nothing was
    judged.

    For research use only: TumorLens is not a medical device.
    """
    if (study is None) == (poll is None):
        raise click.UsageError("Give either --study or --poll.")
    if (poll is None) != (folder is None):
        raise click.UsageError("--poll and --folder go together.")
    if out is not None and study is None:
        raise click.UsageError("--out goes with --study.")
    if (worklist is not None or ups is not None) and poll is None:
        raise click.UsageError("--worklist and --ups go with --poll.")
    if worklist is not None and ups is not None:
        raise click.UsageError("Give either --worklist or --ups.")
    share_heaps()
    try:
        # Each result needs it: better to miss it now than at the first series.
        import highdicom  # noqa: F401

        from tumorlens.pacs.dicomweb.access import open_session, worklist_credentials
        from tumorlens.pacs.dicomweb.client import Archive
        from tumorlens.pacs.dicomweb.ups import (
            CancelRequests,
            OrderedSteps,
            StepService,
        )
    except ImportError as error:
        raise MissingExtraError("DICOMweb", "pacs") from error
    from tumorlens.inference.series.classifier import load_series_classifier
    from tumorlens.operations.tracing import traced
    from tumorlens.pacs.analysis import analysis_with
    from tumorlens.pacs.dicomweb.fetch_queue import FetchQueue
    from tumorlens.pacs.dicomweb.poller import Poller, delivery_to
    from tumorlens.pacs.worker import SeriesWorker
    from tumorlens.report.fhir import require_fhir

    orders: Callable[[], set[str]] | None = None
    if worklist is not None:
        from tumorlens.pacs.node.peers import Peer, check_title
        from tumorlens.pacs.node.sender import ordered_studies

        check_title(title)
        orders = partial(ordered_studies, title, Peer.read(worklist, with_port=True))

    def connect() -> closing[Archive]:
        return closing(Archive(url, open_session(ca_bundle=ca_bundle)))

    if out is not None:
        make_folder(out)
    if fhir is not None:
        require_fhir()
        make_folder(fhir)
    # A session is for one thread: the poller's and the worker's.
    with (
        private_log(),
        traced("tumorlens dicomweb"),
        _interrupted_by_sigterm(),
        connect() as archive,
        connect() as destination,
    ):
        classifier = load_series_classifier(
            model, threads, side_by_side=True, precision=precision
        )
        point = classifier.bundle.point(operating_point)
        if study is not None:
            return _judge_study(archive, classifier, study, out, point, fhir)
        assert poll is not None and folder is not None
        analyse = analysis_with(classifier, point, fhir)
        with ExitStack() as stack:
            queue = stack.enter_context(closing(FetchQueue(folder)))
            wants = None
            if ups is not None:
                allowed = worklist_credentials(url, ups)
                session = open_session(allowed, ca_bundle)
                service = StepService(ups, session, ca_bundle)
                stack.enter_context(closing(service))
                requests = stack.enter_context(closing(CancelRequests(service, title)))
                steps = OrderedSteps(service, archive, url, queue, title, requests)
                orders, wants = steps.studies, steps.wants
            worker = SeriesWorker(queue, analyse, delivery_to(destination), 0.0)
            _poll(Poller(archive, queue, days, orders, wants), worker, poll)
    return ALL_JUDGED


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: what was fetched is removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _poll(poller: Poller, worker: SeriesWorker, seconds: float) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        poller.stop()

    worker.start()
    with closing(worker), ThreadPoolExecutor(1) as executor:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        click.echo(f"Looking every {seconds:g} s.\n{RESEARCH_USE}", err=True)
        # In another thread: an interrupt within the database's code would be lost, or
        # break it.
        executor.submit(poller.keep_on, seconds).result()
        click.echo("Stopping after the step at hand.", err=True)


def _judge_study(
    archive: Archive,
    classifier: SeriesClassifier,
    study: str,
    out: str | None,
    operating_point: str | None,
    fhir: Path | None,
) -> int:
    from tumorlens.pacs.analysis import write_fhir

    listed = archive.series(study)
    wanted = [entry for entry in listed if entry.modality == "MR"]
    if not wanted:
        raise _no_series_error(listed)
    judged = archive.judged(listed) if out is None else set()
    done = failed = 0
    for place, entry in enumerate(wanted, start=1):
        name = f"Series {entry.number or '?'} ({place} of {len(wanted)})"
        if entry.uid in judged:
            done += 1
            click.echo(f"{name}: has a TumorLens report; --out judges it again.")
            continue
        try:
            count, missing, judged_series = _judge_series(
                archive, classifier, entry, operating_point
            )
            where = _deliver(archive, judged_series, out)
            if fhir is not None:
                write_fhir(judged_series, fhir)
        except ArchiveError as error:
            failed += 1
            click.echo(f"Error: {name}: {error}", err=True)
        except InputError as error:
            # Most studies have series that are not for the model: localisers.
            click.echo(f"{name}: left out. {error}", err=True)
        else:
            done += 1
            for item in judged_series:
                finding = item.finding
                headline = with_probability(finding.headline, finding.p_tumor)
                click.echo(f"{name}, {counted(count, 'image')}: {headline}")
                if finding.not_judged is not None:
                    click.echo(f"  {finding.not_judged}")
            if missing:
                click.echo(
                    f"  {missing} of {count + missing} images could not be fetched."
                )
            click.echo(f"  {where}")
    click.echo(RESEARCH_USE)
    if done == 0:
        return NONE_JUDGED
    return SOME_FAILED if failed else ALL_JUDGED


def _no_series_error(listed: list[SeriesEntry]) -> ArchiveError:
    if not listed:
        return ArchiveError("The server has no such study.", "Check --study.")
    kinds = ", ".join(sorted({entry.modality or "?" for entry in listed}))
    return ArchiveError(
        f"The study has no series of magnetic resonance (MR), but of: {kinds}.",
        "Give a study with an MR of the head.",
    )


def _judge_series(
    archive: Archive,
    classifier: SeriesClassifier,
    entry: SeriesEntry,
    operating_point: str | None,
) -> tuple[int, int, list[Judged]]:
    """Fetch a series into a private folder, and judge it there.

    Returns
    -------
    count, missing
        Numbers of its images that could be fetched, and that could not.
    judged
        The findings, and the results that go back.
    """
    from tumorlens.pacs.analysis import judge_files

    files: list[Path] = []
    missing = 0
    with TemporaryDirectory(prefix="tumorlens-") as folder:
        for place, data in enumerate(archive.images(entry)):
            if data is None:
                missing += 1
                continue
            path = Path(folder, f"{place}.dcm")
            try:
                path.write_bytes(data)
            except OSError as error:
                raise cannot_write(path, error) from error
            files.append(path)
        judged = judge_files(classifier, files, operating_point, missing=missing)
        return len(files), missing, judged


def _deliver(archive: Archive, judged: list[Judged], out: str | None) -> str:
    """Store the results of a series, or write them; say what was done."""
    results = [data for item in judged for data in item.results]
    if out is not None:
        _write(results, Path(out))
        return f"{counted(len(results), 'result')} written."
    with TemporaryDirectory(prefix="tumorlens-") as folder:
        archive.store(_write(results, Path(folder)), lambda _: None)
    return f"{counted(len(results), 'result')} stored."


def _write(results: list[bytes], folder: Path) -> list[Path]:
    from io import BytesIO

    from pydicom import dcmread

    paths = []
    for data in results:
        item = dcmread(BytesIO(data), stop_before_pixels=True)
        path = folder / f"{item.Modality}.{item.SOPInstanceUID}.dcm"
        try:
            path.write_bytes(data)
        except OSError as error:
            raise cannot_write(path, error) from error
        paths.append(path)
    return paths
