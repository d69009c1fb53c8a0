"""The log of a training run: CSV, JSON lines and TensorBoard."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter


class RunLog:
    """Writes one row for each epoch, in three forms.

    Parameters
    ----------
    folder
        Where ``log.csv``, ``log.jsonl`` and the events go.
    history
        Rows that a resumed run already has: the files are brought back to
        them, so that an epoch that is run again is not listed twice.
    """

    def __init__(self, folder: Path, history: list[dict[str, Any]]) -> None:
        self._csv = folder / "log.csv"
        self._jsonl = folder / "log.jsonl"
        self._events = SummaryWriter(str(folder / "tensorboard"))
        self._csv.unlink(missing_ok=True)
        self._jsonl.unlink(missing_ok=True)
        for row in history:
            self._append(row)

    def _append(self, row: dict[str, Any]) -> None:
        fresh = not self._csv.exists()
        with self._csv.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        with self._jsonl.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def write(self, row: dict[str, Any]) -> None:
        """Add the row of an epoch that is done."""
        self._append(row)
        for name, value in row.items():
            if isinstance(value, float):
                self._events.add_scalar(name, value, row["step"])
        self._events.flush()

    def close(self) -> None:
        """Close the event file."""
        self._events.close()
