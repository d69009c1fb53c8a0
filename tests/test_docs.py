"""The docs say what the commands printed, and their examples run."""

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import cv2
import pytest
from pydicom.sr._concepts_dict import concepts

import tumorlens.inference.classifier
from tests.samples.volumes import draw_head, save_volume
from tests.web.conftest import CHROMIUM, CHROMIUM_ARGUMENTS
from tumorlens.cli.main import COMMANDS, tumorlens_command
from tumorlens.report.dicom import codes as dicom_codes
from tumorlens.settings import NODE_LIMITS, SETTINGS
from tumorlens.taxonomy import TUMOR_CLASSES

ROOT = Path(__file__).parents[1]
PAGES = (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "examples/README.md")
FILLED = ("README.md", "docs/results.md", "docs/benchmarks.md", "docs/clinical.md")


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
    for row in (*SETTINGS.values(), *NODE_LIMITS.values()):
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
    for page in PAGES:
        for words in commands_in(page.read_text(encoding="utf-8")):
            command = tumorlens_command
            for word in words[1:]:
                if word.startswith("--"):
                    known = {"--help"}
                    for item in command.params:
                        known |= {*item.opts, *item.secondary_opts}
                    assert word in known, f"{page.name}: {words}"
                    found += 1
                elif isinstance(command, click.Group):
                    below = command.get_command(click.Context(command), word)
                    if below is None and command.invoke_without_command:
                        # The value of an option of its own.
                        continue
                    assert below is not None, f"{page.name}: {words}"
                    command = below
    assert found > 20


def test_links_in_the_docs_lead_somewhere():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#]+)\)", text)
        links += re.findall(r"^\[[^\]]+\]: (\S+)$", text, flags=re.MULTILINE)
        for link in links:
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_modules_that_the_docs_name_exist():
    named = {
        (page, path)
        for page in PAGES
        if page.name not in ("CHANGELOG.md", "architecture.md")
        for path in re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", page.read_text("utf-8"))
        if "NAME" not in path and not path.startswith(("dist/", "build/", "runs/"))
    }
    assert len(named) > 20
    for page, path in named:
        places = (ROOT, ROOT / "src" / "tumorlens")
        assert any((place / path).exists() for place in places), f"{page.name}: {path}"


def test_the_readme_is_short_and_sums_up_in_six_rows():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 6 * 1024
    summary = re.search(r"<!-- figures: summary -->(.*?)<!-- end -->", text, re.DOTALL)
    assert summary is not None
    rows = [line for line in summary[1].splitlines() if line.startswith("|")]
    assert len(rows[2:]) == 6
    # Each with its interval.
    assert all(re.search(r"\d \[\d\.\d+, \d\.\d+\] \|$", row) for row in rows[2:])


def test_measured_figures_are_filled_in_and_never_typed():
    for name in FILLED:
        text = (ROOT / name).read_text(encoding="utf-8")
        typed = re.sub(
            r"<!-- figures: \w+ -->.*?<!-- end -->", "", text, flags=re.DOTALL
        )
        assert typed != text
        typed = typed.replace("Python 3.11", "")
        found = re.findall(r"\d\.\d{2,}|\[\d|\d (?:ms|s|MB|times)\b", typed)
        assert not found, f"{name}: {found}"


def test_the_example_in_the_api_s_documentation_runs():
    found = doctest.testmod(tumorlens.inference.classifier)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize(
    "page",
    ["README.md", "docs/getting-started.md", "docs/predict.md", "docs/scans.md"],
)
def test_python_examples_run_as_pasted(page, tmp_path, monkeypatch, phantom, capsys):
    text = (ROOT / page).read_text(encoding="utf-8")
    codes = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    tumours = "|".join(TUMOR_CLASSES)
    assert codes
    (tmp_path / "folder").mkdir()
    cv2.imwrite(str(tmp_path / "slice.png"), phantom())
    cv2.imwrite(str(tmp_path / "folder" / "a.png"), phantom(seed=1))
    (tmp_path / "folder" / "b.png").write_bytes(b"no image")
    save_volume(draw_head((12, 14, 10)), tmp_path / "head.nii.gz")
    monkeypatch.chdir(tmp_path)
    for code in codes:
        exec(code, {})
        said = capsys.readouterr().out
        assert re.search(f"{tumours}|no_tumor|not_brain_mri|inconclusive", said), code


def test_hooks_before_a_commit_are_the_checks_of_make_check():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^check:.*\n((?:\t.+\n)+)", makefile, flags=re.MULTILINE)
    assert recipe is not None
    checks = re.findall(r"\$\(TEST\)/bin/(.+)", recipe[1])
    hooks = re.findall(
        r"entry: \.venv-test/bin/(.+)", (ROOT / ".pre-commit-config.yaml").read_text()
    )
    assert checks == hooks
    assert len(checks) == 4


@pytest.fixture(scope="module")
def documentation_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documentation") / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    # Strict: a broken link, a page outside the navigation or a wrong docstring fails.
    assert built.returncode == 0, built.stderr
    return folder


def test_the_site_loads_nothing_from_elsewhere(documentation_site):
    pages = sorted(documentation_site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//", text)
        links = re.findall(r"<link [^>]+>", text)
        loads = [link for link in links if 'rel="canonical"' not in link]
        assert not [link for link in loads if "//" in link], page.name
    for style in documentation_site.rglob("*.css"):
        urls = re.findall(r"url\([\"']?(?:https?:)?//[^)]*", style.read_text("utf-8"))
        assert not urls, style.name


def test_the_site_has_the_api_and_every_command(documentation_site):
    reference = documentation_site / "reference"
    python = (reference / "python.html").read_text(encoding="utf-8")
    for name in tumorlens.__all__:
        assert name.startswith("__") or f'id="tumorlens.{name}"' in python, name
    commands = (reference / "commands.html").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f'id="tumorlens-{name}"' in commands, name
    assert "Sentinel" not in commands


def test_the_site_can_be_searched_from_disk(documentation_site):
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed (extra 'dev')"
    )
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS
        )
        page = browser.new_page()
        asked = []
        page.on("request", lambda sent: asked.append(sent.url))
        page.goto((documentation_site / "index.html").as_uri())
        page.locator(".md-search__input").click()
        page.keyboard.type("conformal", delay=20)
        found = page.locator(".md-search-result__item").first
        assert "How to read the evaluation" in found.inner_text()
        browser.close()
    assert all(url.startswith(("file:", "data:", "about:")) for url in asked)
