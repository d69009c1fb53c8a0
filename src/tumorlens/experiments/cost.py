"""Cost of a training run: time, hardware, and an estimate of the energy."""

from __future__ import annotations

import heapq
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tumorlens.inference.slice.session import available_cores, processor_facts

WATTS_A_CORE = 10.0
"""Power assumed of a busy processor core, its share of the machine included: a round
number, since most machines do not let a program measure it."""

_COST = "cost.json"
_LOG = "log.jsonl"


def earlier_seconds(folder: Path) -> float:
    """Reckon the time that a run had taken when it was stopped.

    The time is that of its last epoch's steps at their pace. What came after that epoch
    is not known, and a run that was stopped more than once has its pace of
    the last sitting.

    Parameters
    ----------
    folder
        Folder of the run; the time is 0 where it has logged no epoch.
    """
    try:
        last = (folder / _LOG).read_text(encoding="utf-8").splitlines()[-1]
        row = json.loads(last)
        return float(row["step"]) * float(row["seconds_per_step"])
    except (OSError, IndexError, ValueError, KeyError):
        return 0.0


def seconds_side_by_side(runs: Sequence[float], jobs: int) -> float:
    """Reckon how long runs take by the clock, several at the same time.

    Parameters
    ----------
    runs
        Seconds of each, in the order in which they begin: each when one of
        those before it has ended.
    jobs
        Number of runs at the same time.
    """
    ends = [0.0] * jobs
    for seconds in runs:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def note_cost(folder: Path, seconds: float) -> dict[str, Any]:
    """Keep what a finished run took, for its bundle.

    Parameters
    ----------
    folder
        Folder of the run; gets the file that `stored_cost` reads.
    seconds
        Time by the clock, from the first step to the last.

    Returns
    -------
    dict
        ``seconds``, ``device``, ``threads`` and, on a processor,
        ``watts_assumed``.
    """
    threads = available_cores()
    cost: dict[str, Any] = {"seconds": round(seconds, 1), "threads": threads}
    # As "gpu:0"; a graphics card's power cannot be guessed from its count.
    cards = [name for name in keras.distribution.list_devices() if "gpu" in name]
    if cards:
        cost["device"] = f"{len(cards)} GPU"
    else:
        cost["device"] = processor_facts().get("model name") or platform.machine()
        cost["watts_assumed"] = WATTS_A_CORE * threads
    (folder / _COST).write_text(json.dumps(cost) + "\n", encoding="utf-8")
    return cost


def stored_cost(folder: Path) -> dict[str, Any] | None:
    """Read what a run took; None where it has not come to its end."""
    try:
        cost = json.loads((folder / _COST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return cost if isinstance(cost, dict) else None
