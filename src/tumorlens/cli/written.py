"""Figures written to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tumorlens.errors import OutputError
from tumorlens.imaging.names import display_name


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any plain JSON
    """Write plain values as indented JSON.

    Parameters
    ----------
    path
        Of the file; replaced where it exists.
    value
        Of what JSON knows.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    try:
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: str | Path, error: OSError) -> OutputError:
    """Say which file cannot be written, and why."""
    reason = (error.strerror or "unknown reason").lower()
    return OutputError(f"{display_name(path)} cannot be written: {reason}.")
