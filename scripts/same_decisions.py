"""Tell whether two states of the source tree decide bit by bit the same.

``record OUT.json`` judges pictures and whole series with the shipped bundle;
``compare A.json B.json`` names what differs. Only the public Python API and the
command line are used, so that modules may move between the two recordings::

    python scripts/same_decisions.py record before.json
    git switch redesign
    python scripts/same_decisions.py record after.json
    python scripts/same_decisions.py compare before.json after.json

Pictures come from the folder that TUMORLENS_DATA names, the same ones each time,
spread evenly over its sets and within each set; without it they are made of those that
the package ships.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np

import tumorlens
from tumorlens.cli.main import main as run_command

PICTURES, SCANS = 200, 6
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".bmp")
SCAN_ENDINGS = (".nii", ".nii.gz", ".nrrd")
# How long something took is no decision.
TIMES = ("ms", "seconds")


def find_pictures(data: Path, count: int) -> list[Path]:
    """Choose pictures of every set in a folder, the same ones each time.

    Parameters
    ----------
    data
        Holds a folder a set, each with a folder ``images``.
    count
        How many; fewer where the sets have fewer.
    """
    sets = [
        sorted(
            path for path in folder.iterdir() if path.suffix.lower() in PICTURE_ENDINGS
        )
        for folder in sorted(data.glob("*/images"))
    ]
    chosen = [spread(files, -(-count // len(sets))) for files in sets]
    return [path for files in chosen for path in files][:count]


def find_scans(data: Path, count: int) -> list[Path]:
    """Choose whole series in the folder ``volumes``, the same ones each time."""
    files = sorted(
        path
        for path in (data / "volumes").glob("*")
        if path.name.lower().endswith(SCAN_ENDINGS)
    )
    return spread(files, count)


def spread(files: Sequence[Path], count: int) -> list[Path]:
    """Take so many of a list, evenly from its beginning to its end."""
    if len(files) <= count:
        return list(files)
    return [files[round(place)] for place in np.linspace(0, len(files) - 1, count)]


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Write the slices that the package ships, darker each time round."""
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), _shipped_slice(number))
    return paths


def make_scans(folder: Path, count: int) -> list[Path]:
    """Write stacks of eight such slices as NIfTI."""
    paths = [folder / f"{number}.nii.gz" for number in range(count)]
    for number, path in enumerate(paths):
        voxels = np.repeat(_shipped_slice(number).T[:, :, None], 8, axis=2)
        image = nibabel.Nifti1Image(voxels, np.diag([-0.5, -0.5, 5.0, 1.0]))
        nibabel.save(image, path)
    return paths


def _shipped_slice(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    place = Path(tumorlens.__file__).parent / "web" / "static" / "examples"
    names = ("glioma", "no-tumour", "meningioma", "pituitary")
    grey = cv2.imread(str(place / f"{names[number % 4]}.jpg"), cv2.IMREAD_GRAYSCALE)
    return np.asarray(grey * 0.97 ** (number // 4), np.uint8)


def record_pictures(paths: Sequence[Path]) -> dict[str, Any]:
    """Judge pictures one by one through the Python API.

    Returns
    -------
    dict
        By the picture's path: digests of the probabilities and the maps, bit by
        bit, and the decision in words; for one that is refused, its error's code.
    """
    classifier = tumorlens.load_classifier(threads=1)
    found: dict[str, Any] = {}
    for path, result in zip(
        paths, classifier.predict_many(paths, batch=1), strict=True
    ):
        if isinstance(result, tumorlens.Failure):
            found[str(path)] = {"failure": result.code}
            continue
        decision, maps = result.decision, result.explanation
        # What the network gave, of pictures too that get no number.
        given = getattr(decision, "raw_probabilities", None) or decision.probabilities
        values = np.array(list(given.values()), np.float64)
        # Its name before and after the renaming of public names.
        label = decision.label if hasattr(decision, "label") else decision.decision
        found[str(path)] = {
            "probabilities": _digest(values),
            "decision": str(label.value),
            "evidence": _digest(maps.evidence),
            "gradcam": _digest(maps.gradcam),
        }
    return found


def record_command(command: str, paths: Sequence[Path]) -> dict[str, Any]:
    """Judge files with a command; return its JSON by file and place, without times.

    Parameters
    ----------
    command
        ``predict`` or ``scan``.
    paths
        Paths of files that it takes.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        names = [str(path) for path in paths]
        status = run_command([command, *names, "--threads", "1", "--json", str(out)])
        if status not in (0, 1):
            raise SystemExit(f"tumorlens {command} ended with {status}.")
        documents = json.loads(out.read_text(encoding="utf-8"))
    return {
        f"{place:04d} {document['file']}": {
            key: value for key, value in document.items() if key not in TIMES
        }
        for place, document in enumerate(documents)
    }


def _digest(values: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def record(out: Path, pictures: int, scans: int) -> None:
    """Judge pictures and series, and write what came out.

    Parameters
    ----------
    out
        The file to write.
    pictures, scans
        How many.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = os.environ.get("TUMORLENS_DATA")
        if place:
            files = find_pictures(Path(place), pictures)
            volumes = find_scans(Path(place), scans)
        else:
            files = make_pictures(Path(folder), pictures)
            volumes = make_scans(Path(folder), scans)
        found = {
            "api": record_pictures(files),
            "predict": record_command("predict", files) if files else {},
            "scan": record_command("scan", volumes) if volumes else {},
        }
        text = json.dumps(found, indent=1, sort_keys=True)
    # Made files lie elsewhere each time.
    out.write_text(text.replace(f"{folder}{os.sep}", "made/") + "\n", "utf-8")
    counts = ", ".join(f"{len(part)} by {name}" for name, part in found.items())
    print(f"Recorded {counts} in {out}.")


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401
    """Say line by line where two values of plain JSON differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            place = f"{path} > {key}" if path else str(key)
            if key not in after:
                yield f"{place}: gone"
            elif key not in before:
                yield f"{place}: new"
            else:
                yield from differences(before[key], after[key], place)
    elif before != after:
        yield f"{path}: {_short(before)} became {_short(after)}"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else text[:97] + "..."


def compare(first: Path, second: Path) -> int:
    """Print what differs between two recordings; return the exit status."""
    before, after = (
        json.loads(path.read_text(encoding="utf-8")) for path in (first, second)
    )
    lines = list(differences(before, after))
    for line in lines:
        print(line)
    counts = ", ".join(f"{len(part)} by {name}" for name, part in before.items())
    if lines:
        print(f"{len(lines)} differences in {counts}.")
        return 1
    print(f"Bit-equal: {counts}.")
    return 0


def main() -> int:
    """Read the command line and run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="judge, and write what came out")
    recording.add_argument("out", type=Path)
    recording.add_argument("--pictures", type=int, default=PICTURES)
    recording.add_argument("--scans", type=int, default=SCANS)
    comparing = commands.add_parser("compare", help="say what differs")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    given = parser.parse_args()
    if given.command == "compare":
        return compare(given.first, given.second)
    record(given.out, given.pictures, given.scans)
    return 0


if __name__ == "__main__":
    sys.exit(main())
