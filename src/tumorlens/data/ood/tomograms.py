"""Computed tomograms among the pictures: nearest to brain MRI of all that is none."""

from __future__ import annotations

from collections.abc import Sequence

from tumorlens.data.manifest import Record
from tumorlens.data.ood.outliers import Outlier
from tumorlens.imaging.read import read_study

CT_FLAG = "ct"
DRAWN_CT = "drawn ct"
"""Kind of what `tumorlens.calibration.drawn_tomograms` draws."""


def tomograms(records: Sequence[Record]) -> list[Outlier]:
    """Read the pictures that a manifest flags as CT and that are no test's.

    Parameters
    ----------
    records
        The whole manifest, flagged rows too.

    Raises
    ------
    InputError
        A file cannot be read.
    """
    found = []
    for record in records:
        if record.flag == CT_FLAG and record.split != "test":
            slice_ = read_study(record.path).slices[0]
            found.append(Outlier(CT_FLAG, slice_.pixels, slice_.colorfulness))
    return found
