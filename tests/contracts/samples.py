"""Drawn heads, and manifests of them, for the contracts alone.

Nothing of TumorLens is imported: its modules may move.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray

CLASSES = ("glioma", "meningioma", "pituitary", "no_tumor")
SPOTS = {"glioma": (90, 110, 22), "meningioma": (180, 90, 14)}
SPOTS["pituitary"] = (128, 170, 10)
SLICES = 16
EXAMPLES = Path(__file__).parents[2] / "src/tumorlens/web/static/examples"


def draw_head(seed: int, spot: tuple[int, int, int] | None) -> NDArray[np.uint8]:
    """Draw an axial slice of a head; a spot is column, row and radius."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((256, 256), np.float32)
    wide, high = rng.integers(84, 98), rng.integers(104, 116)
    cv2.ellipse(picture, (128, 128), (int(wide), int(high)), 0, 0, 360, 150.0, -1)
    inner = (int(wide) - 10, int(high) - 10)
    cv2.ellipse(picture, (128, 128), inner, 0, 0, 360, 90.0, -1)
    for _ in range(10):
        place = [int(value) for value in rng.integers(80, 176, 2)]
        size = [int(value) for value in rng.integers(6, 24, 2)]
        grey = float(rng.uniform(60, 130))
        cv2.ellipse(picture, place, size, rng.uniform(0, 180), 0, 360, grey, -1)
    texture = cv2.GaussianBlur(rng.normal(0, 60, picture.shape), (0, 0), 4)
    picture += np.where(picture > 0, texture, 0).astype(np.float32)
    if spot is not None:
        cv2.circle(picture, spot[:2], spot[2], 250.0, -1)
    picture = cv2.GaussianBlur(picture, (0, 0), 1.0)
    return np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


def save_picture(path: Path, seed: int = 0, label: str = "glioma") -> Path:
    """Write one slice as PNG."""
    cv2.imwrite(str(path), draw_head(seed, SPOTS.get(label)))
    return path


