"""Memory, rate and cost of `tumorlens batch`, on a few and on many drawn slices.

    python -m bench.archive --workers 0 1 2 --driver 10000 200000 \
        --json docs/figures/archive.json

Each slice is a DICOM file of 256 x 256 pixels, forty to a series, spread over
folders that have nothing to do with the series. Two archives are judged by the command
alone (0 workers) or on Ray clusters of so many workers. A rate is that of the slices by
which the archives differ, so that no start counts.

With `--driver`, archives of so many files of 32 x 32 pixels, those of a series alike,
are judged by the whole command on a Ray cluster of one worker, by the small network
that the tests draw: what is measured is the memory of the process that lists, plans,
hands out and writes, to which the network is the same. 200,000 files take half an hour
of a core.

Each run is written to the file of `--json` as it ends, and those that stand there are
not done again: the same call goes on where it was stopped. Delete the file to measure
anew.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from tests.conftest import build_tiny_bundle

from bench.figures import machine
from bench.processes import Run, run, tumorlens
from tumorlens.cli.main import main as command
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE

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
        item = header(*divmod(number, SERIES))
        item.PixelData = draw_head(number).tobytes()
        path = folder / f"{number * 7 % FOLDERS:02d}" / f"IM{number:07d}"
        dcmwrite(path, item, enforce_file_format=True)


def draw_small_archive(folder: Path, files: int) -> None:
    """Write an archive of small files; those of a series share their pixels."""
    for number in range(FOLDERS):
        (folder / f"{number:02d}").mkdir(parents=True)
    for number in range(files):
        series, place = divmod(number, SERIES)
        if place == 0:
            item = header(series, 0)
            item.Rows = item.Columns = SMALL_SIDE
            head = cv2.resize(draw_head(series), (SMALL_SIDE, SMALL_SIDE))
            item.PixelData = head.tobytes()
        set_place(item, series, place)
        path = folder / f"{number * 7 % FOLDERS:02d}" / f"IM{number:07d}"
        dcmwrite(path, item, enforce_file_format=True)


def drive(folder: Path, out: Path, bundle: Path, report: Path) -> int:
    """Run the command in this process, and write how much memory that took."""
    on_one = ("--address", "local", "--workers", "1", "--model", str(bundle))
    status = command(["batch", str(folder), "--out", str(out), *on_one])
    # Of this process alone: those of Ray are not the driver.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_bytes = peak * (1 if sys.platform == "darwin" else 1024)
    report.write_text(json.dumps({"peak_mb": peak_bytes / 1e6}))
    return status


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
    item.StudyInstanceUID = f"{_ROOT}.9.{series + 1}"
    item.SeriesInstanceUID = f"{_ROOT}.8.{series + 1}"
    item.PatientID, item.Modality = f"drawn-{series}", "MR"
    item.Manufacturer, item.ManufacturerModelName = "drawn", f"scanner {series % 3}"
    item.StudyDate = f"2026{1 + series % 12:02d}01"
    item.SeriesNumber = 1
    item.PixelSpacing, item.SliceThickness = [0.9, 0.9], 4.0
    item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    item.Rows = item.Columns = SIDE
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.BitsAllocated, item.BitsStored, item.HighBit = 16, 12, 11
    item.PixelRepresentation = 0
    set_place(item, series, place)
    return item


def set_place(item: Dataset, series: int, place: int) -> None:
    """Make a data set that of another slice of its series."""
    item.SOPInstanceUID = f"{_ROOT}.{series + 1}.{place + 1}"
    item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
    item.InstanceNumber = place + 1
    item.ImagePositionPatient = [-115.0, -115.0, 4.0 * place]


def judge(folder: Path, out: Path, model: str, more: list[str]) -> Run:
    """Judge an archive in a process of its own."""
    shutil.rmtree(out, ignore_errors=True)
    command: list[str | Path] = [tumorlens(), "batch", folder, "--out", out]
    return run([*command, "--model", model, *more])


class Figures:
    """The runs that are measured, in a file that grows by each of them.

    Parameters
    ----------
    path
        The file; None to print alone.
    model
        Folder of the bundle.
    """

    def __init__(self, path: Path | None, model: Path) -> None:
        self._path = path
        stored = path is not None and path.exists()
        self._document: dict[str, Any] = (
            json.loads(path.read_text())
            if path is not None and stored
            else {"machine": machine(model), "rates": [], "driver": []}
        )

    def add(
        self, part: str, key: dict[str, Any], measure: Callable[[], dict[str, Any]]
    ) -> None:
        """Measure one run, unless it was measured before, and print it."""
        rows = self._document[part]
        for row in rows:
            if key.items() <= row.items():
                print(f"{row}, as measured before", flush=True)
                return
        load = round(os.getloadavg()[0], 2)
        rows.append({**key, **measure(), "load_before": load})
        print(rows[-1], flush=True)
        if self._path is not None:
            self._path.write_text(json.dumps(self._document, indent=2) + "\n")


def main() -> int:
    """Measure what was asked for and is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, nargs=2, default=[400, 2400])
    parser.add_argument("--workers", type=int, nargs="*", default=[])
    parser.add_argument("--driver", type=int, nargs="*", default=[])
    parser.add_argument("--drive", nargs=4, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", default=str(DEFAULT_BUNDLE))
    parser.add_argument("--json", metavar="F", type=Path, help="write the figures to F")
    options = parser.parse_args()
    if options.drive:
        return drive(*options.drive)
    figures = Figures(options.json, Path(options.model))
    sizes = options.slices
    for workers in options.workers:
        figures.add(
            "rates",
            {"ray_workers": workers, "slices": sizes},
            lambda workers=workers: rate(sizes, workers, options.model),
        )
    for files in options.driver:
        figures.add("driver", {"files": files}, lambda files=files: driver(files))
    return 0


def rate(sizes: list[int], workers: int, model: str) -> dict[str, Any]:
    """Judge two archives by one process (0 workers), or on a cluster."""
    more = ["--address", "local", "--workers", str(workers), "--threads", "1"]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for slices in sizes:
            draw_archive(place / str(slices), slices)
        few, many = (
            judge(place / str(slices), place / "out", model, more * bool(workers))
            for slices in sizes
        )
        size = sum(x.stat().st_size for x in (place / "out").glob("0*/*.parquet"))
    return {
        "seconds": [few.seconds, many.seconds],
        "peak_mb": [few.peak_mb, many.peak_mb],
        "slices_per_second": (sizes[1] - sizes[0]) / (many.seconds - few.seconds),
        "bytes_a_slice": size / sizes[1],
    }


def driver(files: int) -> dict[str, Any]:
    """Measure the process that starts a run over so many files."""
    with tempfile.TemporaryDirectory() as name:
        folder, report = Path(name, "archive"), Path(name, "report.json")
        draw_small_archive(folder, files)
        bundle = Path(name, "bundle")
        bundle.mkdir()
        build_tiny_bundle(bundle)
        places = (folder, Path(name, "out"), bundle, report)
        found = run([sys.executable, "-m", "bench.archive", "--drive", *places])
        return {"seconds": found.seconds, **json.loads(report.read_text())}


if __name__ == "__main__":
    sys.exit(main())
