"""`tumorlens batch`: an archive in, Parquet out, on one machine or a Ray cluster."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.filesize import decimal

import tumorlens
from tumorlens.cli._shared.options import (
    model_option,
    operating_point_option,
    threads_option,
)
from tumorlens.errors import MissingExtraError
from tumorlens.imaging.formats import display_name
from tumorlens.report.slice.document import RESEARCH_USE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tumorlens.scale.archive.batch import Estimate
    from tumorlens.scale.archive.ledger import Inventory


def require_archive() -> None:
    """Make sure that the extra ``archive`` is installed.

    Raises
    ------
    MissingExtraError
        It is not.
    """
    try:
        import fsspec  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("An archive", "archive") from error


ALL_READ, SOME_FAILED, NONE_READ = 0, 1, 2
_PART_SIZE = 1_000
_PART_SIZE_WITH_MAPS = 100
"""Maps of 512 x 512 pixels take 200 KB, and a worker holds those of a part."""

_SECONDS_BETWEEN_LINES = 60.0


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DEST",
    help="Folder of the results: all *.parquet below it. The same call goes on there "
    "where it was stopped.",
)
@click.option(
    "--address",
    metavar="ray://HOST:PORT|auto|local",
    help="Work on a Ray cluster: at an address, the one that runs here, or one that "
    "is started for this call.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --address: workers, each with a network session of --threads.  "
    "[default: as many as the cluster has processors for]",
)
@click.option(
    "--part-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Slices in one part file, about: what a kill may cost a worker.  "
    f"[default: {_PART_SIZE}; with --maps {_PART_SIZE_WITH_MAPS}]",
)
@click.option(
    "--maps", is_flag=True, help="Also write the maps of each slice, into DEST/_maps."
)
@click.option(
    "--dicom",
    is_flag=True,
    help="Also judge each DICOM series as a whole, as `scan` does, and write a report, "
    "a picture and a segmentation of it into DEST/_dicom. They name the patient.",
)
@click.option(
    "--estimate",
    "only_estimate",
    is_flag=True,
    help="List the archive, say what the run would take, and stop.",
)
@threads_option
@operating_point_option
@model_option
def batch(
    sources: tuple[str, ...],
    folder: Path,
    address: str | None,
    workers: int | None,
    part_size: int | None,
    maps: bool,
    dicom: bool,
    only_estimate: bool,
    threads: int | None,
    operating_point: str | None,
    model: str | None,
) -> int:
    """Judge an archive of slices and series, and write the results as Parquet.

    SOURCE is a file, a folder, a manifest (CSV with the column 'file') or a URL of an
    object store (s3://BUCKET/FOLDER). The files of a DICOM series are gathered
    wherever they lie. A file that cannot be read becomes a row with its error. Exit
    status: 0 all read, 1 some failed, 2 wrong use or nothing could be read.

    For research use only: TumorLens is not a medical device.
    """
    if workers is not None and address is None:
        raise click.UsageError("--workers needs --address.")
    require_archive()
    if dicom and find_spec("highdicom") is None:
        raise MissingExtraError("Results as DICOM", "pacs")
    from tumorlens.scale.archive.batch import ArchiveRun
    from tumorlens.scale.archive.ledger import RunFacts
    from tumorlens.scale.archive.part_worker import PartWorker
    from tumorlens.scale.archive.workers import LocalWorkers, RayWorkers

    if address is not None:
        threads = threads or 1
    model = None if model is None else str(Path(model).absolute())
    chosen = (model, operating_point, maps, dicom)
    worker = PartWorker(model, threads, operating_point, maps, dicom)
    facts = RunFacts(
        sources=sources,
        folder=str(Path.cwd()) if any(map(_is_relative, sources)) else "",
        software=tumorlens.__version__,
        model=worker.model(),
        operating_point=worker.operating_point,
        part_size=part_size or (_PART_SIZE_WITH_MAPS if maps else _PART_SIZE),
        maps=maps,
        own_classes=worker.own_classes,
        dicom=dicom,
    )
    start = time.perf_counter()
    with ExitStack() as stack:
        run = stack.enter_context(ArchiveRun(folder, facts))
        pool: LocalWorkers | RayWorkers = LocalWorkers(worker)
        if address is not None:
            pool = stack.enter_context(RayWorkers(address, workers, threads, *chosen))
            pool.check_model(worker.model())
        if run.is_planned:
            click.echo(
                f"{display_name(folder)} was begun before: it goes on, with the files "
                "that were there then.",
                err=True,
            )
        with _progress("Listing", None) as progress:
            inventory = run.list_archive(pool, progress)
        done = run.recover()
        _show_inventory(inventory, done)
        estimate = run.estimate(worker, pool.count)
        _show_estimate(estimate)
        if only_estimate:
            return ALL_READ
        with _progress("Judging", estimate.slices) as progress:
            counts = run.judge(pool, progress)
    seconds = time.perf_counter() - start
    click.echo(
        f"{_count(counts.slices, 'slice')} and {_count(counts.failed, 'failure')} in "
        f"{_count(inventory.parts, 'part')} under {display_name(folder)}; this call "
        f"took {seconds:.1f} s, all workers together {counts.seconds:.1f} s.\n"
        f"{RESEARCH_USE}"
    )
    if counts.slices == 0:
        return NONE_READ
    return SOME_FAILED if counts.failed else ALL_READ


def _is_relative(source: str) -> bool:
    return "://" not in source and not os.path.isabs(source)  # noqa: PTH117


def _show_inventory(inventory: Inventory, done: int) -> None:
    skipped = inventory.skipped
    click.echo(
        f"{_count(inventory.files, 'file')}, about "
        f"{_count(inventory.slices, 'slice')}, {decimal(inventory.size)}, in "
        f"{_count(inventory.parts, 'part')}"
        + (f", {done:,} of them done" if done else "")
        + "."
        + (
            f" Skipped, because no picture or a mask: {_count(skipped, 'file')}."
            if skipped
            else ""
        )
    )


def _show_estimate(estimate: Estimate) -> None:
    if not estimate.slices:
        return
    if not estimate.rate:
        click.echo("No file of the sample could be judged: there is no estimate.")
        return
    one = estimate.workers == 1
    click.echo(
        f"Measured on {_count(estimate.measured, 'slice')}: {estimate.rate:.1f} "
        f"slices/s{'' if one else ' a worker'}. About "
        f"{_count(estimate.slices, 'slice')} left: {_duration(estimate.seconds)}"
        + ("" if one else f" on {estimate.workers} workers")
        + f", {estimate.worker_hours:.2f} worker-hours, and "
        f"at most {decimal(estimate.result_bytes)} of results."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


@contextmanager
def _progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal; elsewhere a line a minute."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
        return
    shown, so_far = time.monotonic(), 0

    def line(count: int) -> None:
        nonlocal shown, so_far
        so_far += count
        if time.monotonic() - shown >= _SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            of = "" if total is None else f" of about {total:,}"
            click.echo(f"{title}: {so_far:,}{of}.", err=True)

    yield line