def save_volume(
    path: Path,
    seed: int = 0,
    label: str = "glioma",
    slices: int = SLICES,
    apart_mm: float = 5.0,
) -> Path:
    """Write axial slices as NIfTI: 1 mm pixels, a lesion in the middle."""
    middle = range(slices // 3, 2 * slices // 3)
    spot = SPOTS.get(label)
    drawn = [
        draw_head(1000 * seed + z, spot if z in middle else None) for z in range(slices)
    ]
    affine = np.diag([-1.0, -1.0, apart_mm, 1.0])
    affine[:2, 3] = 128.0
    voxels = np.transpose(np.stack(drawn).astype(np.uint16), (2, 1, 0))
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def save_example(path: Path, label: str = "glioma") -> Path:
    """Write a real slice of those that the package ships, which no model refuses."""
    name = {"no_tumor": "no-tumour"}.get(label, label)
    cv2.imwrite(str(path), cv2.imread(str(EXAMPLES / f"{name}.jpg"), 0))
    return path


def save_example_volume(path: Path, label: str = "glioma", slices: int = 8) -> Path:
    """Write the same real slice so many times, 5 mm apart, as NIfTI."""
    grey = cv2.imread(str(save_example(path.parent / "slice.png", label)), 0)
    voxels = np.repeat(grey.T[:, :, None].astype(np.uint16), slices, axis=2)
    pixel_mm = 230.0 / grey.shape[0]
    affine = np.diag([-pixel_mm, -pixel_mm, 5.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def save_blank(path: Path) -> Path:
    """Write a picture of nothing."""
    cv2.imwrite(str(path), np.zeros((200, 300), np.uint8))
    return path


def save_dark(path: Path) -> Path:
    """Write a scan of nothing."""
    voxels = np.zeros((128, 128, 8), np.uint16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    return path


def save_set(folder: Path, people: int = 16) -> Path:
    """Draw a slice of each of so many people; return the manifest."""
    rows = []
    for number in range(people):
        label = CLASSES[number % 4]
        save_picture(folder / f"{number}.png", number, label)
        mask = ""
        if label in SPOTS:
            outline = np.zeros((256, 256), np.uint8)
            cv2.circle(outline, SPOTS[label][:2], SPOTS[label][2], 255, -1)
            mask = f"{number}-mask.png"
            cv2.imwrite(str(folder / mask), outline)
        # Every split and fold has every class.
        split = ("train", "train", "validation", "test")[number // 4 % 4]
        rows.append(
            {
                "file": f"{number}.png",
                "label": label,
                "patient": f"p{number}",
                "mask": mask,
                "split": split,
                "fold": number // 4 % 2,
                "source": "drawn",
                "site": "ab"[number // 4 % 2],
            }
        )
    return write_rows(folder / "manifest.csv", rows)


def save_scan_set(folder: Path, people: int = 6) -> Path:
    """Draw a whole scan of each of so many people; return the manifest."""
    rows = []
    for number in range(people):
        label = "glioma" if number % 2 == 0 else "no_tumor"
        save_volume(folder / f"{number}.nii.gz", number, label)
        rows.append(
            {
                "file": f"{number}.nii.gz",
                "label": label,
                "patient": f"p{number}",
                "split": "test",
                "source": "drawn",
            }
        )
    return write_rows(folder / "volumes.csv", rows)


def save_clinical(folder: Path, people: int = 24) -> tuple[Path, Path]:
    """Draw patients with an age and a sex; return the manifest and the table."""
    rng = np.random.default_rng(5)
    ages = {"glioma": 38.0, "meningioma": 66.0, "no_tumor": 51.0}
    rows, values = [], []
    for number in range(people):
        label = list(ages)[number % 3]
        save_picture(folder / f"{number}.png", number, label)
        patient = f"p{number}"
        rows.append({"file": f"{number}.png", "label": label, "patient": patient})
        rows[-1]["split"] = "validation"
        values.append(
            {
                "patient": patient,
                "file": f"{number}.png",
                "age": f"{rng.normal(ages[label], 6.0):.1f}",
                "sex": "FM"[number // 3 % 2],
            }
        )
    table = write_rows(folder / "table.csv", values)
    return write_rows(folder / "manifest.csv", rows), table


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def save_cheng(folder: Path, slices: int = 12) -> Path:
    """Lay out drawn slices of one patient as Cheng et al. do; return `folder`."""
    place = folder / "cheng"
    for name in ("images", "masks"):
        (place / name).mkdir(parents=True)
    rows = []
    for number in range(slices):
        save_picture(place / "images" / f"{number}.jpg", number)
        save_picture(place / "masks" / f"{number}.png", number)
        row = {"id": number, "class": "glioma", "patient": "1", "record": "1"}
        rows.append(row | {"plane": "axial"})
    write_rows(place / "cheng.csv", rows)
    return folder


def save_stack_of_slices(folder: Path, patients: int = 2) -> Path:
    """Draw the axial slices of patients, from the feet up; return the manifest."""
    rows = []
    for patient in range(patients):
        for place in range(10):
            label = "glioma" if place in (4, 5) else "no_tumor"
            name = f"{patient}-{place}.png"
            save_picture(folder / name, 100 * patient + place, label)
            row = {"file": name, "label": label, "patient": f"p{patient}"}
            rows.append(row | {"source": "drawn", "plane": "axial", "slice": place})
    return write_rows(folder / "slices.csv", rows)


def save_stacks(
    folder: Path, bundle: Path, patients: int = 8
) -> tuple[Path, Path, Path]:
    """Draw stacks of slices; return their list, a manifest, and folds of a bundle."""
    slices, rows = [], []
    for number in range(patients):
        label = "glioma" if number % 2 == 0 else "no_tumor"
        for place in range(5):
            lesion = label == "glioma" and 1 <= place <= 3
            name = f"{number}-{place}.png"
            shown = label if lesion else "no_tumor"
            save_picture(folder / name, 10 * number + place, shown)
            mask = ""
            if lesion:
                outline = np.zeros((256, 256), np.uint8)
                cv2.circle(outline, SPOTS[label][:2], SPOTS[label][2], 255, -1)
                mask = f"{number}-{place}-mask.png"
                cv2.imwrite(str(folder / mask), outline)
            patient = f"p{number}"
            row = {"scan": patient, "label": label, "patient": patient}
            slices.append(
                row | {"source": "drawn", "file": name, "slice": place, "mask": mask}
            )
            fold = number // 2 % 2
            rows.append(
                {"file": name, "label": shown, "patient": patient, "fold": fold}
            )
    for fold in (0, 1):
        shutil.copytree(bundle, folder / "folds" / f"fold{fold}" / "bundle")
    scans = write_rows(folder / "scans.csv", [row | {"gap_mm": ""} for row in slices])
    return scans, write_rows(folder / "folds.csv", rows), folder / "folds"
