"""Feed damaged files of every format to the readers.

    python -m fuzz [--format NAME ...] [--count N] [--seed N] [--engine NAME]
    python -m fuzz --replay FILE

Each file has to end in slices or in an error of TumorLens's own, within 2 s and
200 MB. What does not is saved under fuzz/failures, and can be replayed. Two engines
make the files: `seeded` draws the damage, `guided` (atheris) looks for files that
reach new code. Exit status: 0 all kept the promises, 1 some did not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from fuzz.campaign import ROOT, Campaign, has_atheris, run_guided, run_seeded
from fuzz.judge import Judge, PromiseError
from fuzz.seeds import FORMATS, seeds_of

ENGINES = {"seeded": run_seeded, "guided": run_guided}


def main() -> int:
    """Run what the options ask for, and print a line for each format and engine."""
    options = parse()
    if options.replay:
        return replay(Path(options.replay))
    engines = [options.engine] if options.engine else list(ENGINES)
    if "guided" in engines and not has_atheris():
        engines.remove("guided")
        print("atheris is not installed (extra 'fuzz'): no guided files.")
    failures = 0
    for name in options.format or FORMATS:
        for engine in engines:
            start = time.monotonic()
            found = ENGINES[engine](name, options.count, options.seed)
            print(_line(found, time.monotonic() - start), flush=True)
            for path in found.failures:
                print(f"  {path.with_suffix('.txt').read_text().strip()}")
                print(f"  python -m fuzz --replay {path.relative_to(ROOT)}", flush=True)
            failures += len(found.failures)
    print(f"{failures} files broke a promise.")
    return int(failures > 0)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("--format", action="append", choices=FORMATS)
    parser.add_argument("--count", type=int, default=10_000, help="files of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=tuple(ENGINES))
    parser.add_argument("--replay", metavar="FILE", help="read one saved file")
    return parser.parse_args()


def replay(path: Path) -> int:
    """Read one file as the child does, and say how it ended."""
    judge = Judge([item for name in FORMATS for item in seeds_of(name)[:1]])
    try:
        print(judge.judge(path.read_bytes()))
    except PromiseError as fault:
        print(f"Broken: {fault}")
        return 1
    return 0


def _line(found: Campaign, seconds: float) -> str:
    seen = ", ".join(f"{name} {count}" for name, count in found.seen.most_common())
    told = f" ({seen})" if seen else ""
    return f"{found.name}: {found.files} files in {seconds:.0f} s{told}"


if __name__ == "__main__":
    sys.exit(main())
