"""`tumorlens node`: a DICOM node between a scanner or PACS and the radiologist.

Tested in `tests/pacs/test_killed.py` and `tests/pacs/node/test_node.py`.
"""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import click

from tumorlens.cli.services.private_log import private_log
from tumorlens.errors import MissingExtraError
from tumorlens.report.slice.document import RESEARCH_USE


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Of the queue; what was accepted is kept there until its results are sent.",
)
@click.option("--title", default="TUMORLENS", show_default=True, help="AE title.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 for other machines to reach it.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=11112,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--allow",
    multiple=True,
    required=True,
    metavar="TITLE@HOST",
    help="Who may send; may be given several times.",
)
@click.option(
    "--send-to", required=True, metavar="TITLE@HOST:PORT", help="Where results go."
)
@click.option(
    "--quiet-seconds",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="A series is complete when nothing came for so long.",
)
@click.option(
    "--keep-hours",
    type=click.FloatRange(0),
    default=24.0,
    show_default=True,
    help="How long the images of a judged series are kept, to judge it anew with what "
    "comes late.",
)
@click.option("--operating-point", default=None, metavar="screening|balanced")
@click.option("--model", default=None, metavar="DIR", help="Another model bundle.")
def node(
    folder: Path,
    title: str,
    host: str,
    port: int,
    allow: tuple[str, ...],
    send_to: str,
    quiet_seconds: float,
    keep_hours: float,
    operating_point: str | None,
    model: str | None,
) -> None:
    """Take MR series by C-STORE, judge them, send SR, SEG and SC back.

    Only peers that --allow names may send. A series is judged once nothing came
    for a while; its results go to --send-to, again and again with longer waits
    until they arrive, for a week. A kill or a power cut loses nothing that was
    accepted.

    What comes again is ignored. Where new images come to a judged series, the whole
    of it is judged anew, as long as --keep-hours has its other images kept; the new
    report names those that it replaces.

    The log says nothing about patients.

    For research use only: TumorLens is not a medical device.
    """
    try:
        # Each result needs it: better to miss it now than at the first series.
        import highdicom  # noqa: F401

        from tumorlens.pacs.node.receiver import Receiver
        from tumorlens.pacs.node.sender import send_files
        from tumorlens.pacs.worker import SeriesWorker
    except ImportError as error:
        raise MissingExtraError("The DICOM node", "pacs") from error
    from tumorlens.inference.series.classifier import load_series_classifier
    from tumorlens.pacs.analysis import analysis_with
    from tumorlens.pacs.node.peers import Peer
    from tumorlens.pacs.queue import SeriesQueue

    peers = [Peer.read(text, with_port=False) for text in allow]
    deliver = partial(send_files, title, Peer.read(send_to, with_port=True))
    analyse = analysis_with(load_series_classifier(model), operating_point)
    with private_log(), closing(SeriesQueue(folder, 3600.0 * keep_hours)) as queue:
        worker = SeriesWorker(queue, analyse, deliver, quiet_seconds)
        with closing(Receiver(queue, title, host, port, peers)) as receiver:
            worker.start()
            with closing(worker):
                click.echo(
                    f"{title} listens on {host}:{receiver.port}.\n{RESEARCH_USE}",
                    err=True,
                )
                _wait_for_a_signal()
    click.echo("The node has stopped.", err=True)


def _wait_for_a_signal() -> None:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
