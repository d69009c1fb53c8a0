"""Check that this tree can be released, and that its wheel works by itself.

python scripts/check_release.py [--wheel-only]

The wheel is built, installed into an empty environment with the pinned packages and
nothing else, and has to judge a drawn image there, outside of the source. Without
--wheel-only the versions, the changelog, the tag and the working tree are checked too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
NOT_FOR_SERVING = ("keras", "tensorflow", "sklearn", "scipy", "pytest")
DECISIONS = {
    *("glioma", "meningioma", "pituitary", "no_tumor"),
    *("tumor", "other", "uncertain", "not_brain_mri"),
}
# Run by the empty environment's own Python: a head, drawn with Pillow alone.
DRAW = """
import sys
from PIL import Image, ImageDraw, ImageFilter
image = Image.new("L", (256, 256))
draw = ImageDraw.Draw(image)
draw.ellipse((36, 16, 220, 240), fill=150)
draw.ellipse((46, 26, 210, 230), fill=90)
draw.ellipse((72, 92, 108, 128), fill=245)
image.filter(ImageFilter.GaussianBlur(1)).save(sys.argv[1])
"""
IMPORTS = f"""
from importlib.util import find_spec
import tumorlens
assert "site-packages" in tumorlens.__file__, tumorlens.__file__
print(*[name for name in {NOT_FOR_SERVING!r} if find_spec(name)])
"""


def main() -> int:
    """Run the checks and print what is wrong; the exit status is then 1."""
    parser = argparse.ArgumentParser(description="Check a release.")
    parser.add_argument("--wheel-only", action="store_true")
    options = parser.parse_args()
    problems = [] if options.wheel_only else [*version_problems(ROOT), *git_problems()]
    problems += wheel_problems(build_wheel())
    for problem in problems:
        print(f"- {problem}", file=sys.stderr)
    print("Not ready." if problems else "Ready.")
    return 1 if problems else 0


def version_problems(root: Path) -> list[str]:
    """Compare the version of the package with changelog and citation.

    Parameters
    ----------
    root
        Holds pyproject.toml, CHANGELOG.md and CITATION.cff.

    Returns
    -------
    list of str
        One sentence for each disagreement.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    problems = []
    cited = re.search(
        r"^version: (\S+)$", (root / "CITATION.cff").read_text("utf-8"), re.MULTILINE
    )
    if cited is None or cited[1] != version:
        problems.append(f"CITATION.cff does not cite version {version}.")
    latest = re.search(
        r"^## (\S+) \((.+)\)$", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    if latest is None or latest[1] != version:
        problems.append(f"The first section of CHANGELOG.md is not {version}.")
    elif not re.fullmatch(r"\d{4}-\d{2}-\d{2}", latest[2]):
        problems.append(f"CHANGELOG.md gives {version} no date, but {latest[2]!r}.")
    return problems


def git_problems() -> list[str]:
    """Say whether the working tree is clean and the version's tag still free."""
    problems = []
    if run("git", "status", "--porcelain"):
        problems.append("The working tree has changes that are not committed.")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tag = f"v{project['project']['version']}"
    if run("git", "tag", "--list", tag):
        problems.append(f"The tag {tag} exists already.")
    return problems


def clear_build() -> None:
    """Remove what an earlier build left: it would go into the next wheel again."""
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)


def build_wheel() -> Path:
    """Build the wheel into dist/, alone there."""
    for old in DIST.glob("*.whl"):
        old.unlink()
    clear_build()
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
    run(*pip, "-c", "constraints.txt", "-w", str(DIST), ".")
    (wheel,) = DIST.glob("*.whl")
    return wheel


def wheel_problems(wheel: Path) -> list[str]:
    """Install the wheel into an empty environment, and judge a drawn image there.

    Parameters
    ----------
    wheel
        Wheel, as `build_wheel` returns it.

    Returns
    -------
    list of str
        One sentence for each thing that does not work.
    """
    names = {
        name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name
    }
    source = run("git", "ls-files", "src/tumorlens").splitlines()
    wanted = {name.removeprefix("src/") for name in source}
    problems = [f"The wheel lacks {name}." for name in sorted(wanted - names)]
    problems += [
        f"The wheel holds {name}, which is not in the source."
        for name in sorted(names - wanted)
    ]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        python = make_environment(home / "env")
        pins = str(ROOT / "constraints.txt")
        install = (python, "-m", "pip", "install", "--quiet", "-c", pins, str(wheel))
        run(*install, cwd=home)
        extra = run(python, "-c", IMPORTS, cwd=home)
        if extra:
            problems.append(f"The plain install brings {extra}.")
        run(python, "-c", DRAW, "head.png", cwd=home)
        command = str(home / "env" / "bin" / "tumorlens")
        said = run(
            *(command, "predict", "head.png", "--json", "-", "--maps", "maps"), cwd=home
        )
        (document,) = json.loads(said)
        if document["decision"] not in DECISIONS:
            problems.append(f"The decision is {document['decision']!r}.")
        if not math.isclose(sum(document["probabilities"].values()), 1, abs_tol=1e-6):
            problems.append("The probabilities do not sum to 1.")
        if len(list((home / "maps").glob("head.*.png"))) != 3:
            problems.append("The maps of the drawn image are not all there.")
        print(f"{wheel.name}: {document['decision']} of a drawn image.")
    return problems


def make_environment(folder: Path) -> str:
    """Make an empty environment; return the path of its Python."""
    run(sys.executable, str(ROOT / "scripts" / "make_env.py"), str(folder))
    return str(folder / "bin" / "python")


def run(*command: str, cwd: Path = ROOT) -> str:
    """Run a program and return what it prints; stop with its words where it fails."""
    # The source must not stand in for what is not installed.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise SystemExit(f"{shlex.join(command)}: exit status {done.returncode}")
    return done.stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
