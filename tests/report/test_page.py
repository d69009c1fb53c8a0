"""Pages stand alone, escape everything, and say what they must, figures or archives."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.samples.evaluation_page import HOSTILE, demo_png, demo_sections
from tumorlens.report.page import (
    NOT_CLINICAL,
    numeric_columns,
    render_archive,
    render_evaluation,
)
from tumorlens.report.page_parts import Section, Table

VOID = {"meta", "link", "img", "path", "rect", "circle", "polygon"}


class Page(HTMLParser):
    """Every tag with its attributes, and whether all of them are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return render_evaluation("Evaluation", "evidence-net, made up", demo_sections())


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_page_is_well_formed_and_its_ids_differ(page: Page) -> None:
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_nothing_is_fetched_and_nothing_runs(text: str, page: Page) -> None:
    assert page.all("script") == []
    for _, attrs in page.tags:
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("data:", "#"))
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", text)
    assert "@import" not in text
    policy = [meta for meta in page.all("meta") if "http-equiv" in meta]
    assert policy[0]["content"] == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    )


def test_the_contents_list_leads_to_every_section(page: Page) -> None:
    sections = [attrs["id"] for attrs in page.all("section")]
    assert sections == [section.id for section in demo_sections()]
    links = [attrs.get("href") for attrs in page.all("a")]
    for name in sections:
        assert f"#{name}" in links


def test_every_link_within_the_page_has_a_goal(page: Page) -> None:
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    for link in page.all("a"):
        assert (link["href"] or "").removeprefix("#") in ids


def test_research_use_stands_at_both_ends(text: str) -> None:
    assert NOT_CLINICAL == "Research use only, not for clinical use"
    assert NOT_CLINICAL in text.split("<main")[0]
    assert NOT_CLINICAL in text.split("</main>")[1]


def test_hostile_words_are_escaped_everywhere(text: str) -> None:
    page = render_evaluation(HOSTILE, HOSTILE, demo_sections())
    for made in (text, page):
        assert HOSTILE not in made
        assert "<script" not in made


def test_pictures_are_within_the_file(page: Page) -> None:
    first = page.all("img")[0]["src"]
    assert first is not None
    data = base64.b64decode(first.removeprefix("data:image/png;base64,"))
    assert data == demo_png(0)


def test_figures_stand_to_the_right_and_words_to_the_left() -> None:
    table = Table(
        "",
        ("", "a", "b", "c", "d", "e", "f"),
        (
            ("1", "0.9 [0.8, 1.0]", "12 ms", "cheng", "–", "T1, 2 slices", "−0.3"),
            ("2", "–", "1,295", "3 of 4", "–", "4", "< 0.001"),
        ),
    )
    assert numeric_columns(table) == [False, True, True, False, True, False, True]


def test_a_page_without_sections_is_still_a_page() -> None:
    assert Page(render_evaluation("Empty", "", [])).open == []


def test_two_sections_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="ids have to differ"):
        render_evaluation("", "", [Section("a", "A"), Section("a", "B")])


def test_a_row_of_another_length_is_refused() -> None:
    table = Table("Main", ("", "one"), (("a", "1", "2"),))
    with pytest.raises(ValueError, match="'Main' has 3 cells for 2 columns"):
        render_evaluation("", "", [Section("a", "A", tables=(table,))])


def test_an_interval_may_stand_below_its_value_but_neither_is_torn() -> None:
    table = Table("", ("", "Share"), [("a", "0.91 [0.88, 0.94]"), ("b", "1 <2 [x]")])
    text = render_evaluation("t", "s", [Section("one", "One", tables=(table,))])
    whole = '<span class="whole">{}</span>'
    assert f"{whole.format('0.91')} {whole.format('[0.88, 0.94]')}" in text
    assert whole.format("1 &lt;2") in text


def test_a_table_s_shades_follow_its_cells() -> None:
    table = Table(
        "", ("True", "a", "b"), [("a", "9", "1"), ("b", "0", "4")], [[0.9, 0.1], [0, 1]]
    )
    text = render_evaluation("t", "s", [Section("one", "One", tables=(table,))])
    shades = re.findall(r'class="n heat" style="--heat: (\d+)%">(\d)<', text)
    assert shades == [("40", "9"), ("4", "1"), ("0", "0"), ("45", "4")]
    unfit = replace(table, heat=[[0.9, 0.1, 0.0], [0, 1]])
    with pytest.raises(ValueError, match="shades"):
        render_evaluation("t", "s", [Section("one", "One", tables=(unfit,))])


