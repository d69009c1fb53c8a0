"""Validates a model by a protocol on two hospitals of TCGA-LGG, with clinical columns.

    python examples/validation/validate_lgg.py DATA OUT --model BUNDLE

DATA holds the folders `lgg` (lgg.csv, images, masks) and `lgg_sequences`
(lgg_clinical.csv). BUNDLE is of a model that left hospitals CS and FG out of training;
the report says so where it did not. Research use only.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

PROTOCOL = Path(__file__).with_name("protocol.toml")
# Codes of the source; what they mean is told by the collection's papers.
WORDS = {
    "sex": ("gender", {"1": "female", "2": "male"}),
    "grade": ("neoplasm_histologic_grade", {"1": "II", "2": "III"}),
    "side": ("laterality", {"1": "left", "3": "right"}),
}


def tumorlens(*arguments: object) -> None:
    """Run a command as on the command line; end with it where it fails."""
    call = [sys.executable, "-m", "tumorlens", *map(str, arguments)]
    print("$ tumorlens", *arguments, flush=True)
    if status := subprocess.run(call, check=False).returncode:
        sys.exit(status)


def write_columns(clinical: Path, path: Path) -> None:
    """Write age, sex, grade and side by patient, in words."""
    with clinical.open(newline="") as source, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("patient", "age", *WORDS))
        for row in csv.DictReader(source):
            words = [codes.get(row[name], "") for name, codes in WORDS.values()]
            writer.writerow((row["patient"], row["age_at_initial_pathologic"], *words))


def write_site(manifest: Path, site: str, path: Path) -> None:
    """Write the rows of one hospital; each has only its own."""
    with manifest.open(newline="") as source, path.open("w", newline="") as file:
        reader = csv.DictReader(source)
        writer = csv.DictWriter(file, reader.fieldnames or ())
        writer.writeheader()
        writer.writerows(row for row in reader if row["site"] == site)


def main() -> None:
    """Prepare what a hospital would have, then count, merge and decide."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--protocol", type=Path, default=PROTOCOL)
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    everything, columns = out / "lgg.csv", out / "columns.csv"
    write_columns(given.data / "lgg_sequences" / "lgg_clinical.csv", columns)
    tumorlens("data", "manifest", given.data, "--set", "lgg", "--out", everything)
    tumorlens("validate", "check", "--protocol", given.protocol)
    model = () if given.model is None else ("--model", given.model)
    counts = []
    for site in ("CS", "FG"):
        rows, sent = out / f"{site}.csv", out / f"{site}.json"
        write_site(everything, site, rows)
        told = ("--protocol", given.protocol, "--name", site, "--data", rows)
        told += ("--columns", columns, *model, "--json", sent)
        tumorlens("validate", "site", *told)
        counts.append(sent)
    told = ("--protocol", given.protocol, *counts, "--out", out / "report")
    tumorlens("validate", "merge", *told)


if __name__ == "__main__":
    main()
