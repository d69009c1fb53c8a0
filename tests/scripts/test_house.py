"""The table on how the source tree is cut: counted right, and printed again."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def house() -> Any:
    return load("house")


def load(name: str) -> ModuleType:
    """Import a script, which lies in no package; it may import its neighbours."""
    if str(SCRIPTS) not in sys.path:
        sys.path.append(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses ask for the module by its name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package: `once` has one importer, `twice` two, `long` one but many lines."""
    texts = {
        "__init__.py": "from house_drawn import once\n",
        "once.py": "def hello():\n    return 1\n",
        "twice.py": "def hello():\n    return 2\n",
        "long.py": "def hello():\n    return 3\n" + "\n" * 120,
        "alone.py": "import house_drawn.long\nfrom house_drawn.twice import hello\n",
        "room/__init__.py": "",
        "room/near.py": "from . import far\nfrom ..twice import hello\n",
        "room/far.py": "def work():\n    from house_drawn.twice import hello\n"
        "    return hello()\n",
        "room/deep/one.py": "",
    }
    for name, text in texts.items():
        path = tmp_path / "house_drawn" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "house_drawn"


def test_the_fullest_folder_comes_first(house: Any, package: Path) -> None:
    counted = house.fullest_folders(package)
    assert counted == [
        (4, "house_drawn/"),
        (2, "house_drawn/room/"),
        (1, "house_drawn/room/deep/"),
    ]


def test_lines_of_all_files_are_counted(house: Any, tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "one.py").write_text("x = 1\n\ny = 2\n")
    (tmp_path / "room" / "two.py").write_text("z = 3")
    assert house.line_count(tmp_path) == 4


def test_importers_are_found_wherever_the_import_stands(
    house: Any, package: Path
) -> None:
    found = {
        path.name: {by.name for by in importers}
        for path, importers in house.importers(package).items()
    }
    assert found["once.py"] == {"__init__.py"}
    assert found["twice.py"] == {"alone.py", "near.py", "far.py"}
    assert found["far.py"] == {"near.py"}
    assert found["long.py"] == {"alone.py"}


def test_crumbs_are_short_and_have_one_importer(house: Any, package: Path) -> None:
    assert [path.name for path in house.crumbs(package)] == ["once.py", "far.py"]


def test_what_an_import_runs_is_not_entered(
    house: Any, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(package.parent))

    def work() -> None:
        # Imports __init__, far and once; far calls twice.
        from house_drawn.room import far  # type: ignore[import-not-found]

        far.work()

    assert house.Trace(package).run(work) == ["room/far.py", "twice.py"]


def test_the_table_is_printed_with_every_file_behind_it() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "house.py"), "--list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for title in ("fullest folder", "through `predict`", "Import-linter", "README"):
        assert title in done.stdout
    assert "- taxonomy.py" in done.stdout
