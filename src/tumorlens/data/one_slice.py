"""The file of a labelled picture: its label speaks of one slice."""

from __future__ import annotations

from pathlib import Path

from tumorlens.errors import InputError
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Study


def read_one_slice(path: Path) -> Study:
    """Read a file that holds a single slice.

    Parameters
    ----------
    path
        Of the file.

    Raises
    ------
    InputError
        It cannot be read, or holds several slices: which of them the label speaks
        of is not known, and those at the ends of a scan show no tumour.
    """
    study = read_study(path)
    count = len(study.slices)
    if count > 1:
        raise InputError(
            f"{path} holds {count} slices, and its label speaks of one.",
            "Cut it with `tumorlens data slices`, or score whole scans with "
            "`tumorlens compare-scans`.",
        )
    return study
