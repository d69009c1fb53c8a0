"""Damaged files found by atheris, which looks at what code each of them reaches.

    python -m fuzz.guided FORMAT RUNS SEED FAILURE

The first file that breaks a promise goes to the path FAILURE, and ends the process.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["tumorlens.imaging", "nrrd", "nibabel", "PIL", "pydicom"]
):
    from fuzz.judge import Judge, PromiseError
    from fuzz.mutate import dressed, undressed
    from fuzz.seeds import seeds_of

_HANG_SECONDS = 60
_LARGEST = 100_000


def main() -> None:
    """Fuzz; libFuzzer ends the process itself."""
    name, runs, seed, failure = sys.argv[1:]
    seeds = [item for item in seeds_of(name) if len(item) <= _LARGEST]
    judge = Judge(seeds)

    def read(data: bytes) -> None:
        whole = dressed(name, data)
        try:
            judge.judge(whole)
        except PromiseError as fault:
            Path(failure).write_bytes(whole)
            Path(failure).with_suffix(".txt").write_text(f"{fault}\n")
            raise

    with tempfile.TemporaryDirectory() as corpus:
        for index, item in enumerate(seeds):
            Path(corpus, str(index)).write_bytes(undressed(name, item))
        atheris.Setup(
            [
                sys.argv[0],
                f"-atheris_runs={runs}",
                f"-seed={int(seed) + 1}",
                f"-timeout={_HANG_SECONDS}",
                "-rss_limit_mb=0",
                f"-max_len={_LARGEST}",
                f"-artifact_prefix={failure}-",
                corpus,
            ],
            read,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
