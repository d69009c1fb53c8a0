"""Without highdicom, which only the extra `pacs` brings, the error says so."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.samples.dicom_findings import drawn_finding, drawn_headers
from tumorlens.cli.main import main
from tumorlens.errors import MissingExtraError
from tumorlens.report.dicom.sc import build_sc
from tumorlens.report.dicom.seg import build_seg
from tumorlens.report.dicom.sr import build_sr


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if highdicom were not installed."""
    for name in [*sys.modules, "highdicom", "highdicom.sr", "highdicom.seg"]:
        if name.partition(".")[0] == "highdicom":
            monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("bare")
def test_each_dicom_result_names_the_extra_that_it_needs() -> None:
    headers, finding = drawn_headers(), drawn_finding()
    shape = (len(headers), headers[0].Rows, headers[0].Columns)
    overlay = np.zeros((*shape[1:], 3), np.uint8)
    with pytest.raises(MissingExtraError, match=r"structured report.*'pacs'"):
        build_sr(headers, finding)
    with pytest.raises(MissingExtraError, match=r"secondary capture.*'pacs'"):
        build_sc(headers, 0, overlay, finding)
    with pytest.raises(MissingExtraError, match=r"segmentation.*'pacs'"):
        build_seg(headers, np.ones(shape, np.uint8), finding)


@pytest.mark.usefixtures("bare")
def test_the_node_says_so_before_it_listens(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--allow", "A@127.0.0.1", "--send-to", "A@127.0.0.1:104")
    assert main(["node", "--folder", str(tmp_path), *options]) == 2
    assert "pip install '.[pacs]'" in capsys.readouterr().err
