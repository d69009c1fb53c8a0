"""Memory, rate and cost of `tumorlens batch`, on a few and on many drawn slices.

    python -m bench.archive --workers 1 2 --driver 10000 200000 \
        --json docs/figures/archive.json

Each slice is a DICOM file of 256 x 256 pixels, forty to a series, spread over
folders that have nothing to do with the series. The files of a series share their
pixels, which changes nothing in what is read or judged. With `--workers`, both
archives are judged again on Ray clusters of so many workers. A rate is that of the
slices by which the archives differ, so that no start counts.

With `--driver`, archives of so many small files are listed, planned, handed out and
written by the process that starts a run, and nothing is judged: its memory is that of
the driver of a cluster.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from bench.figures import machine
from bench.processes import Run, run, tumorlens
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE
from tumorlens.scale.archive.batch import ArchiveRun
from tumorlens.scale.archive.ledger import PartCounts, PartTask, RunFacts
from tumorlens.scale.archive.parquet import table_of
from tumorlens.scale.archive.part_worker import PartResult
from tumorlens.scale.archive.sources import FileHeader, read_headers
from tumorlens.scale.archive.workers import HeaderTask

SIDE = 256
SMALL_SIDE = 32
SERIES = 40
FOLDERS = 50
_ROOT = "1.2.826.0.1.3680043.8.498"


def draw_archive(folder: Path, slices: int) -> None:
    """Write an archive of so many files, the series scattered over its folders."""
    for number in range(FOLDERS):
        (folder / f"{number:02d}").mkdir(parents=True)
    for number in range(slices):
        series, place = divmod(number, SERIES)
        if place == 0:
            pixels = draw_head(series).tobytes()
        item = header(series, place)
        item.PixelData = pixels
        path = folder / f"{number * 7 % FOLDERS:02d}" / f"IM{number:07d}"
        dcmwrite(path, item, enforce_file_format=True)


def link_archive(folder: Path, files: int) -> None:
    """Write an archive of small files, those of one series one file by many names."""
    for number in range(FOLDERS):
        (folder / f"{number:02d}").mkdir(parents=True)
    pixels = np.zeros((SMALL_SIDE, SMALL_SIDE), np.uint16).tobytes()
    paths = [
        folder / f"{number * 7 % FOLDERS:02d}" / f"IM{number:07d}"
        for number in range(files)
    ]
    for number, path in enumerate(paths):
        if number % SERIES:
            os.link(paths[number - number % SERIES], path)
            continue
        item = header(number // SERIES, 0)
        item.Rows = item.Columns = SMALL_SIDE
        item.PixelData = pixels
        dcmwrite(path, item, enforce_file_format=True)


class ReadyRows:
    """Workers that read headers and judge nothing."""

    count = 1

    def read_headers(
        self, tasks: Iterable[HeaderTask]
    ) -> Iterator[tuple[int, list[FileHeader]]]:
        """See `tumorlens.scale.archive.workers.Workers`."""
        for place, task in enumerate(tasks):
            yield place, read_headers(*task)

    def judge(self, tasks: Iterable[PartTask]) -> Iterator[PartResult]:
        """See `tumorlens.scale.archive.workers.Workers`."""
        for task in tasks:
            names = [file.name for unit in task.units for file in unit]
            rows = [{"file": name, "status": "ok", "p_tumor": 0.5} for name in names]
            yield PartResult(
                task.number, table_of(rows), {}, PartCounts(len(rows), 0, 0.0)
            )


def drive(folder: Path, out: Path) -> None:
    """List, plan, hand out and write an archive, as the driver of a cluster does."""
    facts = RunFacts((str(folder),), "", "bench", "none", "screening", 1_000, False)
    with ArchiveRun(out, facts) as started:
        started.list_archive(ReadyRows(), lambda _: None)
        started.recover()
        started.judge(ReadyRows(), lambda _: None)


def draw_head(seed: int) -> np.ndarray:
    """Draw a head with a texture of its own: shape (SIDE, SIDE), uint16."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((SIDE, SIDE), np.float32)
    middle = SIDE // 2
    cv2.ellipse(picture, (middle, middle), (92, 112), 0, 0, 360, 150.0, -1)
    cv2.ellipse(picture, (middle, middle), (82, 102), 0, 0, 360, 90.0, -1)
    texture = cv2.GaussianBlur(rng.normal(0, 60, picture.shape), (0, 0), 4)
    return np.clip(8 * np.where(picture > 0, picture + texture, 0), 0, 4095).astype(
        np.uint16
    )


