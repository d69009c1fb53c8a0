"""Shadow mode: findings are kept, labels are read, and the two are set side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.analysis.test_own_classes import OWN
from tests.conftest import build_tiny_bundle
from tests.samples.dicom_studies import change, ill_head, wait_for, write_series
from tumorlens.errors import DatasetError, MissingFileError
from tumorlens.evaluation.shadow import measure_shadow
from tumorlens.inference.series.classifier import (
    SeriesClassifier,
    load_series_classifier,
)
from tumorlens.inference.study.classifier import StudyClassifier
from tumorlens.pacs.node.node_queue import NodeQueue
from tumorlens.pacs.queue import SeriesQueue
from tumorlens.pacs.shadow import (
    judged_classes,
    read_labels,
    shadow_analysis,
    shadow_cases,
    shadow_study_analysis,
)
from tumorlens.pacs.worker import SeriesWorker, Studies
from tumorlens.taxonomy import Answer, Lesion, TumorClass, Verdict

SECRETS = ("Drawn^Head", "drawn-1")


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> SeriesClassifier:
    return load_series_classifier(tiny_bundle, threads=1)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SeriesQueue]:
    with closing(SeriesQueue(tmp_path / "queue", 3600.0)) as made:
        yield made


def add(queue: SeriesQueue, files: list[Path], series: str) -> None:
    for place, path in enumerate(files):
        queue.add(f"{series}.{place}", series, path.read_bytes())


def judge_all(queue: SeriesQueue, classifier: SeriesClassifier, count: int) -> None:
    analyse = shadow_analysis(classifier, None, queue)
    with closing(SeriesWorker(queue, analyse, None, 0.0)) as worker:
        worker.start()
        wait_for(lambda: queue.counts() == {"done": count})


def test_findings_are_kept_and_meet_their_labels(
    queue: SeriesQueue, classifier: SeriesClassifier, tmp_path: Path
) -> None:
    study = "1.2.826.0.1"
    ill = write_series(tmp_path / "ill", study, pixels=ill_head())
    other = write_series(tmp_path / "other", study)
    for path in (*ill, *other):
        change(
            path,
            AccessionNumber="A-17",
            ManufacturerModelName="Vision",
            MagneticFieldStrength=15_000,
        )
    ct = write_series(tmp_path / "ct", "1.2.826.0.2", slices=1)
    change(ct[0], Modality="CT", PatientID="drawn-2")
    for series, files in (("1", ill), ("2", other), ("3", ct)):
        add(queue, files, series)
    judge_all(queue, classifier, 3)
    queue.keep_labels(
        {"accession_number=A-17": "glioma", "accession_number=B": "tumor"}
    )
    cases = shadow_cases(queue)
    assert (cases.labels, cases.unmatched) == (2, 1)
    assert cases.states == {"done": 3}
    by_study = {case.study: case for case in cases.studies}
    found = by_study[study]
    assert found.answer is Answer.TUMOR
    assert found.kinds == (TumorClass.GLIOMA,)
    assert found.label is TumorClass.GLIOMA
    assert found.scanner == "drawn Vision 1.5 T"
    refused = by_study["1.2.826.0.2"]
    assert refused.answer is Answer.NOT_BRAIN_MRI
    assert refused.reason == "bad_input" and refused.label is None
    assert found.patient != refused.patient
    assert len(cases.series) == 3
    # The study's own label goes before that of its accession number.
    queue.keep_labels({f"study_instance_uid={study}": "no_tumor"})
    (case,) = (item for item in shadow_cases(queue).studies if item.study == study)
    assert case.label is TumorClass.NO_TUMOR
    kept = json.dumps([facts for _, facts in queue.noted()])
    assert not any(secret in kept for secret in SECRETS)
    # With the last series of the study its labels go, and no other's.
    assert queue.forget("1") and len(queue.labels()) == 3
    assert queue.forget("2") and list(queue.labels()) == ["accession_number=B"]


def test_labels_may_be_of_classes_of_ones_own(
    queue: SeriesQueue, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    build_tiny_bundle(folder, OWN)
    own = load_series_classifier(folder, threads=1)
    for number in range(3):
        study = f"1.2.826.0.{number}"
        pixels = ill_head() if number < 2 else None
        add(queue, write_series(tmp_path / f"{number}", study, pixels=pixels), study)
    judge_all(queue, own, 3)
    assert judged_classes(queue) == OWN
    table = tmp_path / "labels.csv"
    lines = ("1.2.826.0.0,Astro_Cytoma", "1.2.826.0.1,glioma", "1.2.826.0.2,healthy")
    table.write_text("\n".join(("study_instance_uid,label", *lines)))
    with pytest.raises(DatasetError, match="label that is not known"):
        read_labels(table)
    found = read_labels(table, OWN)
    queue.keep_labels({name: label.value for name, label in found.items()})
    cases = {case.study[-1]: case for case in shadow_cases(queue).studies}
    assert cases["0"].label == "astro_cytoma" and cases["0"].kinds == (OWN[0],)
    figures = measure_shadow(list(cases.values()), list(cases.values()))["all"]
    # A glioma is a tumour, of no kind that this model could name.
    assert (figures["tumor"], figures["free"]) == (2, 1)
    assert figures["sensitivity"]["value"] == figures["specificity"]["value"] == 1.0
    assert figures["kind_named"]["value"] == 1.0


def test_a_part_is_kept_as_its_report_would_say_it(
    queue: SeriesQueue, classifier: SeriesClassifier, tmp_path: Path
) -> None:
    add(queue, write_series(tmp_path / "healthy"), "1")
    job = queue.next_complete(0.0)
    assert job is not None
    part = type(job)(job.series, job.files, lease=job.lease, doubts=("It broke off.",))
    shadow_analysis(classifier, None, queue)(part)
    ((_, facts),) = queue.noted()
    (finding,) = facts["findings"]
    assert finding["partial"] is True
    assert finding["finding"] != "no_tumor"
    assert finding["p_tumor"] is None and finding["probabilities"] is None


def test_facts_of_a_series_that_is_anothers_are_not_kept(queue: SeriesQueue) -> None:
    queue.add("1.1", "1", b"first")
    job = queue.next_complete(0.0)
    assert job is not None
    queue.add("1.2", "1", b"second")
    assert not queue.note(job, {"status": "ok"})
    assert [facts for _, facts in queue.noted()] == [{}]


def test_one_patient_has_one_pseudonym_in_a_queue_and_another_elsewhere(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a")
    again = write_series(tmp_path / "b")
    patients = []
    for name in ("one", "two"):
        with closing(SeriesQueue(tmp_path / name, 3600.0)) as queue:
            add(queue, files, "1")
            add(queue, again, "2")
            judge_all(queue, classifier, 2)
            patients.append({case.patient for case in shadow_cases(queue).studies})
            key = queue.folder / "pseudonyms.key"
            assert key.stat().st_mode & 0o077 == 0
    assert [len(found) for found in patients] == [1, 1]
    assert patients[0] != patients[1]


def test_labels_are_read_in_the_usual_spellings(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "\ufeffAccessionNumber,Study Instance UID,remark,LABEL\n"
        "A1,,x,Glioma\n,1.2.3,,tumour\nA2,1.2.4,,no_tumor\nA3,,,vascular\n",
        encoding="utf-8",
    )
    assert read_labels(path) == {
        "accession_number=A1": TumorClass.GLIOMA,
        "study_instance_uid=1.2.3": Verdict.TUMOR,
        "accession_number=A2": TumorClass.NO_TUMOR,
        "study_instance_uid=1.2.4": TumorClass.NO_TUMOR,
        "accession_number=A3": Lesion.VASCULAR,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accession_number\nA1\n", "no columns of labels"),
        ("label\nglioma\n", "no columns of labels"),
        ("", "no columns of labels"),
        ("accession_number,label\nA1,perhaps\n", "Row 2"),
        ("accession_number,label\nA1,glioma\nA2\n", "Row 3"),
        ("accession_number,label\n,glioma\n", "names no study"),
        ("accession_number,label\nA1,glioma\nA1,no_tumor\n", "contradicts"),
        ("accession_number,label\nA1,\udcff\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_list_of_labels_is_refused_whole(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=said) as caught:
        read_labels(path)
    assert "A1" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(DatasetError):
        read_labels(tmp_path)


def test_a_study_that_was_judged_together_has_that_answer(
    classifier: SeriesClassifier, tmp_path: Path
) -> None:
    folder = tmp_path / "studies"
    folder.mkdir()
    study = "1.2.826.0.1"
    first = write_series(tmp_path / "t1", study)
    second = write_series(tmp_path / "t1c", study, pixels=ill_head())
    for path in first:
        change(path, SeriesDescription="T1 ax", FrameOfReferenceUID="1.2.3")
    for path in second:
        change(
            path,
            SeriesDescription="T1 ax + Gd",
            ContrastBolusAgent="Gd",
            FrameOfReferenceUID="1.2.3",
        )
    with closing(NodeQueue(tmp_path / "queue", 3600.0, study_seconds=0.0)) as queue:
        add(queue, first, "1")
        add(queue, second, "2")
        model = StudyClassifier(classifier.slice_classifier())
        worker = SeriesWorker(
            queue,
            shadow_analysis(classifier, None, queue),
            None,
            0.0,
            studies=Studies(
                queue.next_study, shadow_study_analysis(model, None, folder, queue)
            ),
        )
        with closing(worker):
            worker.start()
            wait_for(lambda: queue.counts() == {"done": 3} and both_joined(queue))
        cases = shadow_cases(queue)
        (joint,) = (
            facts["findings"][0]
            for entry, facts in queue.noted()
            if entry.series == f"study:{study}"
        )
    assert cases.states == {"done": 2} and len(cases.series) == 2
    (case,) = cases.studies
    assert (case.study, case.sequence) == (study, "")
    assert case.answer.value == joint["finding"]
    assert list(case.kinds) == joint["kinds"]
    assert {path.suffix for path in folder.iterdir()} == {".json", ".pdf"}


def both_joined(queue: NodeQueue) -> bool:
    """Tell whether the study was judged with both of its series."""
    return any(
        entry.series.startswith("study:") and facts.get("findings")
        for entry, facts in queue.noted()
    )
