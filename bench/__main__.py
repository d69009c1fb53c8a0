"""Measure, and print one table.

python -m bench [TOPIC ...] [--model DIR] [--json F] [--with-train] [--requests N]
"""

from __future__ import annotations

import argparse
import compileall
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

from bench.figures import Figure, Measure, machine, show
from bench.processes import ROOT
from tumorlens.errors import TumorLensError
from tumorlens.inference.bundle.bundle import DEFAULT_BUNDLE

TOPICS = ("pipeline", "batch", "scan", "http", "viewer", "install", "learning")
PROGRAMS = ("archive", "audit", "choices", "growth")
"""Topics that are programs of their own, and print lines."""
ON_REQUEST = (*PROGRAMS, "overload")
REQUESTS = 10_000


def main() -> int:
    """Measure the topics one after the other and print one table."""
    options = parse()
    model = Path(options.model).resolve()
    try:
        facts = machine(model)
    except TumorLensError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    # An installed package has its bytecode; a start is not to compile it.
    compileall.compile_dir(ROOT / "src", quiet=1)
    groups: list[tuple[str, list[Figure]]] = []
    notes: list[str] = []
    for topic in options.topics or TOPICS:
        say(f"{topic} ...")
        groups.append((topic, []))
        for found in collect(topic, model, options):
            if isinstance(found, Figure):
                groups[-1][1].append(found)
                say(f"  {found.name}: {found.ours}")
            else:
                notes.append(found)
                say(f"  {found}")
    print(
        f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, "
        f"{facts['model']}, load before: {facts['load_before']}"
    )
    show([(topic, figures) for topic, figures in groups if figures])
    print("\n".join(notes))
    if options.json:
        document = {
            "machine": facts,
            "figures": [
                {"topic": topic, **figure.to_json()}
                for topic, figures in groups
                for figure in figures
            ],
            "notes": notes,
        }
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    known = (*TOPICS, *ON_REQUEST)
    parser = argparse.ArgumentParser(
        "python -m bench", description="Measure speed, memory and size; one table."
    )
    parser.add_argument(
        "topics",
        nargs="*",
        metavar="TOPIC",
        help=f"of {', '.join(known)}; by default all but {', '.join(ON_REQUEST)}",
    )
    parser.add_argument(
        "--model", metavar="DIR", default=DEFAULT_BUNDLE, help="another bundle"
    )
    parser.add_argument("--json", metavar="F", help="also write all figures to F")
    parser.add_argument(
        "--with-train",
        action="store_true",
        help="install: also measure the size with the train extra (slow)",
    )
    parser.add_argument(
        "--requests",
        type=int,
        default=REQUESTS,
        metavar="N",
        help=f"overload: requests over which memory is watched ({REQUESTS:,})",
    )
    options = parser.parse_args()
    for topic in options.topics:
        if topic not in known:
            parser.error(f"there is no topic {topic!r}; give one of {', '.join(known)}")
    return options


def collect(
    topic: str, model: Path, options: argparse.Namespace
) -> Iterator[Figure | str]:
    """Measure one topic; what cannot be measured becomes a sentence."""
    if topic in PROGRAMS:
        command = [sys.executable, "-m", f"bench.{topic}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        yield from (done.stdout if done.returncode == 0 else done.stderr).splitlines()
        return
    measure: Measure = import_module(f"bench.{topic}").measure
    if topic == "install":
        measure = partial(measure, with_train=options.with_train)
    if topic == "overload":
        measure = partial(measure, requests=options.requests)
    try:
        yield from measure(model)
    except (RuntimeError, OSError, subprocess.SubprocessError, TumorLensError) as error:
        yield f"{topic} stopped: {error}"


def say(text: str) -> None:
    """Tell how far the bench is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
