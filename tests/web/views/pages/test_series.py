"""The pages of a scan: its progress, its finding, and what the viewer fetches."""

from __future__ import annotations

import gzip
import html
import io
import json
import re
from typing import Any

import cv2
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pypdf import PdfReader

from tests.samples.gate import gated
from tests.samples.series_uploads import (
    dark_nifti,
    dicom,
    finish,
    head_slices,
    judged,
    nifti,
    packed,
    send,
    two_series,
)
from tests.samples.uploads import form, text_of
from tumorlens import SeriesClassifier
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.uploads.store import Store


def facts_of(page: str) -> dict[str, Any]:
    """What the viewer's script is told."""
    found = re.search(r"data-scan='([^']+)'", page)
    assert found is not None
    facts: dict[str, Any] = json.loads(html.unescape(found[1]))
    return facts


def test_a_form_is_answered_with_the_scan_s_page(client: FlaskClient) -> None:
    page = judged(client, ("head.nii.gz", nifti()))
    said = text_of(client.get(page).text)
    assert "Tumour: glioma" in said
    assert "The model sees a tumour in this series, and takes it for a glioma." in said
    assert "Most suspicious spot: " in said
    assert "research use only" in said.lower()
    assert RESEARCH_USE in said
    finding = client.get(f"{page}/series/0/finding.json").json
    assert finding is not None
    assert finding["reasons"]
    assert all(" ".join(text.split()) in said for text in finding["reasons"])
    assert "does not say how the series was weighted" in said


def test_a_script_is_given_the_address(client: FlaskClient) -> None:
    headers = {"Accept": "application/json"}
    response = client.post("/scans", headers=headers, **form(("a.nii.gz", nifti())))
    assert response.status_code == 202
    assert response.json is not None
    assert client.get(response.json["url"]).status_code == 200


def test_the_browser_gets_the_voxels_that_were_sent(client: FlaskClient) -> None:
    page = judged(client, ("head.nii.gz", nifti()))
    facts = facts_of(client.get(page).text)
    response = client.get(facts["voxels"])
    assert response.headers["Content-Encoding"] == "gzip"
    block = np.frombuffer(gzip.decompress(response.data), "<u2").reshape(facts["shape"])
    assert np.array_equal(block * facts["slope"] + facts["offset"], head_slices())
    evidence = np.frombuffer(
        gzip.decompress(client.get(facts["evidence"]).data), np.uint8
    ).reshape(facts["shape"])
    peak = np.unravel_index(evidence.argmax(), evidence.shape)
    assert peak[0] in range(3, 6)
    assert facts["first"][0] in range(3, 6)
    assert len(facts["p_tumor"]) == 8
    assert len(facts["colors"]) == 3 * 256


def test_three_planes_where_the_place_is_known(client: FlaskClient) -> None:
    facts = facts_of(client.get(judged(client, ("head.nii.gz", nifti()))).text)
    views = {view["plane"]: view for view in facts["views"]}
    assert set(views) == {"axial", "coronal", "sagittal"}
    assert facts["views"][0]["order"] == [0, 1, 2]
    assert views["axial"]["edges"] == ["R", "L", "A", "P"]
    assert views["coronal"]["edges"] == ["R", "L", "S", "I"]
    assert views["sagittal"]["edges"] == ["A", "P", "S", "I"]
    assert views["coronal"]["spacing_mm"] == [8.0, 1.0]


def test_one_plane_where_it_is_not(client: FlaskClient) -> None:
    files = dicom(ImagePositionPatient=None, ImageOrientationPatient=None)
    page = client.get(judged(client, *files)).text
    facts = facts_of(page)
    assert len(facts["views"]) == 1
    assert facts["views"][0]["edges"] is None
    assert "All three" not in page


def test_lengths_are_in_pixels_where_no_spacing_is_known(client: FlaskClient) -> None:
    known = client.get(judged(client, *dicom())).text
    assert "lengths are in mm" in text_of(known)
    files = dicom(
        ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None
    )
    page = client.get(judged(client, *files)).text
    assert "lengths are in pixels, not in mm" in text_of(page)
    assert facts_of(page)["views"][0]["spacing_mm"] is None


