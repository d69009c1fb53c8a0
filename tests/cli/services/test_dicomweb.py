"""`tumorlens dicomweb --study`, run as people run it, against a real Orthanc."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from tests.samples.dicom_studies import change, ill_head, write_series
from tests.samples.orthanc import PASSWORD, USER, Orthanc, free_port
from tests.samples.scripted_peers import Answer, archive_of, listed
from tests.samples.tls import tls_in_front_of
from tumorlens.cli.main import main
from tumorlens.pacs.dicomweb.client import PASSWORD as PASSWORD_NAME
from tumorlens.pacs.dicomweb.client import TOKEN as TOKEN_NAME
from tumorlens.pacs.dicomweb.client import USER as USER_NAME

Run = Callable[..., int]
BRAINIX = Path(os.environ.get("TUMORLENS_DATA", "../shared/data"), "dicom/brainix/T1")
STUDY = "1.2.826.0.1.3680043.8.498.77"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    made = Orthanc(tmp_path_factory.mktemp("pacs") / "orthanc", dicomweb=True)
    yield made
    made.kill()


@pytest.fixture
def orthanc(server: Orthanc) -> Orthanc:
    """An empty one."""
    server.empty()
    return server


@pytest.fixture
def run(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `tumorlens dicomweb` in this process with the tiny bundle."""
    monkeypatch.setenv(USER_NAME, USER)
    monkeypatch.setenv(PASSWORD_NAME, PASSWORD)

    def go(*arguments: object) -> int:
        texts = [str(item) for item in arguments]
        return main(["dicomweb", *texts, "--model", str(tiny_bundle), "--threads", "1"])

    return go


