"""The docs say what the commands printed, and their examples run."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import cv2
from pydicom.sr._concepts_dict import concepts

import tumorlens.inference.classifier
from tumorlens.cli.main import COMMANDS, tumorlens_command
from tumorlens.report.dicom import codes as dicom_codes
from tumorlens.settings import SETTINGS

ROOT = Path(__file__).parents[1]


def test_every_figure_is_the_one_that_was_measured():
    checked = subprocess.run(
        [sys.executable, "scripts/fill_docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_setting_is_documented():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for row in SETTINGS.values():
        assert row.option in page
        assert row.environment in page


def test_every_option_of_the_server_is_documented_with_the_settings():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    serve = tumorlens_command.get_command(click.Context(tumorlens_command), "serve")
    assert serve is not None
    options = {
        name for item in serve.params for name in (*item.opts, *item.secondary_opts)
    }
    assert {"--host", "--open", "--no-open"} <= options
    for name in options:
        assert f"`{name}`" in page, name


def test_every_code_that_goes_into_dicom_is_documented_with_two_sources():
    page = (ROOT / "docs" / "pacs.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if re.match(r"\| (SCT|DCM|LN) ", line)
    ]
    assert all(len(row) == 4 and all(row) and row[2] != row[3] for row in rows)
    found = {tuple(row[:2]) for row in rows}
    terms = [x for x in vars(dicom_codes).values() if isinstance(x, dicom_codes.Term)]
    for kind, value, group in re.findall(
        r"\| (SCT|DCM|LN) (\S+) .*pydicom, CID (\d+)", page
    ):
        known = [item[value] for item in concepts[kind].values() if value in item]
        assert any(int(group) in groups for _, groups in known), value
    public = [x for x in terms if x.scheme not in ("UCUM", dicom_codes.OWN_SCHEME)]
    assert {(f"{x.scheme} {x.value}", x.meaning) for x in public} <= found


def test_commands_in_the_readme_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"tumorlens ([a-z]+(?:-[a-z]+)*)", text))
    assert named <= set(COMMANDS)
    assert named


def commands_in(text):
    """Every call of `tumorlens` in code, spans and blocks alike, as words."""
    text = text.replace("\\\n", " ")
    spans = re.findall(r"`(tumorlens [^`]+)`", text)
    lines = re.findall(r"^ *(tumorlens [^#\n]+)", text, flags=re.MULTILINE)
    return [shlex.split(found) for found in (*spans, *lines)]


def test_every_option_that_the_docs_name_exists():
    found = 0
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for words in commands_in(page.read_text(encoding="utf-8")):
            command = tumorlens_command
            for word in words[1:]:
                if isinstance(command, click.Group):
                    command = command.get_command(click.Context(command), word)
                    assert command is not None, f"{page.name}: {words}"
                elif word.startswith("--"):
                    known = {name for item in command.params for name in item.opts}
                    assert word in known, f"{page.name}: {words}"
                    found += 1
    assert found > 20


def test_links_in_the_docs_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_example_in_the_api_s_documentation_runs():
    found = doctest.testmod(tumorlens.inference.classifier)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_readme_s_python_example_runs(tmp_path, monkeypatch, phantom, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert code is not None
    cv2.imwrite(str(tmp_path / "slice.png"), phantom())
    monkeypatch.chdir(tmp_path)
    exec(code[1], {})
    assert "glioma" in capsys.readouterr().out
