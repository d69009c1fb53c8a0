"""Print how the source tree is cut, as a table in Markdown.

``python scripts/house.py`` prints the table, ``--list`` also the files behind its
figures. The tree
is walked, and no module of it is named here, so that the table can be printed again
after modules have moved.

What the figures mean:

- The fullest folder is the one with the most Python files, ``__init__.py`` not counted.
- A crumb is a file of fewer than 110 lines, no ``__init__.py``, which exactly one other
  file of the package imports, wherever in that file the import stands.
- A file is entered by a command if one of its functions is called while the command
  runs, in any thread of its process. What runs because a module is imported meanwhile
  does not count: whether an import is early or late says nothing about a reader's way.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "tumorlens"
CRUMB_LINES = 110
CONTRIBUTOR_FILES = (
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
    "CITATION.cff",
    ".pre-commit-config.yaml",
    "mkdocs.yml",
    "examples",
)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    title, value
        Texts of the first two cells.
    asked
        What the figure is to be.
    names
        The files or folders behind it.
    """

    title: str
    value: str
    asked: str
    names: tuple[str, ...] = ()


def source_files(package: Path = PACKAGE) -> list[Path]:
    """List every Python file of the package, in order."""
    return sorted(package.rglob("*.py"))


def line_count(package: Path = PACKAGE) -> int:
    """Count the lines of all Python files of the package, empty ones too."""
    return sum(
        len(path.read_text("utf-8").splitlines()) for path in source_files(package)
    )


def fullest_folders(package: Path = PACKAGE) -> list[tuple[int, str]]:
    """Count the Python files of each folder, the fullest first."""
    counts = Counter(
        path.parent for path in source_files(package) if path.name != "__init__.py"
    )
    return [
        (count, f"{folder.relative_to(package.parent)}/")
        for folder, count in counts.most_common()
    ]


def importers(package: Path = PACKAGE) -> dict[Path, set[Path]]:
    """Say for each file of the package which of the others import it."""
    files = {_module_name(path, package): path for path in source_files(package)}
    found: dict[Path, set[Path]] = defaultdict(set)
    for name, path in files.items():
        for imported in _imports(name, path):
            # `from a import b` takes the module a.b, or a name of the module a.
            whole = imported if imported in files else imported.rpartition(".")[0]
            if whole in files and files[whole] != path:
                found[files[whole]].add(path)
    return found


def _module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, path: Path) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            above = above[: len(above) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def crumbs(package: Path = PACKAGE) -> list[Path]:
    """List the short files that exactly one other file imports."""
    found = importers(package)
    return [
        path
        for path in source_files(package)
        if path.name != "__init__.py"
        and len(path.read_text(encoding="utf-8").splitlines()) < CRUMB_LINES
        and len(found[path]) == 1
    ]


class Trace:
    """Notes which files of a package have a function called.

    Parameters
    ----------
    package
        Its folder.
    """

    def __init__(self, package: Path = PACKAGE) -> None:
        self._inside = f"{package.resolve()}/"
        self._local = threading.local()
        self._codes: set[CodeType] = set()

    def run(self, work: Callable[[], object]) -> list[str]:
        """Do some work; return the files it entered, in order.

        Parameters
        ----------
        work
            Takes nothing; threads that it starts are watched too.
        """
        threading.setprofile(self._watch)
        sys.setprofile(self._watch)
        try:
            work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        names = {str(Path(code.co_filename).resolve()) for code in self._codes}
        inside = {name for name in names if name.startswith(self._inside)}
        return sorted(name.removeprefix(self._inside) for name in inside)

    def _watch(self, frame: FrameType, event: str, _: object) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        importing = getattr(self._local, "importing", 0)
        if code.co_name == "<module>":
            self._local.importing = importing + (1 if event == "call" else -1)
        elif importing <= 0 and event == "call":
            self._codes.add(code)


def entered_files(command: str, source: Path) -> list[str]:
    """Trace a command in a process of its own; return the files that it enters.

    Parameters
    ----------
    command
        ``predict`` or ``scan``.
    source
        A picture, or a volume.
    """
    words = [sys.executable, str(Path(__file__)), "--trace", command, str(source)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"tumorlens {command} failed:\n{done.stdout}{done.stderr}")
    found: list[str] = json.loads(done.stdout)
    return found


def _trace(command: str, source: str) -> int:
    """Run a command under a trace, and print the files that it enters as JSON."""
    sys.path.insert(0, str(SOURCE))
    from tumorlens.cli.main import main as run_command

    said, status = io.StringIO(), [1]

    def work() -> None:
        status[0] = run_command([command, source])

    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        names = Trace().run(work)
    if status[0] != 0:
        print(said.getvalue())
        return 1
    print(json.dumps(names))
    return 0


def readme_size(path: Path = ROOT / "README.md") -> tuple[float, int]:
    """Measure the README: kilobytes of 1,000 bytes, and rows of tables."""
    text = path.read_text(encoding="utf-8")
    return len(text.encode()) / 1000, len(re.findall(r"^\|", text, re.MULTILINE))


def contracts(path: Path = ROOT / "pyproject.toml") -> list[str]:
    """Name import-linter's contracts."""
    tools: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]
    return [item["name"] for item in tools.get("importlinter", {}).get("contracts", [])]


def rows() -> list[Row]:
    """Measure everything in the table."""
    from same_decisions import make_pictures, make_scans

    folders = fullest_folders()
    count, fullest = folders[0]
    small = crumbs()
    with tempfile.TemporaryDirectory() as folder:
        # The first of those made shows a tumour.
        picture = make_pictures(Path(folder), 1)[0]
        volume = make_scans(Path(folder), 1)[0]
        entered = {
            "predict": entered_files("predict", picture),
            "scan": entered_files("scan", volume),
        }
    size, table_rows = readme_size()
    names = contracts()
    missing = [name for name in CONTRIBUTOR_FILES if not (ROOT / name).exists()]
    return [
        Row(
            "Files in the fullest folder",
            f"{count} (`{fullest}`)",
            "at most 20",
            tuple(f"{number} {name}" for number, name in folders),
        ),
        Row("Source files in all", str(len(source_files())), "about 230"),
        Row(
            f"of them under {CRUMB_LINES} lines with one importer",
            str(len(small)),
            "-",
            tuple(str(path.relative_to(PACKAGE)) for path in small),
        ),
        Row("Lines in all source files", f"{line_count():,}", "-"),
        Row(
            "Files that one picture enters through `predict`",
            str(len(entered["predict"])),
            "under 20",
            tuple(entered["predict"]),
        ),
        Row(
            "Files that one volume enters through `scan`",
            str(len(entered["scan"])),
            "under 30",
            tuple(entered["scan"]),
        ),
        Row(
            "Import-linter contracts, in `pyproject.toml`",
            str(len(names)),
            "10 or more",
            tuple(names),
        ),
        Row("README", f"{size:.1f} KB", "6 KB at most"),
        Row("Table rows in the README", str(table_rows), "-"),
        Row(
            "Contributor files",
            f"missing: {', '.join(missing)}" if missing else "all",
            "all",
        ),
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="also name the files")
    parser.add_argument("--trace", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.trace:
        return _trace(*given.trace)
    measured = rows()
    print("| | Measured | Asked |\n|---|---|---|")
    for row in measured:
        print(f"| {row.title} | {row.value} | {row.asked} |")
    for row in measured if given.list else ():
        if row.names:
            print(f"\n{row.title}:\n")
            print("\n".join(f"- {name}" for name in row.names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
