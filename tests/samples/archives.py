"""Drawn archives: pictures, series over several folders, files that are broken."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2

from tests.conftest import draw_phantom
from tests.samples.dicom_studies import write_series
from tests.samples.zips import pack

UNTIMED = ("ms",)
"""Columns that are another in every run."""


def draw_pictures(folder: Path, count: int) -> Path:
    """Draw heads, every second one with a lesion."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        lesion = (90, 110, 20) if number % 2 else None
        picture = draw_phantom(128, 128, lesion=lesion and (45, 55, 10), seed=number)
        cv2.imwrite(str(folder / f"{number:04d}.png"), picture)
    return folder


def draw_archive(folder: Path) -> Path:
    """Draw an archive of everything that a run meets.

    Three pictures, an empty file and a text; a series of five slices, of which one
    lies in another folder and one is there twice; a series of two; an archive of two
    pictures.
    """
    pictures = draw_pictures(folder / "pictures", 3)
    (pictures / "broken.png").write_bytes(b"")
    (pictures / "notes.txt").write_text("no picture")
    series = write_series(folder / "series", slices=5)
    (folder / "far").mkdir()
    shutil.move(series[2], folder / "far" / "third")
    shutil.copy(series[3], folder / "series" / "fourth-again.dcm")
    write_series(folder / "short", slices=2)
    members = [(path.name, path.read_bytes()) for path in sorted(pictures.glob("0*"))]
    (folder / "packed.zip").write_bytes(pack(*members[:2]))
    return folder


def archive_rows(folder: Path) -> list[dict[str, Any]]:
    """Read all rows of a run, in the order of its parts, without their times."""
    import pyarrow.dataset as ds

    files = sorted(str(path) for path in folder.glob("0*/*.parquet"))
    table = ds.dataset(files).to_table().drop_columns(list(UNTIMED))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def part_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Tell each part's inode and time, which change when it is written again."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.glob("0*/*.parquet")
    }
