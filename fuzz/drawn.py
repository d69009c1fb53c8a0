"""Damaged files drawn by Hypothesis, which then makes what breaks a promise simple.

    python -m fuzz.drawn FORMAT COUNT SEED FAILURE

The simplest file that broke a promise goes to the path FAILURE. The one that is being
read lies at FAILURE-now, in case it ends the process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import NoReturn

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzz.judge import Judge, PromiseError
from fuzz.mutate import dressed, undressed
from fuzz.seeds import seeds_of

_HANG_SECONDS = 60.0
_LARGEST = 100_000
_HEADER = 1024

Change = tuple[str, int, bytes]


def main() -> NoReturn:
    """Read the files; end with 1 where one broke a promise."""
    name, count, number, failure = sys.argv[1:]
    seeds = [item for item in seeds_of(name) if len(item) <= _LARGEST]
    judge = Judge(seeds)
    plain = [undressed(name, item) for item in seeds]
    now = Path(f"{failure}-now")
    seen: Counter[str] = Counter()

    @seed(int(number))
    @settings(
        max_examples=int(count),
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(files_like(plain))
    def read(data: bytes) -> None:
        now.write_bytes(data)
        # Processor time; not caught, so that it ends a decoder too.
        signal.setitimer(signal.ITIMER_PROF, _HANG_SECONDS)
        whole = dressed(name, data)
        judge.start_anew()
        try:
            seen[judge.judge(whole)] += 1
        except PromiseError as fault:
            seen["fault"] += 1
            Path(failure).write_bytes(whole)
            Path(failure).with_suffix(".txt").write_text(f"{fault}\n")
            if "memory" in str(fault):
                # It has grown for good: a simpler file would look as bad.
                _finish(now, seen, 1)
            raise

    try:
        read()
    except PromiseError:
        _finish(now, seen, 1)
    _finish(now, seen, 0)


def _finish(now: Path, seen: Counter[str], status: int) -> NoReturn:
    """End here: what Hypothesis would do yet is slow, and tells nothing."""
    now.unlink(missing_ok=True)
    print(f"Seen {json.dumps(seen)}", file=sys.stderr)
    print(f"Done {seen.total()}", file=sys.stderr, flush=True)
    os._exit(status)


def files_like(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Draw one of the files with one to eight changes, cut off or not."""
    most = max(map(len, seeds))
    places = st.integers(0, _HEADER) | st.integers(0, most)
    change = st.tuples(
        st.sampled_from(("set", "insert", "cut")),
        places,
        st.binary(min_size=1, max_size=8),
    )
    changes = st.lists(change, min_size=1, max_size=8)
    return st.builds(_changed, st.sampled_from(seeds), changes, st.none() | places)


def _changed(data: bytes, changes: list[Change], end: int | None) -> bytes:
    found = bytearray(data)
    for kind, place, value in changes:
        at = min(place, len(found))
        if kind == "cut":
            del found[at : at + value[0]]
        else:
            found[at : at + (len(value) if kind == "set" else 0)] = value
    return bytes(found[:end])


if __name__ == "__main__":
    main()
