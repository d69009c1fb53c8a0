"""Judge every image in a folder, and write one table.

    python examples/predict_folder.py FOLDER TABLE.csv

Research use only: TumorLens is not a medical device.
"""

import argparse
import csv
from pathlib import Path

import tumorlens

EXTENSIONS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm"}


def main() -> None:
    """Read the command line, judge the images and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("table", type=Path)
    options = parser.parse_args()
    files = sorted(
        path
        for path in options.folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and path.is_file()
    )
    classifier = tumorlens.load_classifier()
    failed = 0
    with options.table.open("w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "slice", "finding", "kinds", "p_tumor", "why"])
        # Files are read ahead while the network runs; memory stays constant.
        for result in classifier.predict_many(files):
            if isinstance(result, tumorlens.Failure):
                failed += 1
                rows.writerow([result.source, "", "failed", "", "", result.message])
                continue
            decision = result.decision
            # What was refused has no probability.
            p_tumor = "" if decision.p_tumor is None else f"{decision.p_tumor:.3f}"
            rows.writerow(
                [
                    result.source,
                    result.index,
                    decision.finding,
                    " ".join(decision.kinds),
                    p_tumor,
                    " ".join(decision.reasons),
                ]
            )
    print(f"{len(files)} files, {failed} failed: {options.table}")


if __name__ == "__main__":
    main()
