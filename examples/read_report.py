"""Summarise the JSON of `tumorlens predict --json` or `tumorlens scan --json`.

    tumorlens predict folder/ --json - | python examples/read_report.py -
    python examples/read_report.py result.json

The script needs nothing but Python: the documents state their schema, and their keys
keep their names from one release to the next.

Research use only: TumorLens is not a medical device.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

SCHEMAS = {"tumorlens-prediction/1": "slice", "tumorlens-scan/1": "series"}


def main() -> None:
    """Read the documents and print a line for each, then the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", help="a file, or - for standard input")
    options = parser.parse_args()
    text = (
        sys.stdin.read()
        if options.report == "-"
        else Path(options.report).read_text(encoding="utf-8")
    )
    counts: Counter[str] = Counter()
    for document in json.loads(text):
        counts[describe(document)] += 1
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))


def describe(document: dict[str, Any]) -> str:
    """Print one document's line; return its finding, or ``failed``."""
    kind = SCHEMAS.get(document["schema"])
    if kind is None:
        raise SystemExit(f"This script does not know {document['schema']!r}.")
    name = document["file"]
    if document["status"] != "ok":
        print(f"{name}: {document['message']} {document['mend']}".rstrip())
        return "failed"
    line = f"{name}, {kind}: {document['headline']}"
    # What was refused has no probability.
    if document["p_tumor"] is not None:
        line += f", probability of a tumour {document['p_tumor']:.2f}"
    print(" ".join([line + ".", *document["reasons"]]))
    finding: str = document["finding"]
    return finding


if __name__ == "__main__":
    main()
