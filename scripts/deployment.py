"""Tries out what is in deploy/, as far as a machine without Docker can.

`make wheelhouse` fills build/wheelhouse with the wheels of an installation and their
hashes. `make deploy-check` installs from it without a network, and goes through the
Dockerfile's steps in an empty folder: it copies what is copied, runs the commands of
the build, starts the image's own command as the image's environment has it, asks what
the health check asks, and stops it by SIGTERM.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from check_release import DRAW, ROOT, clear_build, make_environment, run

WHEELHOUSE = ROOT / "build" / "wheelhouse"
EXTRAS = "pacs,server"
TOKEN = "a token of the administrator, for this check alone"
START_SECONDS = 120.0
STOP_SECONDS = 40.0


@dataclass
class Stage:
    """One stage of a Dockerfile: its instructions in order."""

    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def value(self, keyword: str) -> str:
        """Give what the only instruction of a kind says; without its flags."""
        (found,) = (text for name, text in self.instructions if name == keyword)
        return re.sub(r"^(--\S+\s+)+(CMD\s+)?", "", found)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that are set."""
        return dict(
            word.split("=", 1)
            for name, text in self.instructions
            if name == "ENV"
            for word in shlex.split(text)
        )

    @property
    def copied(self) -> list[tuple[list[str], str]]:
        """What is copied from the context, and where to."""
        lines = [shlex.split(x) for name, x in self.instructions if name == "COPY"]
        return [(x[:-1], x[-1]) for x in lines if not x[0].startswith("--from")]


class Dockerfile:
    """A Dockerfile, read as far as ours needs it.

    Attributes
    ----------
    stages
        Its stages in order.
    """

    def __init__(self, path: Path) -> None:
        self.stages: list[Stage] = []
        text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text(encoding="utf-8"))
        for line in re.sub(r"\\\n\s*", "", text).splitlines():
            keyword, _, rest = line.strip().partition(" ")
            if keyword == "FROM":
                self.stages.append(Stage(rest))
            elif keyword:
                self.stages[-1].instructions.append((keyword, rest.strip()))


def fill_wheelhouse(folder: Path = WHEELHOUSE) -> Path:
    """Put all wheels of an installation into a folder, with a list of their hashes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    clear_build()
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "-c", "constraints.txt"),
        *("-w", str(folder), f".[{EXTRAS}]"),
    )
    lines = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}")
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.iterdir()) // 2**20
    print(f"{folder}: {len(lines)} wheels, {size} MB.")
    return folder


def check_air_gapped(folder: Path = WHEELHOUSE) -> None:
    """Install from a wheelhouse without a network, and judge a drawn picture."""
    if not (folder / "requirements.txt").is_file():
        fill_wheelhouse(folder)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        python = make_environment(home / "env")
        run(
            *(python, "-m", "pip", "install", "--quiet", "--no-index"),
            *("--find-links", str(folder), "--require-hashes"),
            *("-r", str(folder / "requirements.txt")),
            cwd=home,
        )
        run(python, "-c", DRAW, "head.png", cwd=home)
        command = str(home / "env" / "bin" / "tumorlens")
        said = run(command, "predict", "head.png", "--json", "-", cwd=home)
        (document,) = json.loads(said)
        run(command, "node", "--help", cwd=home)
        size = run("du", "-sm", str(home / "env")).split()[0]
        print(
            f"Air-gapped: installed by hashes alone ({size} MB), "
            f"{document['decision']} of a drawn picture."
        )


def check_image(path: Path = ROOT / "deploy" / "Dockerfile") -> None:
    """Go through a Dockerfile's steps, start what it starts, and stop it."""
    build, runtime = Dockerfile(path).stages
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        work, prefix, data = home / "build", home / "opt", home / "data"
        work.mkdir()
        data.mkdir()
        for sources, target in build.copied:
            for name in sources:
                _copy(ROOT / name, work / target)
        for name, text in build.instructions:
            if name == "RUN":
                make_environment(prefix)
                # The environment is there already: Debian's Python cannot make one.
                steps = text.replace("/opt/tumorlens", str(prefix)).split(" && ")
                for step in steps:
                    if " -m venv " not in step:
                        run("sh", "-c", step, cwd=work)
        moved = {"/opt/tumorlens": str(prefix), "/data": str(data)}
        variables = runtime.environment
        for old, new in moved.items():
            variables = {k: v.replace(old, new) for k, v in variables.items()}
        variables |= {"PORT": str(_free_port()), "TUMORLENS_ADMIN_TOKEN": TOKEN}
        command = json.loads(runtime.value("ENTRYPOINT"))
        command += json.loads(runtime.value("CMD"))
        health = json.loads(runtime.value("HEALTHCHECK"))
        tries = _start_and_stop(command, health, variables, data)
        print(f"Image: ready at look {tries}, healthy, stopped by SIGTERM with 0.")


def _start_and_stop(
    command: list[str], health: list[str], variables: dict[str, str], data: Path
) -> int:
    with subprocess.Popen(command, env=variables, cwd=data) as server:
        try:
            end = time.monotonic() + START_SECONDS
            tries = 1
            while subprocess.run(
                health, env=variables, capture_output=True, check=False
            ).returncode:
                if server.poll() is not None or time.monotonic() > end:
                    raise SystemExit("The image's command does not become ready.")
                time.sleep(0.5)
                tries += 1
            server.send_signal(signal.SIGTERM)
            status = server.wait(STOP_SECONDS)
        finally:
            server.kill()
    if status != 0:
        raise SystemExit(f"The image's command ended with {status}.")
    return tries


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


STEPS = {
    "wheelhouse": fill_wheelhouse,
    "air-gapped": check_air_gapped,
    "image": check_image,
}


def main() -> int:
    """Run the steps that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="+", choices=STEPS)
    for step in parser.parse_args().steps:
        STEPS[step]()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