def test_what_follows_the_first_sections_is_folded_and_opened_by_its_link() -> None:
    sections = [Section(f"s{n}", f"Part {n}", (f"words {n}",)) for n in range(7)]
    text = render_evaluation("t", "s", sections)
    first = text.index("<details")
    assert text.index("words 3") < first < text.index("words 4")
    assert text.count("<details") == 3
    # Browsers open what a link within the page leads into.
    for inside in re.findall(r"<details.*?</details>", text, re.DOTALL):
        assert re.search(r'</summary>\s*<section class="body" id="s\d"', inside)


COUNTS = {
    "month": [
        {"month": None, "decision": None, "slices": 0, "failed": 3},
        {"month": "2026-01", "decision": "glioma", "slices": 30, "failed": 0},
        {"month": "2026-01", "decision": "no_tumor", "slices": 10, "failed": 0},
        {"month": "2026-02", "decision": "not_brain_mri", "slices": 1234, "failed": 0},
    ],
    "field_strength": [
        {"field_strength": 1.5, "decision": "glioma", "slices": 30, "failed": 0}
    ],
    "plane": [],
}
SERIES = [
    {
        **{"month": "2026-01", "scanner": scanner, "decision": "glioma"},
        **{"series": f"1.2.{number}", "slices": 5, "file": "<b>.dcm", "slice": 2},
        **{"p_tumor": 0.987, "maps": maps},
    }
    for number, (scanner, maps) in enumerate(
        (("A", "00000/x"), ("A", None), (None, None))
    )
]
TOTALS = {"rows": 1277, "slices": 1274, "failed": 3, "series": 9}


def archive_page(**changed):
    given = {
        "totals": TOTALS,
        "counts": COUNTS,
        "histogram": [1, 2, 3, 4],
        "series": SERIES,
        "left_out": {("2026-01", "A", "glioma"): 7},
        "link": lambda stem: f"maps/{stem}.overlay.png",
        "subtitle": "results & more",
    }
    return render_archive(**(given | changed))


def test_counts_stand_by_value_and_decision():
    html = archive_page()
    assert "results &amp; more" in html
    assert "<dd>1,274</dd>" in html
    assert ">2026-02</th>" in html
    assert "not brain MRI 1,234" in html
    assert ">1.5</th>" in html
    # Bars are as long as their share of the largest value.
    widths = [float(text) for text in re.findall(r"--w: ([\d.]+)", html)]
    assert widths[:3] == [2.43, 0.81, 100.0]
    assert "By plane" not in html
    assert "<svg" in html


def test_decisions_stand_in_words_and_colours_of_their_own():
    names = ("tumor", "uncertain", "other", "not_brain_mri")
    rows = [
        {"month": "2026-01", "decision": name, "slices": 1, "failed": 0}
        for name in names
    ]
    html = archive_page(counts={"month": rows})
    for title in ("tumour, kind open 1", "unclear 1", "tumour of another kind 1"):
        assert f"</span>{title}</li>" in html
    assert len(set(re.findall(r'<li><span style="--c: (#\w+)"', html))) == 4


def test_series_are_folded_by_month_scanner_and_decision():
    html = archive_page()
    folds = re.findall(r"<summary>(.*?)</summary>", html)
    assert [fold.removesuffix(" series or single images") for fold in folds] == [
        *("2026-01: 10", "A: 9", "glioma: 9"),
        *("not stated: 1", "glioma: 1"),
    ]
    assert html.count('href="maps/00000/x.overlay.png"') == 1
    assert "7 more" in html
    assert "<b>.dcm" not in html
    assert "&lt;b&gt;.dcm" in html


def test_an_archive_without_results_says_so():
    html = archive_page(counts={"month": []}, series=[], left_out={}, histogram=[0, 0])
    assert "No slice was judged." in html


def test_the_page_loads_nothing():
    html = archive_page()
    assert "default-src 'none'" in html
    assert "<script" not in html
    assert not re.findall(r'(?:src|href)="https?:', html)