def test_each_series_can_be_chosen_and_t1_comes_first(client: FlaskClient) -> None:
    page = judged(client, ("study.zip", two_series()))
    first = client.get(page).text
    assert "series 2: T1, axial" in text_of(first)
    assert first.count('class="series-link"') == 2
    other = client.get(f"{page}?series=1").text
    assert "series 1: T2, axial" in text_of(other)
    assert "its figures do not hold here" in text_of(other)
    assert facts_of(first)["voxels"] != facts_of(other)["voxels"]
    for wrong in ("0", "3", "x", "-1"):
        assert client.get(f"{page}?series={wrong}").status_code == 200


def test_nothing_names_the_person_in_the_files(client: FlaskClient) -> None:
    page = judged(client, *dicom(SeriesDescription="DOE JANE brain"))
    for address in (page, "/", f"{page}/status", f"{page}/series/0/finding.json"):
        found = client.get(address).text
        for name in ("DOE", "JANE", "Secret"):
            assert name not in found


def test_a_single_picture_leads_to_its_own_page(
    client: FlaskClient, lesion_png: bytes
) -> None:
    page = judged(client, ("one.zip", packed(("a.png", lesion_png))))
    found = client.get(page).text
    assert "1 single picture" in text_of(found)
    link = re.search(r'href="(/analyses/[^"]+)"', found)
    assert link is not None
    assert "Tumour: glioma" in client.get(link[1]).text


def test_a_picture_that_is_gone_does_not_hide_the_others(
    client: FlaskClient, lesion_png: bytes
) -> None:
    data = packed(("a.png", lesion_png), ("b.png", lesion_png))
    page = judged(client, ("two.zip", data))
    links = re.findall(r'href="(/analyses/[^"]+)"', client.get(page).text)
    assert len(links) == 2
    client.post(f"{links[0]}/delete")
    left = client.get(page).text
    assert "1 single picture" in text_of(left)
    assert re.findall(r'href="(/analyses/[^"]+)"', left) == links[1:]
    client.post(f"{links[1]}/delete")
    assert "The pictures were deleted" in text_of(client.get(page).text)
    assert client.post(f"{page}/delete").status_code == 303


def test_progress_then_stop(
    classifier: SeriesClassifier, store: Store, settings: Settings
) -> None:
    waiting, gate = gated(classifier)
    client = create_app(waiting, store, settings).test_client()
    page = send(client, ("a.nii.gz", nifti()))
    gate.wait_for_it()
    found = client.get(page).text
    assert "Judging every slice" in text_of(found)
    assert f'data-status="{page}/status"' in found
    assert client.post(f"{page}/stop").status_code == 303
    assert finish(client, f"{page}/status")["state"] == "stopped"
    assert "Stopped" in text_of(client.get(page).text)
    gate.open()
    later = judged(client, ("b.nii.gz", nifti()))
    assert finish(client, f"{page}/status")["state"] == "stopped"
    assert "Stopped" in text_of(client.get("/").text)
    assert client.post(f"{later}/stop").status_code == 303
    assert finish(client, f"{later}/status")["state"] == "done"


def test_a_scan_that_waits_can_be_stopped(
    classifier: SeriesClassifier, store: Store, settings: Settings
) -> None:
    waiting, gate = gated(classifier)
    client = create_app(waiting, store, settings).test_client()
    first = send(client, ("a.nii.gz", nifti()))
    second = send(client, ("b.nii.gz", nifti()))
    gate.wait_for_it()
    assert finish(client, f"{second}/status", "waiting")["state"] == "waiting"
    client.post(f"{second}/stop")
    gate.open()
    assert finish(client, f"{first}/status")["state"] == "done"
    assert finish(client, f"{second}/status")["state"] == "stopped"
    assert nifti() not in [p.read_bytes() for p in (store.folder / "files").iterdir()]


def test_a_failure_is_a_page_with_the_reason(client: FlaskClient) -> None:
    page = send(client, ("cut.zip", b"PK\3\4 and no more"))
    finish(client, f"{page}/status")
    said = text_of(client.get(page).text)
    assert "cut.zip starts like a zip archive" in said
    assert "Could not be judged" in text_of(client.get("/").text)


