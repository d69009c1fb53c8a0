"""How long `tumorlens data audit` takes, beside decoding the same pictures alone.

    python -m bench.audit --pictures 7000 100000 --json docs/figures/audit.json

The pictures are drawn, not real: heads of 192 x 192 pixels, saved as JPEG, each
another. So many different heads as `--heads` says are drawn; the others are
turned, shifted and brightened versions of these, too far from one another to
be copies. One in a hundred is a mirrored, recompressed copy of another, and
has to be found.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.data.duplicates import copies, take_fingerprints
from tumorlens.data.manifest import Record
from tumorlens.taxonomy import TumorClass

SIZE = 192
COPY_EVERY = 100


def draw_head(seed: int) -> NDArray[np.uint8]:
    """Draw a head with structures of its own: shape (SIZE, SIZE), uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20, 230, (14, 14)).astype(np.float32)
    picture = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    outside = np.zeros((SIZE, SIZE), np.float32)
    axes = (round(SIZE * rng.uniform(0.33, 0.4)), round(SIZE * rng.uniform(0.4, 0.46)))
    cv2.ellipse(outside, (SIZE // 2, SIZE // 2), axes, 0, 0, 360, 1.0, -1)
    return np.clip(picture * outside, 0, 255).astype(np.uint8)


def draw_set(count: int, heads: int) -> Iterator[bytes]:
    """Encode pictures one by one; every `COPY_EVERY`-th is a copy of the last."""
    drawn = [draw_head(seed) for seed in range(min(heads, count))]
    rng = np.random.default_rng(0)
    last = drawn[0]
    for number in range(count):
        if number % COPY_EVERY == COPY_EVERY - 1:
            small = cv2.resize(last[:, ::-1], (160, 160), interpolation=cv2.INTER_AREA)
            yield encode(small, 60)
            continue
        head = drawn[number % len(drawn)]
        if number >= len(drawn):
            # Mixed with another, so that it is nobody's copy.
            other = drawn[int(rng.integers(len(drawn)))]
            turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), rng.uniform(8, 352), 1)
            turned = cv2.warpAffine(other, turn, (SIZE, SIZE))
            head = cv2.addWeighted(head, 0.5, turned, 0.5, 0.0).astype(np.uint8)
        last = head
        yield encode(head, 90)


def encode(picture: NDArray[np.uint8], quality: int) -> bytes:
    """Compress a picture as JPEG."""
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def main() -> None:
    """Print one line for each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, nargs="+", default=[7000])
    parser.add_argument("--heads", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", metavar="F", help="also write the figures to F")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    runs = []
    for count in options.pictures:
        with tempfile.TemporaryDirectory() as folder:
            records = []
            for number, data in enumerate(draw_set(count, options.heads)):
                path = Path(folder) / f"{number}.jpg"
                path.write_bytes(data)
                records.append(Record(path, TumorClass.GLIOMA, patient=str(number)))
            runs.append(measure(records, options.threads))
        report(runs[-1])
    if options.json:
        Path(options.json).write_text(json.dumps(runs, indent=2) + "\n")


def measure(records: list[Record], threads: int) -> dict[str, float]:
    """Time decoding alone, fingerprints, and the search for copies."""
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda r: cv2.imread(str(r.path), 0), records):
            pass
    decoding = time.perf_counter() - start
    start = time.perf_counter()
    prints, problems = take_fingerprints(records, threads=threads)
    reading = time.perf_counter() - start
    start = time.perf_counter()
    pairs = copies([item for item in prints if item is not None])
    searching = time.perf_counter() - start
    planted = {
        (number - 1, number)
        for number in range(COPY_EVERY - 1, len(records), COPY_EVERY)
    }
    found = {pair[:2] for pair in pairs}
    return {
        "pictures": len(records),
        "threads": threads,
        "decoding_seconds": decoding,
        "fingerprints_seconds": reading,
        "search_seconds": searching,
        "audit_seconds": reading + searching,
        "copies_planted": len(planted),
        "copies_found": len(planted & found),
        "other_pairs": len(found - planted),
        "unreadable": len(problems),
    }


def report(run: dict[str, float]) -> None:
    """Print what `measure` returned."""
    audit, decoding = run["audit_seconds"], run["decoding_seconds"]
    planted = f"{run['copies_found']:,} of {run['copies_planted']:,} found"
    print(f"pictures            {run['pictures']:,} drawn, {run['threads']} threads")
    print(f"decoding alone      {decoding:8.1f} s")
    print(f"fingerprints        {run['fingerprints_seconds']:8.1f} s")
    print(f"search for copies   {run['search_seconds']:8.1f} s")
    print(f"audit               {audit:8.1f} s, {audit / decoding:.1f} times decoding")
    print(f"per 1,000 pictures  {audit / run['pictures'] * 1000:8.2f} s")
    print(f"planted copies      {planted}")
    print(f"other pairs         {run['other_pairs']:,}")
    print(f"unreadable          {run['unreadable']:,}")


if __name__ == "__main__":
    main()
