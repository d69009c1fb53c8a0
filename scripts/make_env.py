"""Make a virtual environment with pip in it, on a bare Debian or Ubuntu too.

Debian's Python cannot fill a virtual environment by itself unless the package
python3-venv is installed: then pip is fetched from the package index, its
checksum compared, and put in place. Standard library only.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import venv
from pathlib import Path

NEEDED = (3, 11)
INDEX = "https://pypi.org/simple"


def main() -> int:
    """Make the environment that the first argument names."""
    if sys.version_info < NEEDED:
        print(
            f"TumorLens needs Python {NEEDED[0]}.{NEEDED[1]} or newer; this is "
            f"{sys.version.split()[0]}. Run: make PYTHON=/path/to/newer/python",
            file=sys.stderr,
        )
        return 1
    folder = Path(sys.argv[1])
    try:
        import ensurepip  # noqa: F401 - only to see whether Debian left it out
    except ImportError:
        venv.create(folder, with_pip=False, clear=True, symlinks=True)
        try:
            fetch_pip(folder)
        except (OSError, ValueError) as error:
            print(
                f"pip could not be fetched: {error}. "
                "Run: sudo apt install python3-venv",
                file=sys.stderr,
            )
            return 1
    else:
        venv.create(folder, with_pip=True, clear=True, symlinks=True)
        if sys.version_info < (3, 12):
            drop_setuptools(folder)
    return 0


def drop_setuptools(folder: Path) -> None:
    """Take out what Python 3.11 adds: builds bring their own, nothing else needs it."""
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "uninstall", "-q", "-y", "setuptools"]
    subprocess.run(command, check=True)


def fetch_pip(folder: Path) -> None:
    """Download pip's newest wheel and let it install itself."""
    index = os.environ.get("PIP_INDEX_URL", INDEX).rstrip("/")
    page = f"{index}/pip/"
    with urllib.request.urlopen(page, timeout=60) as answer:
        links = re.findall(
            r'href="([^"]+?\.whl)#sha256=([0-9a-f]{64})"', answer.read().decode()
        )
    if not links:
        raise ValueError(f"{page} lists no wheel")
    link, digest = max(links, key=lambda item: version(item[0]))
    with urllib.request.urlopen(
        urllib.parse.urljoin(page, link), timeout=120
    ) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{link} arrived damaged")
    with tempfile.TemporaryDirectory() as place:
        wheel = Path(place) / Path(urllib.parse.urlparse(link).path).name
        wheel.write_bytes(data)
        python = str(folder / "bin" / "python")
        # A wheel of pip can be run as it is.
        subprocess.run(
            [python, str(wheel / "pip"), "install", "-q", str(wheel)], check=True
        )


def version(link: str) -> tuple[int, ...]:
    """Read a final release's version out of a wheel's name; others sort first."""
    found = re.search(r"/pip-(\d+(?:\.\d+)*)-py3", link)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


if __name__ == "__main__":
    raise SystemExit(main())
