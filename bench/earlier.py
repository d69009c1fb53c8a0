"""The commands `predict` and `scan` beside those of an earlier checkout, by turns.

    python -m bench.earlier CHECKOUT [--rounds N] [--limit RATIO] [--json F]

Both judge the same plain inputs with the bundle that the earlier checkout ships: a
JPEG, a PNG, a folder of DICOM slices and a NIfTI volume. Processor time is compared,
which other work on the machine changes little. Exit status: 0 where no input takes
more than `--limit` times as much, 1 where one does.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from bench.pictures import draw_head
from bench.processes import ROOT
from bench.volumes import write_volume
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE

_SLICES = 24
_MR = UID("1.2.840.10008.5.1.4.1.1.4")


def main() -> int:
    """Time each input by turns, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.earlier")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=float, default=1.1)
    parser.add_argument("--json", metavar="F", help="also write the figures to F")
    options = parser.parse_args()
    earlier = options.checkout.resolve()
    bundle = earlier / DEFAULT_BUNDLE.relative_to(ROOT)
    # An installed package has its bytecode; a start is not to compile it.
    for checkout in (earlier, ROOT):
        compileall.compile_dir(checkout / "src", quiet=1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for title, arguments in inputs(Path(name)).items():
            command = [*arguments, "--model", str(bundle)]
            spent: dict[Path, list[float]] = {earlier: [], ROOT: []}
            for turn in range(options.rounds + 1):
                for checkout, seconds in spent.items():
                    took = processor_seconds(checkout, command, Path(name))
                    if turn:  # Its code is read from the disk once.
                        seconds.append(took)
            before, now = (float(np.median(spent[x])) for x in (earlier, ROOT))
            rows.append(
                {
                    "input": title,
                    "earlier_s": before,
                    "now_s": now,
                    "ratio": now / before,
                }
            )
            print(
                f"{title}: {now:.2f} s, {before:.2f} s in the earlier checkout, "
                f"{now / before:.3f} times as much",
                flush=True,
            )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["ratio"] > options.limit for row in rows))


def inputs(folder: Path) -> dict[str, list[str]]:
    """Write plain inputs, and give the arguments that judge each."""
    for kind in ("jpg", "png"):
        cv2.imwrite(str(folder / f"head.{kind}"), draw_head())
    volume = write_volume(folder / "volume.nii.gz", _SLICES)
    series = folder / "series"
    series.mkdir()
    voxels = np.asarray(nibabel.load(volume).dataobj)
    uid = generate_uid()
    for number in range(_SLICES):
        pixels = np.ascontiguousarray(voxels[:, :, number].T[::-1]).astype(np.uint16)
        _slice(pixels, number, uid).save_as(series / f"{number:02d}.dcm")
    return {
        "predict, a JPEG": ["predict", str(folder / "head.jpg")],
        "predict, a PNG": ["predict", str(folder / "head.png")],
        f"predict, {_SLICES} DICOM slices": ["predict", str(series)],
        f"scan, {_SLICES} DICOM slices": ["scan", str(series)],
        f"scan, a NIfTI volume of {_SLICES}": ["scan", str(volume)],
    }


def _slice(pixels: np.ndarray, number: int, series: UID) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = _MR
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
    made.SeriesInstanceUID, made.SeriesNumber = series, 1
    made.Modality, made.InstanceNumber = "MR", number + 1
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.PixelSpacing = [0.9, 0.9]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.ImagePositionPatient = [-115.0, -115.0, 4.0 * number]
    made.PixelData = pixels.tobytes()
    return made


def processor_seconds(checkout: Path, command: list[str], folder: Path) -> float:
    """Run a command of a checkout, and measure its processor time.

    Raises
    ------
    RuntimeError
        Where it fails.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tumorlens", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{command[0]} of {checkout} failed.")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
