"""Feed damaged files of every format to the readers.

    python -m fuzz [--format NAME ...] [--count N] [--seed N] [--engine NAME]
                   [--jobs N] [--json FILE]
    python -m fuzz --replay FILE

Each file has to end in slices or in an error of TumorLens's own, within 2 s and
200 MB. What does not is saved under fuzz/failures, and can be replayed. Three engines
make the files: `seeded` draws the damage, `drawn` (Hypothesis) also simplifies what
it finds, `guided` (atheris) looks for files that reach new code. A table at the end
says what came of them; with --json it is kept, and a run that was stopped goes on
after what stands in that file. Exit status: 0 all kept the promises, 1 some did not.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from fuzz.campaign import Campaign, has_atheris, run_drawn, run_guided, run_seeded
from fuzz.judge import Judge, PromiseError
from fuzz.seeds import FORMATS, seeds_of
from fuzz.table import ROOT, Run, load, save, table

ENGINES: dict[str, Callable[[str, int, int], Campaign]] = {
    "seeded": run_seeded,
    "drawn": run_drawn,
    "guided": run_guided,
}


def main() -> int:
    """Run what the options ask for, and print what came of each."""
    options = parse()
    if options.replay:
        return replay(Path(options.replay))
    engines = [options.engine] if options.engine else list(ENGINES)
    if "guided" in engines and not has_atheris():
        engines.remove("guided")
        print("atheris is not installed (extra 'fuzz'): no guided files.")
    wanted = [
        (name, engine) for name in options.format or FORMATS for engine in engines
    ]
    kept = Path(options.json) if options.json else None
    done = {} if kept is None else _kept(kept, options)
    if done:
        print(f"{len(done)} runs stand in {kept} already.")
    waiting = [item for item in wanted if item not in done]
    with ThreadPoolExecutor(options.jobs) as pool:
        running = [pool.submit(_run, *item, options) for item in waiting]
        try:
            for future in as_completed(running):
                run = future.result()
                done[run.format, run.engine] = run
                _tell(run)
                if kept is not None:
                    save(kept, options.count, options.seed, done.values())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    print(table(done[item] for item in wanted))
    failures = sum(len(done[item].failures) for item in wanted)
    print(f"{failures} files broke a promise.")
    return int(failures > 0)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("--format", action="append", choices=FORMATS)
    parser.add_argument(
        "--count", type=int, default=10_000, help="files of each format and engine"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=tuple(ENGINES))
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time"
    )
    parser.add_argument("--json", metavar="FILE", help="keep the table; go on from it")
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


def _run(name: str, engine: str, options: argparse.Namespace) -> Run:
    start = time.monotonic()
    found = ENGINES[engine](name, options.count, options.seed)
    return Run.of(found, time.monotonic() - start)


def _kept(path: Path, options: argparse.Namespace) -> dict[tuple[str, str], Run]:
    runs = load(path, options.count, options.seed)
    return {(run.format, run.engine): run for run in runs}


def _tell(run: Run) -> None:
    print(run.line(), flush=True)
    for name in run.failures:
        print(f"  {(ROOT / name).with_suffix('.txt').read_text().strip()}")
        print(f"  python -m fuzz --replay {name}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
