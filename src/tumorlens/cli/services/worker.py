"""`tumorlens worker`: judges uploads of series apart from the web app."""

from __future__ import annotations

import threading
from contextlib import closing

import click

from tumorlens.cli._shared import share_heaps
from tumorlens.cli.services.service import (
    OrderlyStop,
    end_now,
    setting_options,
)
from tumorlens.settings import load_settings

_SETTINGS = (
    "model",
    "threads",
    "precision",
    "operating_point",
    "retention_minutes",
    "slices_per_scan",
    "scan_minutes",
    "store",
    "store_mb",
    "database_url",
)


@click.command()
@setting_options(_SETTINGS)
def worker(**options: str | None) -> None:
    """Judge the series that servers were sent, until Ctrl-C.

    Servers and workers share --database-url and the folder --store, and may run on
    several machines. The database of a folder is for one process at a time.
    """
    share_heaps()
    settings = load_settings(options)
    # Imported late: `tumorlens --help` needs none of it.
    from tumorlens.inference.series.classifier import load_series_classifier
    from tumorlens.operations.logs import json_log
    from tumorlens.operations.metrics import Metrics
    from tumorlens.operations.tracing import traced
    from tumorlens.web.app import open_store
    from tumorlens.web.uploads.series_jobs import SeriesJobs

    classifier = load_series_classifier(
        settings.model,
        settings.threads,
        side_by_side=True,
        precision=settings.precision,
    )
    stop, stopped = OrderlyStop(), threading.Event()
    with (
        stop.on_signals(),
        json_log() as log,
        traced("tumorlens worker"),
        closing(open_store(settings)) as store,
    ):
        jobs = SeriesJobs(classifier, store, settings, Metrics())
        stop.begin_with(jobs.stop, stopped.set)
        jobs.start()
        click.echo("The worker waits for series (Ctrl-C stops it).")
        log.begin()
        stopped.wait()
    click.echo("The worker has stopped.", err=True)
    if not jobs.is_quiet:
        end_now()