def test_no_file_and_too_much_say_so(
    classifier: SeriesClassifier, store: Store, client: FlaskClient
) -> None:
    assert client.post("/scans", **form(("", b""))).status_code == 422
    small = create_app(classifier, store, Settings(scan_mb=1)).test_client()
    response = small.post("/scans", **form(("a.nii", b"x" * (2 * 2**20))))
    assert response.status_code == 413
    assert "larger than 1 MB" in response.text


def test_another_browser_sees_and_does_nothing(app: Flask, client: FlaskClient) -> None:
    page = judged(client, ("a.nii.gz", nifti()))
    other = app.test_client()
    other.get("/")
    series = f"{page}/series/0"
    for address in (
        page,
        f"{page}/status",
        f"{series}/voxels",
        f"{series}/evidence",
        f"{series}/thumbnail.png",
        f"{series}/finding.json",
        f"{series}/evidence.nii.gz",
    ):
        assert client.get(address).status_code == 200, address
        assert other.get(address).status_code == 404, address
    for action in ("stop", "delete"):
        assert other.post(f"{page}/{action}").status_code == 404
    other.post("/analyses/delete")
    assert client.get(page).status_code == 200


def test_a_series_that_is_none_leads_nowhere(client: FlaskClient) -> None:
    page = judged(client, ("a.nii.gz", nifti()))
    for end in ("voxels", "evidence", "thumbnail.png", "finding.json"):
        assert client.get(f"{page}/series/1/{end}").status_code == 404


@pytest.mark.parametrize("action", ["stop", "delete"])
def test_a_form_of_another_site_is_refused(client: FlaskClient, action: str) -> None:
    headers = {"Origin": "http://evil.example"}
    assert client.post("/scans", headers=headers).status_code == 403
    assert client.post(f"/scans/x/{action}", headers=headers).status_code == 403


def test_the_list_shows_scans_and_deletes_them(
    client: FlaskClient, store: Store
) -> None:
    page = judged(client, ("head.nii.gz", nifti()))
    home = client.get("/").text
    assert page in home
    assert "head.nii.gz" in home
    thumbnail = re.search(r'src="(/scans/[^"]+thumbnail.png)"', home)
    assert thumbnail is not None
    data = np.frombuffer(client.get(thumbnail[1]).data, np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).shape == (160, 160)
    assert client.post(f"{page}/delete").status_code == 303
    assert client.get(page).status_code == 404
    assert not list((store.folder / "files").iterdir())
    judged(client, ("head.nii.gz", nifti()))
    client.post("/analyses/delete")
    assert "Nothing yet" in client.get("/").text


def test_downloads_are_named_after_the_scan(client: FlaskClient) -> None:
    page = judged(client, ("head.nii.gz", nifti()))
    for end, name in (
        ("finding.json", "head.series1.tumorlens.json"),
        ("evidence.nii.gz", "head.series1.evidence.nii.gz"),
    ):
        response = client.get(f"{page}/series/0/{end}")
        assert name in response.headers["Content-Disposition"]


def test_the_report_holds_every_series(client: FlaskClient) -> None:
    page = judged(client, ("study.zip", two_series()))
    assert f'href="{page}/report.pdf"' in client.get(page).text
    response = client.get(f"{page}/report.pdf")
    assert "study.tumorlens.pdf" in response.headers["Content-Disposition"]
    pages = [item.extract_text() for item in PdfReader(io.BytesIO(response.data)).pages]
    assert len(pages) >= 3  # what was found in all, then each series
    assert all("NOT FOR CLINICAL USE" in text for text in pages)


def test_a_scan_that_was_stopped_has_no_report(
    classifier: SeriesClassifier, store: Store, settings: Settings
) -> None:
    waiting, gate = gated(classifier)
    client = create_app(waiting, store, settings).test_client()
    page = send(client, ("a.nii.gz", nifti()))
    gate.wait_for_it()
    assert client.get(f"{page}/report.pdf").status_code == 409
    client.post(f"{page}/stop")
    gate.open()
    assert finish(client, f"{page}/status")["state"] == "stopped"
    assert client.get(f"{page}/report.pdf").status_code == 404
    assert "report.pdf" not in client.get(page).text


