"""What notebooks show of results, and tables of them."""

from __future__ import annotations

import base64
import io
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas
import pytest
from PIL import Image

from tests.samples.drawn_series import known_prediction, unjudged_prediction
from tumorlens.errors import MissingLibraryError
from tumorlens.inference.slice.prediction import Failure, Prediction, Predictions
from tumorlens.report.slice.document import (
    CSV_COLUMNS,
    RESEARCH_USE,
    failure_to_json,
    prediction_to_json,
)
from tumorlens.taxonomy import Answer, TumorClass

FAILED = Failure("b.png", "damaged_file", "b.png is cut off.", "Copy it again.")


class Balanced(HTMLParser):
    """Raises where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(html: str) -> str:
    """Parse HTML; it is whole, and loads nothing from elsewhere."""
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert RESEARCH_USE in html
    return html


@pytest.fixture
def refused(prediction: Prediction) -> Prediction:
    decision = replace(prediction.decision, finding=Answer.NOT_BRAIN_MRI, kinds=())
    return replace(prediction, decision=decision)


def test_a_prediction_shows_answers_picture_and_bars(prediction: Prediction) -> None:
    html = checked(prediction._repr_html_())
    assert "<h3>Tumour: glioma</h3>" in html
    assert "Any tumour" in html and "93.8 %" in html
    (data,) = re.findall(r"base64,([^\"]+)", html)
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (80, 60)
        assert image.mode == "RGB", "the evidence lies over it"


def test_a_refused_picture_shows_no_evidence_and_no_bar(refused: Prediction) -> None:
    html = checked(refused._repr_html_())
    assert "Not judged" in html
    for word in ("%</td>", "glioma", "Any tumour"):
        assert word not in html.lower()
    (data,) = re.findall(r"base64,([^\"]+)", html)
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.mode == "L"


def test_a_name_is_text_and_never_markup(prediction: Prediction) -> None:
    named = replace(prediction, source="<script>x</script>")
    assert "<script" not in checked(named._repr_html_())
    assert "<script" not in checked(Predictions([named])._repr_html_())


def test_a_large_picture_is_shrunk(prediction: Prediction) -> None:
    big = np.zeros((900, 1800), np.float32)
    maps = replace(prediction.explanation, evidence=big, gradcam=big, outline=())
    html = replace(prediction, pixels=big, explanation=maps)._repr_html_()
    (data,) = re.findall(r"base64,([^\"]+)", html)
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (320, 160)


def test_a_series_shows_answers_and_bars() -> None:
    assert "Tumour: glioma" in checked(known_prediction()._repr_html_())
    silent = checked(unjudged_prediction()._repr_html_())
    assert "no slice shows enough brain" in silent
    assert "Any tumour" not in silent


def test_documents_are_those_of_the_commands(prediction: Prediction) -> None:
    assert prediction.to_dict() == prediction_to_json(prediction)
    assert FAILED.to_dict() == failure_to_json(FAILED)
    assert known_prediction().to_dict()["schema"] == "tumorlens-scan/1"


def test_a_list_becomes_a_table_of_pandas(
    prediction: Prediction, refused: Prediction
) -> None:
    results = Predictions([prediction, refused, FAILED, known_prediction()])
    table = results.to_frame()
    assert isinstance(table, pandas.DataFrame)
    assert tuple(table.columns) == CSV_COLUMNS
    assert list(table.finding[:2]) == ["tumor", "not_brain_mri"]
    assert list(table.status[:3]) == ["ok", "ok", "damaged_file"]
    assert table.kinds[0] == ["glioma"]
    assert table.p_glioma.dtype == np.float64
    assert table.p_tumor[0] == pytest.approx(0.9375)
    assert table.p_tumor.isna().tolist() == [False, True, True, False]
    assert table.box_x1[0] == 70
    assert Predictions([]).to_frame().empty


def test_a_list_is_shown_as_a_table(prediction: Prediction) -> None:
    html = checked(Predictions([prediction, FAILED])._repr_html_())
    assert "Tumour: glioma" in html
    assert "Not judged: b.png is cut off" in html
    assert html.count("<tr>") == 3


def test_without_pandas_it_is_said_what_to_install(
    prediction: Prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingLibraryError, match="needs pandas") as caught:
        Predictions([prediction]).to_frame()
    assert caught.value.hint == "Run: pip install pandas"


def test_a_repr_is_one_short_line(prediction: Prediction, refused: Prediction) -> None:
    said = repr(prediction)
    assert said == "<Prediction of 'scan 1.png': tumor (glioma) p_tumor=0.938>"
    assert repr(refused) == "<Prediction of 'scan 1.png': not_brain_mri>"
    kinds = (TumorClass.MENINGIOMA, TumorClass.GLIOMA)
    series = repr(replace(known_prediction(), kinds=kinds))
    assert "tumor (meningioma, glioma) p_tumor=0.938" in series
    assert "array" not in repr(prediction.explanation)
    assert len(repr(prediction.explanation)) < 120