def header(series: int, place: int) -> Dataset:
    """Return the data set of one slice of a series, without pixels."""
    item = Dataset()
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.SOPClassUID = item.file_meta.MediaStorageSOPClassUID = MRImageStorage
    item.SOPInstanceUID = f"{_ROOT}.{series + 1}.{place + 1}"
    item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
    item.StudyInstanceUID = f"{_ROOT}.9.{series + 1}"
    item.SeriesInstanceUID = f"{_ROOT}.8.{series + 1}"
    item.PatientID, item.Modality = f"drawn-{series}", "MR"
    item.Manufacturer, item.ManufacturerModelName = "drawn", f"scanner {series % 3}"
    item.StudyDate = f"2026{1 + series % 12:02d}01"
    item.SeriesNumber, item.InstanceNumber = 1, place + 1
    item.PixelSpacing, item.SliceThickness = [0.9, 0.9], 4.0
    item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    item.ImagePositionPatient = [-115.0, -115.0, 4.0 * place]
    item.Rows = item.Columns = SIDE
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.BitsAllocated, item.BitsStored, item.HighBit = 16, 12, 11
    item.PixelRepresentation = 0
    return item


def judge(folder: Path, out: Path, model: str, more: list[str]) -> Run:
    """Judge an archive in a process of its own."""
    shutil.rmtree(out, ignore_errors=True)
    command: list[str | Path] = [tumorlens(), "batch", folder, "--out", out]
    return run([*command, "--model", model, *more])


def main() -> None:
    """Print one line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, nargs=2, default=[1000, 5000])
    parser.add_argument("--workers", type=int, nargs="*", default=[])
    parser.add_argument("--driver", type=int, nargs="*", default=[])
    parser.add_argument("--drive", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", default=str(DEFAULT_BUNDLE))
    parser.add_argument("--json", metavar="F", help="also write the figures to F")
    options = parser.parse_args()
    if options.drive:
        drive(*options.drive)
        return
    facts = machine(Path(options.model))
    document = {
        "machine": facts,
        "rates": list(rates(options.slices, [0, *options.workers], options.model)),
        "driver": list(drivers(options.driver)),
    }
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")


def rates(
    sizes: list[int], numbers_of_workers: list[int], model: str
) -> Iterator[dict[str, Any]]:
    """Judge two archives by this process (0 workers), and on clusters."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for slices in sizes:
            draw_archive(place / str(slices), slices)
        for workers in numbers_of_workers:
            more = ["--address", "local", "--workers", str(workers), "--threads", "1"]
            few, many = (
                judge(place / str(slices), place / "out", model, more * bool(workers))
                for slices in sizes
            )
            size = sum(x.stat().st_size for x in (place / "out").glob("0*/*.parquet"))
            rate = (sizes[1] - sizes[0]) / (many.seconds - few.seconds)
            yield {
                "ray_workers": workers,
                "slices": sizes,
                "seconds": [few.seconds, many.seconds],
                "peak_mb": [few.peak_mb, many.peak_mb],
                "slices_per_second": rate,
                "bytes_a_slice": size / sizes[1],
            }
            where = f"{workers} Ray workers" if workers else "this process"
            print(
                f"{where}: {sizes[0]} slices {few.seconds:.1f} s, peak "
                f"{few.peak_mb:.0f} MB; {sizes[1]} slices {many.seconds:.1f} s, peak "
                f"{many.peak_mb:.0f} MB; {rate:.1f} slices/s, {size / sizes[1]:.0f} "
                "bytes of Parquet a slice",
                flush=True,
            )


def drivers(sizes: list[int]) -> Iterator[dict[str, Any]]:
    """Measure the process that starts a run, without any judging."""
    for files in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder, out = Path(name, "archive"), Path(name, "out")
            link_archive(folder, files)
            command = [sys.executable, "-m", "bench.archive", "--drive", folder, out]
            found = run(command)
        yield {"files": files, "seconds": found.seconds, "peak_mb": found.peak_mb}
        print(
            f"driver, {files} files: {found.seconds:.1f} s, peak "
            f"{found.peak_mb:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
