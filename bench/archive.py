"""Memory, rate and cost of `tumorlens batch`, on a few and on many drawn slices.

    python -m bench.archive --slices 1000 5000 --json runs/archive.json

Each slice is a DICOM file of 256 x 256 pixels, forty to a series, spread over
folders that have nothing to do with the series. The files of a series share their
pixels, which changes nothing in what is read or judged. With `--workers`, the larger
archive is judged again on Ray clusters of so many workers.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from bench.figures import machine
from bench.processes import Run, run, tumorlens
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE

SIDE = 256
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
    parser.add_argument("--model", default=str(DEFAULT_BUNDLE))
    parser.add_argument("--json", metavar="F", help="also write the figures to F")
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for slices in options.slices:
            draw_archive(place / str(slices), slices)
            found = judge(place / str(slices), place / "out", options.model, [])
            runs.append((slices, 0, found))
            size = sum(x.stat().st_size for x in (place / "out").glob("0*/*.parquet"))
            say(slices, 0, found, f", {size / slices:.0f} bytes of Parquet a slice")
        for workers in options.workers:
            more = ["--address", "local", "--workers", str(workers), "--threads", "1"]
            slices = options.slices[1]
            found = judge(place / str(slices), place / "out", options.model, more)
            runs.append((slices, workers, found))
            say(slices, workers, found, "")
    few, many = runs[0][2], runs[1][2]
    ratio = many.peak_mb / few.peak_mb
    going = (options.slices[1] - options.slices[0]) / (many.seconds - few.seconds)
    print(
        f"memory: {ratio:.2f} times at {options.slices[1] / options.slices[0]:.0f} "
        f"times the slices; rate without the start: {going:.1f} slices/s"
    )
    if options.json:
        document = {
            "machine": machine(Path(options.model)),
            "memory_ratio": ratio,
            "slices_per_second": going,
            "runs": [
                {
                    "slices": slices,
                    "ray_workers": workers,
                    "seconds": found.seconds,
                    "peak_mb": found.peak_mb,
                }
                for slices, workers, found in runs
            ],
        }
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")


def say(slices: int, workers: int, found: Run, more: str) -> None:
    """Print one run."""
    where = f"{workers} Ray workers" if workers else "this process"
    print(
        f"{slices} slices, {where}: {found.seconds:.1f} s, peak "
        f"{found.peak_mb:.0f} MB{more}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