def test_a_study_gets_its_findings_beside_its_series(
    run: Run, orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orthanc.put(write_series(tmp_path / "a", STUDY, pixels=ill_head()))
    assert run("--url", orthanc.url, "--study", STUDY) == 0
    said = capsys.readouterr()
    assert "Tumour: glioma" in said.out and "3 results stored" in said.out
    assert "Research use only" in said.out or "research use" in said.out
    assert "Drawn" not in said.out + said.err
    assert orthanc.modalities() == {STUDY: ["MR", "OT", "SEG", "SR"]}
    # Asked again, what has a report is passed over.
    assert run("--url", orthanc.url + "/", "--study", STUDY) == 0
    assert "has a TumorLens report" in capsys.readouterr().out
    assert orthanc.modalities() == {STUDY: ["MR", "OT", "SEG", "SR"]}


def test_images_that_cannot_be_fetched_are_told(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_series(tmp_path / "a", STUDY, slices=3, pixels=ill_head())
    images = {f"1.2.1.{place}": path for place, path in enumerate(files)}
    series = {"00080060": {"Value": ["MR"]}, "0020000E": {"Value": ["1.2.1"]}}
    listings = {
        "series": json.dumps([series]).encode(),
        "instances": listed("00080018", *images),
    }

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        name = request.path.split("?")[0].rsplit("/", 1)[1]
        if name in listings:
            return Answer(listings[name])
        if name == "1.2.1.1":
            return Answer(status=500)
        return Answer(images[name].read_bytes(), "application/dicom")

    out = tmp_path / "out"
    with archive_of(answer) as archive:
        assert run("--url", archive._url, "--study", STUDY, "--out", out) == 0
    said = capsys.readouterr().out
    assert "2 images: " in said and "1 of 3 images could not be fetched." in said
    (report,) = out.glob("SR.*")
    told = [item.get("TextValue") or "" for item in dcmread(report).ContentSequence]
    assert any(text.startswith("1 of 3 images of the series") for text in told)


def test_a_patients_study_gets_its_findings_by_the_shipped_model(
    orthanc: Orthanc,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = sorted(BRAINIX.glob("*.dcm"))
    if not files:
        pytest.skip("the data sets are not on this machine")
    monkeypatch.setenv(USER_NAME, USER)
    monkeypatch.setenv(PASSWORD_NAME, PASSWORD)
    orthanc.put(files)
    study = dcmread(files[0]).StudyInstanceUID
    asked = ["dicomweb", "--url", orthanc.url, "--study", study, "--threads", "1"]
    assert main(asked) == 0
    assert "3 results stored" in capsys.readouterr().out
    assert orthanc.modalities() == {study: ["MR", "OT", "SEG", "SR"]}


def test_a_compressed_series_is_taken_as_it_is_stored(
    run: Run, orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in write_series(tmp_path / "a", STUDY, slices=3, pixels=ill_head()):
        item = dcmread(path)
        item.compress(RLELossless)
        item.save_as(path)
        orthanc.put([path])
    assert run("--url", orthanc.url, "--study", STUDY) == 0
    assert "3 images: Tumour: glioma" in capsys.readouterr().out


def test_results_can_go_to_a_folder_instead(
    run: Run, orthanc: Orthanc, tmp_path: Path
) -> None:
    orthanc.put(write_series(tmp_path / "a", STUDY, pixels=ill_head()))
    out = tmp_path / "out"
    assert run("--url", orthanc.url, "--study", STUDY, "--out", out) == 0
    written = [dcmread(path) for path in out.iterdir()]
    assert sorted(item.Modality for item in written) == ["OT", "SEG", "SR"]
    assert {item.StudyInstanceUID for item in written} == {STUDY}
    assert orthanc.modalities() == {STUDY: ["MR"]}


def test_what_is_not_for_the_model_is_left_out_and_the_next_goes_on(
    run: Run, orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scout,) = write_series(tmp_path / "a", STUDY, slices=1, pixels=ill_head())
    orthanc.put([change(scout, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])])
    files = write_series(tmp_path / "b", STUDY, pixels=ill_head())
    orthanc.put([change(path, SeriesNumber=2) for path in files])
    assert run("--url", orthanc.url, "--study", STUDY) == 0
    said = capsys.readouterr()
    assert "Series 1 (1 of 2): left out. image 0 is a localiser" in said.err
    assert "Series 2 (2 of 2), 6 images: " in said.out
    assert orthanc.modalities() == {STUDY: ["MR", "MR", "OT", "SEG", "SR"]}


def test_a_broken_image_is_left_out_of_its_series(
    run: Run, orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_series(tmp_path / "a", STUDY, pixels=ill_head())
    item = dcmread(files[0])
    item.PixelData = item.PixelData[:1000]
    item.save_as(files[0])
    orthanc.put(files)
    assert run("--url", orthanc.url, "--study", STUDY) == 0
    (report,) = orthanc.reports()
    named = report["CurrentRequestedProcedureEvidenceSequence"][0]
    assert len(named["ReferencedSeriesSequence"][0]["ReferencedSOPSequence"]) == 5


def test_a_series_that_the_server_cannot_give_fails_and_the_next_goes_on(
    run: Run, orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_series(tmp_path / "a", STUDY, pixels=ill_head())
    orthanc.put(files)
    other = write_series(tmp_path / "b", STUDY, pixels=ill_head())
    orthanc.put([change(path, SeriesNumber=2) for path in other])
    orthanc.lose(dcmread(files[3]).SOPInstanceUID)
    assert run("--url", orthanc.url, "--study", STUDY) == 1
    said = capsys.readouterr()
    assert "Error: Series 1 (1 of 2): 127.0.0.1" in said.err
    assert "Series 2 (2 of 2), 6 images: " in said.out
    assert len(orthanc.reports()) == 1


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({PASSWORD_NAME: "wrong"}, "does not let in"),
        ({USER_NAME: "", PASSWORD_NAME: ""}, "does not let in"),
        ({USER_NAME: "", PASSWORD_NAME: "", TOKEN_NAME: "abc"}, "does not let in"),
        ({PASSWORD_NAME: ""}, f"{PASSWORD_NAME} is not set"),
        ({TOKEN_NAME: "abc"}, "are set"),
    ],
)
def test_wrong_credentials_are_told(
    run: Run,
    orthanc: Orthanc,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    said: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run("--url", orthanc.url, "--study", STUDY) == 2
    err = capsys.readouterr().err
    assert err.startswith("Error: ") and said in err and err.count("\n") == 1
    assert PASSWORD not in err and "wrong" not in err


def test_a_study_that_is_not_there_or_has_no_mr_is_told(
    run: Run, orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--url", orthanc.url, "--study", "1.2.3") == 2
    assert "has no such study" in capsys.readouterr().err
    (file,) = write_series(tmp_path / "a", STUDY, slices=1)
    orthanc.put([change(file, Modality="CT")])
    assert run("--url", orthanc.url, "--study", STUDY) == 2
    assert "no series of magnetic resonance (MR), but of: CT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "{url}", "--study", "../../instances"], "no study's UID"),
        (
            ["--url", "{url}", "--study", "1.2", "--operating-point", "sharp"],
            "operating point",
        ),
        (["--url", "{url}"], "either --study or --poll"),
        (["--url", "{url}", "--poll", "5"], "go together"),
        (
            [
                *("--url", "{url}", "--poll", "5", "--folder", "queue"),
                *("--worklist", "A@127.0.0.1:104", "--title", "TOO_LONG_FOR_A_TITLE"),
            ],
            "AE title",
        ),
        (["--url", "pacs", "--study", "1.2"], "no address"),
        (["--url", "http://a:b@127.0.0.1/", "--study", "1.2"], "holds credentials"),
        (["--url", "http://127.0.0.1:{free}", "--study", "1.2"], "cannot be reached"),
        (["--url", "{root}", "--study", "1.2"], "Error: 127.0.0.1"),
        (["--url", "{url}", "--study", "1.2", "--ca-bundle", "none.pem"], "none.pem"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(
    run: Run,
    orthanc: Orthanc,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    names = {
        "url": orthanc.url,
        "root": orthanc.url.removesuffix("/dicom-web"),
        "free": free_port(),
    }
    assert run(*(text.format(**names) for text in arguments)) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err


def test_a_certificate_is_checked(
    run: Run, orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-keyout", key, "-out", certificate, "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("openssl makes no certificate here")
    orthanc.put(write_series(tmp_path / "a", STUDY, slices=3, pixels=ill_head()))
    with tls_in_front_of(orthanc.http_port, certificate, key) as port:
        asked = ("--url", f"https://127.0.0.1:{port}/dicom-web", "--study", STUDY)
        assert run(*asked) == 2
        assert "certificate of 127.0.0.1" in capsys.readouterr().err
        assert orthanc.modalities() == {STUDY: ["MR"]}
        assert run(*asked, "--ca-bundle", certificate) == 0
        assert "SR" in orthanc.modalities()[STUDY]
