"""What was tried to be quicker, each way beside the other in one process.

python -m bench.choices --json docs/figures/choices.json

The faster way is used where its result is the same; else the last column says why not.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from bench.bare import bare_forward
from bench.figures import Amount, machine
from bench.pictures import draw_head
from bench.timing import by_turns
from tumorlens.imaging.preprocess.slice import cut, find_head
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.report.slice.overlay import (
    grey_map,
    heat_layer,
    lay_heat_over,
    lay_over,
    window_picture,
)

_ROUNDS = 60
_SLICES = 160


@dataclass(frozen=True)
class Choice:
    """Two ways to do the same.

    Parameters
    ----------
    what
        What is done.
    before, after
        The older way and the newer one, in words, then the calls.
    verdict
        Which is used, and why.
    """

    what: str
    before: tuple[str, Callable[[], object]]
    after: tuple[str, Callable[[], object]]
    verdict: str


def choices(model: Path) -> Iterator[Choice]:
    """List the choices, on a drawn head of 512 x 512 pixels."""
    classifier = load_classifier(model)
    found = classifier.predict(draw_head())
    assert isinstance(found, Prediction)
    yield from reading(classifier.bundle.preprocessing.size, found)
    yield from drawing(found)
    yield from passes(model, classifier.bundle.preprocessing.size)


def reading(size: int, found: Prediction) -> Iterator[Choice]:
    """Decode a file and crop the head."""
    jpeg, png = (encode(suffix, draw_head()) for suffix in (".jpg", ".png"))
    for title, data, opener in (
        ("JPEG", jpeg, JpegImageFile),
        ("PNG", png, PngImageFile),
    ):
        yield Choice(
            f"Decode a {title}",
            ("Pillow", partial(pillow, opener, data)),
            ("OpenCV", partial(opencv, data, cv2.IMREAD_GRAYSCALE)),
            "Pillow, whose checks of broken files are tested",
        )
    yield Choice(
        "Decode a JPEG for an input of 224 pixels",
        ("whole", partial(opencv, jpeg, cv2.IMREAD_GRAYSCALE)),
        ("at half its size", partial(opencv, jpeg, cv2.IMREAD_REDUCED_GRAYSCALE_2)),
        "whole: unpacking the bits takes most of the time",
    )
    grey = draw_head()
    crop = find_head(found.pixels, load_classifier().bundle.preprocessing)
    yield Choice(
        "Shrink the crop",
        ("floats", lambda: cut(found.pixels, crop, size)),
        ("bytes", lambda: cut(grey, crop, size)),
        "floats: the input stays the same",
    )


def drawing(found: Prediction) -> Iterator[Choice]:
    """Draw and pack what is written for people."""
    grey = window_picture(found.pixels)
    heat = grey_map(found.explanation.evidence)
    overlay = lay_heat_over(grey, heat)
    yield Choice(
        "Lay evidence over the picture",
        ("mix each pixel", lambda: lay_over(grey, heat_layer(heat))),
        ("look each pixel up", lambda: lay_heat_over(grey, heat)),
        "looked up: same bits",
    )
    for title, picture in (("an overlay", overlay), ("a map", heat)):
        full = [cv2.IMWRITE_PNG_COMPRESSION, 4]
        quick = [cv2.IMWRITE_PNG_COMPRESSION, 1]
        quick += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
        sizes = [len(encode(".png", picture, options)) for options in (full, quick)]
        yield Choice(
            f"Write {title} as PNG",
            (
                f"level 4, {kilobytes(sizes[0])}",
                partial(encode, ".png", picture, full),
            ),
            (
                f"level 1, one filter, {kilobytes(sizes[1])}",
                partial(encode, ".png", picture, quick),
            ),
            "level 1: same pixels",
        )
    stack = np.stack([heat[::2, ::2]] * _SLICES).tobytes()
    levels = {level: len(gzip.compress(stack, level)) for level in (4, 2)}
    yield Choice(
        f"Pack the evidence of {_SLICES} slices",
        (f"level 4, {kilobytes(levels[4])}", lambda: gzip.compress(stack, 4)),
        (f"level 2, {kilobytes(levels[2])}", lambda: gzip.compress(stack, 2)),
        "level 2",
    )


def passes(model: Path, size: int) -> Iterator[Choice]:
    """Run the network on eight slices with two threads."""
    rng = np.random.default_rng(0)
    inputs = rng.random((8, size, size, 3), np.float32)
    shared, single = bare_forward(model, 2), bare_forward(model, 1)
    pool = ThreadPoolExecutor(2)

    def side_by_side(batch: int) -> None:
        parts = [inputs[start : start + batch] for start in range(0, 8, batch)]
        list(pool.map(single, parts))

    yield Choice(
        "Run the network on 8 slices, 2 threads",
        (
            "2 threads share each pass of 4",
            lambda: [shared(inputs[:4]), shared(inputs[4:])],
        ),
        ("each has passes of 4 of its own", lambda: side_by_side(4)),
        "side by side: the rest of the work fills the gaps",
    )
    yield Choice(
        "Run the network side by side",
        ("passes of 4", lambda: side_by_side(4)),
        ("passes of 1", lambda: side_by_side(1)),
        "as `--batch` says",
    )


def encode(
    suffix: str, picture: NDArray[np.uint8], options: list[int] | None = None
) -> bytes:
    """Compress a picture."""
    return bytes(cv2.imencode(suffix, picture, options or [])[1])


def pillow(opener: Callable[[io.BytesIO], Any], data: bytes) -> NDArray[Any]:
    """Decode by Pillow."""
    with opener(io.BytesIO(data)) as image:
        return np.asarray(image)


def opencv(data: bytes, flags: int) -> NDArray[Any]:
    """Decode by OpenCV."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def kilobytes(size: int) -> str:
    """Write a size."""
    return f"{size / 1000:.0f} KB"


def measure(choice: Choice) -> dict[str, Any]:
    """Time both ways by turns; return what the documents say of it."""
    before, after = by_turns([choice.before[1], choice.after[1]], _ROUNDS, 3)
    return {
        "what": choice.what,
        "before": choice.before[0],
        "before_ms": vars(before),
        "after": choice.after[0],
        "after_ms": vars(after),
        "verdict": choice.verdict,
    }


def main() -> int:
    """Print a line for each choice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(DEFAULT_BUNDLE), metavar="DIR")
    parser.add_argument("--json", metavar="F", help="also write the figures to F")
    options = parser.parse_args()
    facts = machine(Path(options.model))
    rows = []
    for choice in choices(Path(options.model)):
        rows.append(row := measure(choice))
        ways = (f"{row[way]}: {Amount(**row[f'{way}_ms'])}" for way in WAYS)
        print(f"{row['what']}: {'; '.join(ways)}. Used: {row['verdict']}", flush=True)
    if options.json:
        document = {"machine": facts, "choices": rows}
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")
    return 0


WAYS = ("before", "after")

if __name__ == "__main__":
    sys.exit(main())
