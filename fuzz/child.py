"""The process that reads damaged files: it may die, and then says at which.

    python -m fuzz.child FORMAT SEED START COUNT PROGRESS

Before each file its number goes into the file PROGRESS. A line of JSON is printed
for each file that breaks a promise, and one with the outcomes at the end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter

from fuzz.judge import Judge, PromiseError
from fuzz.mutate import damaged
from fuzz.seeds import seeds_of

_HANG_SECONDS = 20.0


def main() -> int:
    """Read the files; 1 once memory has grown too far to judge the next one."""
    name, seed, start, count, progress = sys.argv[1:]
    seeds = seeds_of(name)
    judge = Judge(seeds)
    seen: Counter[str] = Counter()
    at = os.open(progress, os.O_WRONLY)
    grew = False
    for index in range(int(start), int(count)):
        os.pwrite(at, index.to_bytes(8, "little"), 0)
        # Processor time; not caught, so that it ends a decoder too.
        signal.setitimer(signal.ITIMER_PROF, _HANG_SECONDS)
        try:
            seen[judge.judge(damaged(name, seeds, int(seed), index))] += 1
        except PromiseError as fault:
            print(json.dumps({"index": index, "fault": str(fault)}), flush=True)
            seen["fault"] += 1
            if grew := "memory" in str(fault):
                break
    print(json.dumps({"seen": seen}), flush=True)
    return int(grew)


if __name__ == "__main__":
    sys.exit(main())
