"""Files that mean harm, given to the commands: each a clear error, the next is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.samples.hostile_files import hostile_files
from tests.samples.series_uploads import nifti
from tumorlens.cli.main import main


@pytest.fixture
def hostile(tmp_path: Path) -> list[str]:
    """Paths of all hostile files."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    paths = []
    for number, (_, data) in enumerate(hostile_files(tmp_path)):
        paths.append(str(folder / f"{number:03d}"))
        Path(paths[-1]).write_bytes(data)
    return paths


@pytest.mark.parametrize("command", ["scan", "predict"])
def test_each_gets_its_error_and_the_next_file_is_read(
    command: str,
    hostile: list[str],
    tiny_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, out = tmp_path / "head.nii.gz", tmp_path / "out.json"
    good.write_bytes(nifti(3))
    model = ("--model", str(tiny_bundle), "--threads", "1")
    arguments = (command, *hostile, str(good), "--json", str(out), *model)
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
    document = json.loads(out.read_text())
    entries = document if isinstance(document, list) else document["failures"]
    failed = [item for item in entries if item.get("status", "") not in ("", "ok")]
    assert len(failed) == len(hostile)
    for path, item in zip(hostile, failed, strict=True):
        assert path in item["message"] and item["mend"], item
