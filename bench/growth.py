"""Time and memory against size: slices of a series, files, clients, training slices.

    python -m bench.growth --json docs/figures/growth.json --plots docs/figures
    python -m bench.growth scan files --files 10 100 1000 10000 100000

Each size is one run of the command, as people run it. A straight line is fitted to
the times: its slope is what one more costs, and how far the last size lies from the
line says whether the cost grows faster. `bench.audit` does the same for audits.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.archive import draw_archive, judge
from bench.figures import machine, short
from bench.http import post
from bench.learning import draw_samples
from bench.pictures import write_heads
from bench.processes import Server, run, serve, tumorlens
from bench.scan import scan
from bench.volumes import write_volume
from tumorlens.errors import TumorLensError
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE

REQUESTS = 256
"""Requests of all clients together."""


@dataclass(frozen=True)
class Point:
    """What one size took.

    Parameters
    ----------
    size
        Number of slices, files, clients or samples.
    seconds
        Wall time; of clients the time that all requests together took.
    peak_mb
        Most resident memory, in megabytes (10^6 bytes).
    """

    size: int
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Curve:
    """Cost against size.

    Parameters
    ----------
    name
        Topic, which names the plot's file.
    title, axis
        What was run, and what is counted along the axis.
    points
        Points by rising size, at least two.
    """

    name: str
    title: str
    axis: str
    points: tuple[Point, ...]

    @property
    def line(self) -> tuple[float, float]:
        """Seconds before the first, and seconds of one more: a least-squares line."""
        sizes = np.array([point.size for point in self.points], float)
        seconds = np.array([point.seconds for point in self.points])
        # Large sizes must not drown small ones: deviations count as shares.
        design = np.stack([np.ones_like(sizes), sizes], axis=1) / seconds[:, None]
        start, each = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)[0]
        return float(start), float(each)

    @property
    def last_over_line(self) -> float:
        """Time of the largest size over what the line of the smaller ones foretells."""
        if len(self.points) < 3:
            return 1.0
        start, each = Curve("", "", "", self.points[:-1]).line
        last = self.points[-1]
        return last.seconds / (start + each * last.size)

    def to_json(self) -> dict[str, Any]:
        """Return the curve as a JSON object."""
        start, each = self.line
        return {
            **asdict(self),
            "seconds_before_the_first": start,
            "seconds_of_one_more": each,
            "last_over_line": self.last_over_line,
        }


Measure = Callable[[Path, int, Path], Point]


def scan_of(model: Path, slices: int, folder: Path) -> Point:
    """Run `tumorlens scan` on so many slices."""
    volume = write_volume(folder / f"{slices}.nii.gz", slices)
    done = scan(model, volume, folder)
    return Point(slices, done.seconds, done.peak_mb)


def predict_of(model: Path, files: int, folder: Path) -> Point:
    """Run `tumorlens predict` on so many files."""
    write_heads(folder / "heads", files)
    table = folder / "table.csv"
    done = run(
        [tumorlens(), "predict", folder / "heads", "--model", model, "--csv", table]
    )
    return Point(files, done.seconds, done.peak_mb)


def batch_of(model: Path, files: int, folder: Path) -> Point:
    """Run `tumorlens batch` on an archive of so many DICOM files."""
    draw_archive(folder / "archive", files)
    done = judge(folder / "archive", folder / "out", str(model), [])
    return Point(files, done.seconds, done.peak_mb)


def clients_of(model: Path, clients: int, folder: Path) -> Point:
    """Have so many clients send pictures to `tumorlens serve` at once."""
    data = write_heads(folder / "heads", 2)[1].read_bytes()
    limits = [f"--client-requests={clients}", f"--queue-length={max(1, clients)}"]
    with serve(tumorlens(), model, limits) as server:
        spent = _ask(server, data, clients)
        return Point(clients, spent, server.memory_mb(peak=True))


def _ask(server: Server, data: bytes, clients: int) -> float:
    share = max(1, REQUESTS // clients)

    def send(count: int) -> None:
        connection = server.connect()
        for _ in range(count):
            post(connection, data)
        connection.close()

    send(4)
    with ThreadPoolExecutor(clients) as pool:
        start = time.perf_counter()
        list(pool.map(send, [share] * clients))
        return time.perf_counter() - start


def training_of(model: Path, samples: int, folder: Path) -> Point:
    """Read so many training slices, in a process of its own."""
    command = [sys.executable, "-m", "bench.growth", "--read-samples", str(samples)]
    done = run(command)
    return Point(samples, done.seconds, done.peak_mb)


@dataclass(frozen=True)
class Topic:
    """What is run at several sizes.

    Parameters
    ----------
    measure
        Takes a bundle, a size and an empty folder.
    title, axis
        See `Curve`.
    sizes
        Sizes that are run by default.
    """

    measure: Measure
    title: str
    axis: str
    sizes: tuple[int, ...]


TOPICS = {
    "scan": Topic(
        scan_of, "tumorlens scan, start included", "slices", (10, 40, 160, 640, 2000)
    ),
    "predict": Topic(
        predict_of, "tumorlens predict, start included", "files", (10, 100, 1000, 4000)
    ),
    "files": Topic(
        batch_of, "tumorlens batch, start included", "files", (10, 100, 1000, 10000)
    ),
    "clients": Topic(
        clients_of,
        f"tumorlens serve: {REQUESTS} pictures of all clients together",
        "clients",
        (1, 2, 4, 8, 16, 32, 64),
    ),
    "training": Topic(
        training_of,
        "Reading of training slices, start included",
        "slices",
        (100, 1000, 4000),
    ),
}


def main() -> int:
    """Run each topic at each size, and print a line for each."""
    options = parse()
    if options.read_samples:
        draw_samples(options.read_samples)
        return 0
    model = Path(options.model).resolve()
    try:
        facts = machine(model)
        curves = list(measure_all(options, model))
    except (RuntimeError, TumorLensError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    if options.json:
        document = {"machine": facts, "curves": [curve.to_json() for curve in curves]}
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")
    if options.plots:
        for curve in curves:
            plot(curve, Path(options.plots) / f"growth-{curve.name}.png")
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m bench.growth", description=__doc__)
    parser.add_argument(
        "topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(TOPICS)}"
    )
    for name, topic in TOPICS.items():
        parser.add_argument(
            f"--{name}",
            type=int,
            nargs="+",
            default=topic.sizes,
            metavar="N",
            help=f"{topic.axis}, by default {' '.join(map(str, topic.sizes))}",
        )
    parser.add_argument("--model", default=DEFAULT_BUNDLE, metavar="DIR")
    parser.add_argument("--json", metavar="F", help="write the figures to F")
    parser.add_argument("--plots", metavar="DIR", help="draw a PNG for each topic")
    parser.add_argument("--read-samples", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.topics:
        if name not in TOPICS:
            parser.error(f"there is no topic {name!r}; give one of {', '.join(TOPICS)}")
    return options


def measure_all(options: argparse.Namespace, model: Path) -> Iterator[Curve]:
    """Measure the topics that were asked for; the others are left out."""
    for name in options.topics or TOPICS:
        topic = TOPICS[name]
        points = []
        for size in sorted(getattr(options, name)):
            with tempfile.TemporaryDirectory() as folder:
                points.append(topic.measure(model, size, Path(folder)))
            last = points[-1]
            print(
                f"{topic.title}, {size:,} {topic.axis}: {last.seconds:.2f} s, peak "
                f"{last.peak_mb:.0f} MB",
                flush=True,
            )
        yield Curve(name, topic.title, topic.axis, tuple(points))


def plot(curve: Curve, path: Path) -> None:
    """Draw time and memory against size, with the line through the times."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    sizes = [point.size for point in curve.points]
    start, each = curve.line
    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(8.0, 3.2), dpi=110)
    times.loglog(sizes, [point.seconds for point in curve.points], "o-")
    if curve.name != "clients":
        line = [start + each * size for size in sizes]
        label = f"{short(start)} s + {short(1000.0 * each)} ms each"
        times.loglog(sizes, line, "--", color="grey", label=label)
        times.legend(frameon=False, fontsize="small")
    times.set(title=curve.title, xlabel=curve.axis, ylabel="s")
    memory.semilogx(sizes, [point.peak_mb for point in curve.points], "o-")
    memory.set(xlabel=curve.axis, ylabel="MB, peak")
    memory.set_ylim(bottom=0)
    for axes in (times, memory):
        axes.set_xticks(sizes, _tick_labels(sizes))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.title.set_fontsize("medium")
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)


def _tick_labels(sizes: Sequence[int]) -> list[str]:
    return [f"{size:,}" for size in sizes]


if __name__ == "__main__":
    sys.exit(main())
