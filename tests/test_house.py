"""The tree stays as the architecture says: small rooms, mirrored tests, true paths."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tumorlens"
MOST_FILES = 20
"""In one folder; TorchIO's fullest has 15, pydicom's 27."""

MODULES = sorted(
    path
    for path in SOURCE.rglob("*.py")
    if path.name != "__init__.py" and path.parent.name != "versions"
)


def test_no_folder_is_overfull():
    files = Counter(path.parent for path in MODULES)
    crowded = {str(folder.relative_to(SOURCE)): n for folder, n in files.items()}
    assert not {name: n for name, n in crowded.items() if n > MOST_FILES}


@pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: str(path.relative_to(SOURCE))
)
def test_every_module_has_a_test_or_names_it(module):
    place = module.relative_to(SOURCE)
    mirror = ROOT / "tests" / place.parent / f"test_{module.name}"
    if mirror.exists():
        return
    said = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    named = re.findall(r"Tested in ((?:`tests/[^`]+`(?:, | and )?)+)", said)
    assert named, f"{place} has no {mirror.relative_to(ROOT)} and names no test"
    for path in re.findall(r"`([^`]+)`", named[0]):
        assert (ROOT / path).exists(), f"{place} names {path}, which is not there"


def test_paths_of_modules_that_the_docs_name_exist():
    pages = (*(ROOT / "docs").glob("*.md"), ROOT / "README.md")
    named = 0
    for page in pages:
        for path in re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)*\.py)`", page.read_text()):
            places = (
                ROOT / path,
                SOURCE / path,
                ROOT / "src" / path,
                ROOT / "tests" / path,
            )
            known = {"app.py", "model.py", "train.py", "predict.py"}
            if path in known or path.startswith("utils/"):
                continue  # files of older projects, in the architecture's table
            assert any(place.exists() for place in places), f"{page.name}: {path}"
            named += 1
    assert named > 10
