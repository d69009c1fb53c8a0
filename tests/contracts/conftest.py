"""What others rely on, compared with recorded copies.

`pytest tests/contracts --record` writes the copies in `recorded/` anew. A change of
them is a change for users: it needs a line in CHANGELOG.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contracts import samples
from tests.contracts.shapes import differences

RECORDED = Path(__file__).parent / "recorded"
HOW = "pytest tests/contracts --record"

Compare = Callable[[str, Any], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record",
        action="store_true",
        default=False,
        help="Write the recorded copies of the contracts anew, on purpose.",
    )


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> bool:
    """Whether the recorded copies are written anew."""
    return bool(request.config.getoption("--record", default=False))


@pytest.fixture
def compare(recording: bool) -> Compare:
    """Compare a value with its recorded copy, or record it."""

    def go(name: str, found: Any) -> None:
        path = RECORDED / f"{name}.json"
        if recording:
            text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False)
            path.write_text(text + "\n", encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"Nothing is recorded as {path.name}: {HOW}", pytrace=False)
        recorded = json.loads(path.read_text(encoding="utf-8"))
        # As JSON knows it: no tuples, and text for keys.
        changes = differences(recorded, json.loads(json.dumps(found)))
        if changes:
            lines = [
                f"The contract {path.name} is broken:",
                *changes,
                f"If that is meant: {HOW}, and a line in CHANGELOG.md.",
            ]
            pytest.fail("\n".join(lines), pytrace=False)

    return go


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of a drawn head with a lesion."""
    return samples.save_picture(tmp_path_factory.mktemp("picture") / "head.png")


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A NIfTI file of a drawn head with a lesion."""
    return samples.save_volume(tmp_path_factory.mktemp("volume") / "head.nii.gz")


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of drawn slices of 16 people, with outlines, splits and folds."""
    return samples.save_set(tmp_path_factory.mktemp("set"))


@pytest.fixture
def slices_bundle() -> Path:
    """A tiny bundle that judges slices, made before the redesign."""
    return RECORDED / "bundle-of-slices"


@pytest.fixture
def volumes_bundle() -> Path:
    """A tiny bundle that judges whole scans, made before the redesign."""
    return RECORDED / "bundle-of-volumes"


@pytest.fixture
def columns_bundle() -> Path:
    """A tiny bundle that has learned clinical columns, made before the redesign."""
    return RECORDED / "bundle-with-columns"