def test_no_markup_comes_in_by_a_file_s_name(client: FlaskClient) -> None:
    name = "<script>alert(1)</script>'\".nii.gz"
    page = judged(client, (name, nifti()))
    for address in (page, "/"):
        found = client.get(address).text
        assert "<script>alert" not in found
        assert "'\".nii" not in found


def test_a_scan_of_which_nothing_was_judged_shows_no_number(
    client: FlaskClient,
) -> None:
    page = judged(client, ("dark.nii.gz", dark_nifti()))
    found = client.get(page).text
    said = text_of(found)
    assert "Nothing in this series could be judged. Do not take it for a clear" in said
    assert "No slice shows enough brain to be judged." in said
    assert "0 judged, 8 without brain" in said
    assert "Any tumour" not in said
    numbers = re.findall(r"[\d.]+ %", said)
    # Only the zoom and the scale of the empty curve are left.
    assert numbers == ["100 %", "100 %", "50 %", "0 %"]
    assert facts_of(found)["evidence"] is None
    row = text_of(client.get("/").text)
    assert "Not judged: no slice shows enough brain" in row
    assert "any tumour" not in row
    status = client.get(f"{page}/status").json
    assert status is not None
    assert status["series"][0]["p_tumor"] is None
    assert "enough brain" in status["series"][0]["not_judged"]
    evidence = client.get(f"{page}/series/0/evidence.nii.gz")
    assert evidence.status_code == 404
    assert "There is no evidence to give" in evidence.text


def test_any_two_judged_series_of_a_session_are_compared(
    app: Flask, client: FlaskClient
) -> None:
    study = judged(client, ("study.zip", two_series()))
    single = judged(client, ("head.nii.gz", nifti()))
    html_of_study = client.get(f"{study}?series=1").text
    assert html_of_study.index(f'{study[7:]}.2"') < html_of_study.index(
        f'{single[7:]}.1"'
    )
    assert f'value="{study[7:]}.1"' not in html_of_study
    page = client.get(f"{study}/compare?series=1&with={study[7:]}.2")
    assert page.status_code == 200
    assert "T2, axial: study.zip, series 1" in text_of(page.text)
    assert "T1, axial: study.zip, series 2" in text_of(page.text)
    assert 'data-together="true"' in page.text
    sides = [
        json.loads(html.unescape(found))
        for found in re.findall(r"data-series='([^']+)'", page.text)
    ]
    for side in sides:
        assert np.array(side["affine"]).shape == (3, 4)
        assert client.get(side["voxels"]).status_code == 200
    apart = client.get(f"{study}/compare?series=2&with={single[7:]}.1").text
    assert 'data-together="false"' in apart
    assert (
        app.test_client().get(f"{study}/compare?with={single[7:]}.1").status_code == 404
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            dicom(series="1.2.3.5", PatientID="1", EchoTime=100),
            dicom(series="1.2.3.6", PatientID="2", EchoTime=10),
        ),
        ([("sub-01_T1w.nii.gz", nifti())], [("sub-02_T1w.nii.gz", nifti())]),
    ],
    ids=["by header", "by name"],
)
def test_heads_of_two_people_have_no_place_in_common(
    client: FlaskClient,
    first: list[tuple[str, bytes]],
    second: list[tuple[str, bytes]],
) -> None:
    members = [
        (f"{folder}/{name}", data)
        for folder, files in (("a", first), ("b", second))
        for name, data in files
    ]
    page = judged(client, ("people.zip", packed(*members)))
    compared = client.get(f"{page}/compare?series=1&with={page[7:]}.2")
    assert compared.status_code == 200
    assert 'data-together="false"' in compared.text


@pytest.mark.parametrize("asked", ["", "series=3&", "series=x&", "series=0&"])
def test_a_comparison_with_nothing_leads_nowhere(
    client: FlaskClient, asked: str
) -> None:
    page = judged(client, ("head.nii.gz", nifti()))
    other = "gone.1" if not asked else f"{page[7:]}.1"
    assert client.get(f"{page}/compare?{asked}with={other}").status_code == 404
    assert client.get(f"{page}/compare?series=1&with={page[7:]}.9").status_code == 404
