"""Readers mark what a node said; the mark keeps the images, and both are handed on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from tests.samples.dicom_studies import change, ill_head, wait_for, write_series
from tests.web.uploads.test_store import Clock
from tumorlens.cli.main import main
from tumorlens.errors import InputError, MissingFileError
from tumorlens.inference.series.classifier import (
    SeriesClassifier,
    load_series_classifier,
)
from tumorlens.operations.audit import AUDIT_FILE, verify
from tumorlens.pacs.analysis import analysis_with
from tumorlens.pacs.feedback import mark_series, marked_series, note_answers
from tumorlens.pacs.queue import SeriesQueue
from tumorlens.pacs.shadow import shadow_analysis
from tumorlens.pacs.worker import SeriesWorker
from tumorlens.report.feedback import Feedback
from tumorlens.taxonomy import TumorClass

SECRETS = ("Drawn^Head", "drawn-1")
HOUR = 3600.0


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> SeriesClassifier:
    return load_series_classifier(tiny_bundle, threads=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[SeriesQueue]:
    with closing(SeriesQueue(tmp_path / "queue", HOUR, clock)) as made:
        yield made


def judge(
    queue: SeriesQueue,
    classifier: SeriesClassifier,
    *series: list[Path],
    shadow: bool = False,
) -> list[str]:
    """Let a node judge series whose results nobody is sent; give their UIDs."""
    uids = []
    for files in series:
        for path in files:
            header = dcmread(path, stop_before_pixels=True)
            uid = str(header.SeriesInstanceUID)
            queue.add(str(header.SOPInstanceUID), uid, path.read_bytes())
        uids.append(uid)
    keep = partial(note_answers, queue)
    if shadow:
        analyse = shadow_analysis(classifier, None, queue, keep=keep)
    else:
        analyse = analysis_with(classifier, None, keep=keep)
    with closing(SeriesWorker(queue, analyse, None, 0.0)) as worker:
        worker.start()
        wait_for(lambda: set(queue.counts()) <= {"done", "sending"})
    return uids


def mark(
    queue: SeriesQueue,
    series: str,
    correct: bool,
    finding: str | None = None,
    part: int | None = None,
) -> Feedback:
    return mark_series(queue, series, part, correct, finding, 30.0, 0.0)


@pytest.mark.parametrize("shadow", [False, True])
def test_what_was_said_is_kept_marked_and_handed_on(
    queue: SeriesQueue, classifier: SeriesClassifier, tmp_path: Path, shadow: bool
) -> None:
    one, two = (
        write_series(tmp_path / name, pixels=ill_head()) for name in ("one", "two")
    )
    for path in two:
        change(path, PatientID="drawn-2")
    first, second = judge(queue, classifier, one, two, shadow=shadow)
    (answer,) = queue.answers(first)
    assert answer["decision"] == "glioma"
    assert answer["headline"] == "Tumour: glioma"
    assert not any(secret in json.dumps(answer) for secret in SECRETS)
    assert mark(queue, first, True).finding is TumorClass.GLIOMA
    assert mark(queue, second, False, "meningioma").finding is TumorClass.MENINGIOMA
    results = list(marked_series(queue.folder, now=0.0))
    assert [item.feedback.correct for item in results] == [True, False]
    assert {item.decision for item in results} == {"glioma"}
    assert len({item.group for item in results}) == 2
    assert len({item.name for item in results}) == 2
    told = repr([(item.name, item.group) for item in results])
    assert not any(word in told for word in (*SECRETS, first, second))
    (plain,) = {item.model_version for item in results}
    assert plain == classifier.bundle.version
    stacked = np.stack([dcmread(path).pixel_array for path in one])
    assert np.array_equal(results[0].voxels + results[0].scale[1], stacked)
    assert results[0].spacing_mm == (6.0, 0.8, 0.8)
    affine = results[0].affine_ras
    assert affine is not None and np.allclose(np.diag(affine), (-0.8, -0.8, 6.0, 1.0))


def test_series_of_one_patient_are_one_group(
    queue: SeriesQueue, classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = [write_series(tmp_path / name, pixels=ill_head()) for name in "ab"]
    for uid in judge(queue, classifier, *files):
        mark(queue, uid, True)
    one, two = marked_series(queue.folder, now=0.0)
    assert one.group == two.group


def test_a_mark_keeps_the_images_and_then_they_go(
    queue: SeriesQueue, classifier: SeriesClassifier, clock: Clock, tmp_path: Path
) -> None:
    files = [write_series(tmp_path / name, pixels=ill_head()) for name in "abc"]
    kept, other, undone = judge(queue, classifier, *files)
    for uid in (kept, undone):
        mark(queue, uid, True)
    assert queue.mark(undone, 1, None, 0.0)
    assert not queue.mark(undone, 1, None, 0.0)
    clock.now += 2 * HOUR
    queue.clean()
    assert [uid for uid, _, _ in queue.marked()] == [kept]
    for uid in (other, undone):
        with pytest.raises(MissingFileError, match="not kept any more"):
            mark(queue, uid, True)
    (entry,) = (item for item in queue.entries() if item.series == kept)
    assert entry.feedback["1"]["correct"] is True
    clock.now += 30 * 24 * HOUR
    assert queue.marked() == []
    queue.clean()
    assert queue.marked(now=0.0) == []
    assert not queue.requeue(kept)


def test_a_mark_is_of_the_answer_that_was_there(
    queue: SeriesQueue, classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", pixels=ill_head())
    (uid,) = judge(queue, classifier, files)
    mark(queue, uid, False, "meningioma")
    assert queue.requeue(uid)
    job = queue.next_complete(0.0)
    assert job is not None
    queue.note_answers(job, [{**queue.answers(uid)[0], "decision": "meningioma"}])
    assert queue.put_results(job, [])
    (result,) = marked_series(queue.folder, now=0.0)
    assert (result.decision, result.feedback.correct) == ("glioma", False)
    assert mark(queue, uid, True).finding is TumorClass.MENINGIOMA


def test_a_series_that_was_split_is_marked_by_parts(
    queue: SeriesQueue, classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", slices=12, pixels=ill_head())
    for path in files[6:]:
        change(path, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    for place, path in enumerate(files[6:]):
        change(path, ImagePositionPatient=[6.0 * place, -96.0, 96.0])
    (uid,) = judge(queue, classifier, files)
    assert len(queue.answers(uid)) == 2
    with pytest.raises(InputError, match="in 2 parts"):
        mark(queue, uid, True)
    with pytest.raises(MissingFileError, match="no part 3"):
        mark(queue, uid, True, part=3)
    mark(queue, uid, False, "no_tumor", part=2)
    (result,) = marked_series(queue.folder, now=0.0)
    assert len(result.voxels) == 6
    assert result.plane == queue.answers(uid)[1]["plane"] == "sagittal"


def test_what_cannot_be_marked_is_refused(
    queue: SeriesQueue, classifier: SeriesClassifier, tmp_path: Path
) -> None:
    files = write_series(tmp_path / "a", pixels=ill_head())
    with pytest.raises(MissingFileError, match="not known here"):
        mark(queue, "1.2.3", True)
    (uid,) = judge(queue, classifier, files)
    with pytest.raises(InputError, match="does not fit"):
        mark(queue, uid, True, "meningioma")
    with pytest.raises(InputError, match="no finding"):
        mark(queue, uid, False, "a cold")
    assert list(marked_series(queue.folder, now=0.0)) == []


def test_marks_by_command_become_a_manifest(
    queue: SeriesQueue,
    classifier: SeriesClassifier,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = write_series(tmp_path / "a", pixels=ill_head())
    (uid,) = judge(queue, classifier, files)
    folder, out = str(queue.folder), tmp_path / "out"
    command = ["node", "feedback", "--folder", folder, uid]
    assert main([*command, "--remove"]) == 1
    assert "has no such mark" in capsys.readouterr().err
    assert main(command) == 2
    assert main([*command, "--remove", "--right"]) == 2
    assert main([*command, "--wrong", "--finding", "glioma"]) == 2
    capsys.readouterr()
    assert main([*command, "--wrong", "--finding", "no_tumor"]) == 0
    assert "marked as wrong (no_tumor)" in capsys.readouterr().out
    assert main(["node", "list", "--folder", folder]) == 0
    assert "(marked wrong)" in capsys.readouterr().out
    assert main(["node", "list", "--folder", folder, "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["answers"][0]["headline"] == "Tumour: glioma"
    assert entry["feedback"]["1"]["finding"] == "no_tumor"
    export = ["data", "from-feedback", "--store", folder, "--out", str(out)]
    assert main(export) == 0
    assert "1 result of 1 patient or group, 1 of them wrong" in capsys.readouterr().out
    with (out / "feedback.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["label"], row["correct"], row["said"]) == ("no_tumor", "no", "glioma")
    assert not any(secret in str(row) for secret in (*SECRETS, uid))
    (volume,) = out.glob("*.nii.gz")
    assert nibabel.load(volume).shape == (256, 256, 6)
    assert main([*command, "--remove"]) == 0
    assert main(export) == 0
    assert "No result is marked" in capsys.readouterr().err
    trail = queue.folder / AUDIT_FILE
    assert verify(trail).problem is None
    told = [json.loads(line) for line in trail.read_text().splitlines()]
    details = [line["detail"] for line in told]
    assert details == ["node.unmark", "node.mark", "node.unmark"]
    assert told[1]["objects"] == [uid]
