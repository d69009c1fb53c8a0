"""A release agrees with itself about its version."""

import shutil
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "check_release.py"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def version_problems():
    spec = spec_from_file_location("check_release", SCRIPT)
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.version_problems


@pytest.fixture
def release(tmp_path):
    for name in ("pyproject.toml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    changelog = f"# Changelog\n\n## {VERSION} (2026-12-31)\n"
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    return tmp_path


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_release_whose_version_is_written_down_everywhere_is_ready(
    version_problems, release
):
    assert version_problems(release) == []


def test_this_tree_names_one_version(version_problems):
    # The changelog's section may still be without its date.
    assert [x for x in version_problems(ROOT) if "gives" not in x] == []


def test_a_changelog_without_a_date_is_no_release(version_problems, release):
    replace(release / "CHANGELOG.md", "2026-12-31", "unreleased")
    (problem,) = version_problems(release)
    assert "'unreleased'" in problem


def test_a_version_that_is_only_in_one_place_is_no_release(version_problems, release):
    replace(release / "pyproject.toml", f'version = "{VERSION}"', 'version = "99.0"')
    assert version_problems(release) == [
        "CITATION.cff does not cite version 99.0.",
        "The first section of CHANGELOG.md is not 99.0.",
    ]
