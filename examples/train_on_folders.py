"""Train on your own folders: manifest, patients, split, training, evaluation, use.

    python examples/train_on_folders.py MY_DATA RUN [TRAIN OPTIONS ...]

MY_DATA has one folder for each class (docs/data.md). The text before the first
underscore of a file's name is taken as the patient, such as p017 in p017_03.png. Change
`patient_of` to fit your names: an evaluation is worthless where slices of one patient
are on both sides of the split.

Options of `tumorlens train` can follow, for example --epochs 5.

Research use only: TumorLens is not a medical device.
"""

import csv
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Run the commands one after the other."""
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    data, run, *options = sys.argv[1:]
    folder = Path(run)
    folder.mkdir(parents=True, exist_ok=True)
    manifest, split = folder / "data.csv", folder / "split.csv"
    bundle = folder / "training" / "bundle"

    tumorlens("data", "manifest", data, "--out", manifest)
    fill_patients(manifest)
    tumorlens("data", "split", manifest, "--out", split)
    tumorlens("train", "--data", split, "--out", folder / "training", *options)
    tumorlens(
        "evaluate", "--data", split, "--model", bundle, "--out", folder / "report"
    )
    print(f"Report: {folder / 'report' / 'report.html'}")
    print(f"Use it: tumorlens predict FILES --model {bundle}")


def patient_of(file: Path) -> str:
    """Name the patient of a file; the same patient always gets the same text."""
    return "my-data:" + file.name.split("_")[0]


def fill_patients(manifest: Path) -> None:
    """Fill the manifest's column ``patient`` where it is empty."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["patient"] = row["patient"] or patient_of(Path(row["file"]))
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def tumorlens(*arguments: str | Path) -> None:
    """Run one command, and stop with its exit status where it fails."""
    command = [sys.executable, "-m", "tumorlens", *map(str, arguments)]
    print("$ tumorlens", *command[3:])
    finished = subprocess.run(command, check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)


if __name__ == "__main__":
    main()
