"""What `tumorlens scan --pdf` gathers, series by series, and writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tumorlens.cli._shared.output_files import cannot_write
from tumorlens.imaging.study import Series
from tumorlens.inference.bundle.bundle import Bundle
from tumorlens.inference.series.results import ScanFinding
from tumorlens.inference.slice.results import Failure

if TYPE_CHECKING:
    from tumorlens.report.series.pdf_series import ScanEntry


class StudyReport:
    """Gathers findings for a PDF; of each series a few pictures are kept.

    Parameters
    ----------
    path
        Of the file; replaced where it exists.
    bundle
        The model.
    """

    def __init__(self, path: Path, bundle: Bundle) -> None:
        self._path = path
        self._bundle = bundle
        self._entries: list[ScanEntry] = []

    def add(self, finding: ScanFinding, series: Series) -> None:
        """Take one series."""
        # Takes long to import, and only this output needs it.
        from tumorlens.report.series.pdf_series import scan_entry

        self._entries.append(scan_entry(finding, series))

    def write(self, notes: Sequence[str], failures: Sequence[Failure]) -> None:
        """Write the file.

        Parameters
        ----------
        notes
            Full sentences on how the files were read.
        failures
            What could not be read.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        from tumorlens.report.series.pdf import render_scan_pdf

        made = datetime.now().astimezone()
        data = render_scan_pdf(self._entries, self._bundle, made, notes, failures)
        try:
            self._path.write_bytes(data)
        except OSError as error:
            raise cannot_write(self._path, error) from error
