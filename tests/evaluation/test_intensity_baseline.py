"""The baseline sees brightness: it tells sets apart, and nothing inside a set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import Phantom
from tumorlens.data.manifest import Record
from tumorlens.errors import DatasetError
from tumorlens.evaluation.intensity_baseline import (
    STATISTICS,
    cross_validate_intensity_baseline,
    intensity_statistics,
)
from tumorlens.report.evaluation.performance import baseline_section
from tumorlens.taxonomy import TumorClass


@pytest.fixture(scope="module")
def two_scanners(
    phantom: Phantom, tmp_path_factory: pytest.TempPathFactory
) -> list[Record]:
    """Heads without any tumour, in three places, labelled by chance.

    All heads called gliomas in place "g" were made darker than those called
    tumour-free in place "n"; place "both" holds both labels on equal heads.
    """
    folder = tmp_path_factory.mktemp("heads")
    places = {
        "g": ((TumorClass.GLIOMA,), 2.0),
        "n": ((TumorClass.NO_TUMOR,), 0.6),
        "both": ((TumorClass.GLIOMA, TumorClass.NO_TUMOR), 1.0),
    }
    records = []
    for row, (source, (labels, gamma)) in enumerate(places.items()):
        for patient in range(16):
            path = folder / f"{source}{patient}.png"
            head = phantom(64, 64, seed=100 * row + patient) / 255.0
            cv2.imwrite(str(path), np.rint(255.0 * head**gamma).astype(np.uint8))
            label = labels[patient % len(labels)]
            site = "north" if source == "both" else ""
            records.append(
                Record(path, label, f"{source}{patient}", source=source, site=site)
            )
    return records


def in_folds(records: list[Record]) -> list[Record]:
    return [replace(record, fold=(row // 2) % 4) for row, record in enumerate(records)]


def test_ten_numbers_for_any_picture(phantom: Phantom) -> None:
    found = intensity_statistics(phantom().astype(np.float32))
    assert found.shape == (len(STATISTICS),) == (10,)
    assert np.isfinite(found).all()
    assert not intensity_statistics(np.full((8, 8), 7.0, np.float32)).any()


def test_statistics_of_a_picture_worked_out_by_hand() -> None:
    half = np.zeros((10, 10), np.float32)
    half[:, 5:] = 200.0
    found = dict(zip(STATISTICS, intensity_statistics(half), strict=True))
    assert found["mean"] == pytest.approx(0.5)
    assert found["standard deviation"] == pytest.approx(0.5)
    assert found["skewness"] == pytest.approx(0.0, abs=1e-6)
    assert found["kurtosis"] == pytest.approx(1.0, rel=1e-5)
    assert found["90th percentile"] == pytest.approx(1.0)
    assert found["entropy"] == pytest.approx(np.log(2))
    assert found["share of nearly black"] == pytest.approx(0.5)


def test_units_and_places_of_pixels_mean_nothing(phantom: Phantom) -> None:
    picture = phantom().astype(np.float32)
    found = intensity_statistics(picture)
    np.testing.assert_allclose(intensity_statistics(40.0 * picture), found, rtol=1e-3)
    shuffled = np.random.default_rng(0).permutation(picture.ravel()).reshape(256, 256)
    np.testing.assert_allclose(intensity_statistics(shuffled), found, rtol=1e-3)


def test_it_tells_sets_apart_and_nothing_inside_one(two_scanners: list[Record]) -> None:
    found = cross_validate_intensity_baseline(
        in_folds(two_scanners), say=lambda _: None
    )
    for key in ("by_slice", "by_patient"):
        assert found[key]["across"]["auroc_tumor"]["value"] > 0.95
        assert found[key]["inside"]["both north"]["auroc_tumor"]["value"] < 0.9
        assert found[key]["all"]["count"] == 48


def test_who_is_scored_did_not_train(two_scanners: list[Record]) -> None:
    # The tumour-free are a fold of their own: nobody else can teach their class.
    records = [
        replace(record, fold=int(record.label is TumorClass.NO_TUMOR))
        for record in two_scanners
    ]
    found = cross_validate_intensity_baseline(records, say=lambda _: None)
    assert found["by_slice"]["all"]["accuracy"]["value"] == 0.0


def test_what_trains_only_teaches_and_is_not_scored(two_scanners: list[Record]) -> None:
    # Of the tumour-free ones, all are in fold 1, but in fold 0 one that trains only.
    records = [
        replace(record, fold=int(record.label is TumorClass.NO_TUMOR))
        for record in two_scanners
    ]
    (place,) = (n for n, row in enumerate(records) if row.path.stem == "n0")
    records[place] = replace(records[place], fold=0, train_only=True)
    found = cross_validate_intensity_baseline(records, say=lambda _: None)
    assert found["by_slice"]["all"]["count"] == 47
    assert found["by_slice"]["all"]["accuracy"]["value"] > 0.0


def test_parts_are_named_by_source_or_site(two_scanners: list[Record]) -> None:
    found = cross_validate_intensity_baseline(
        in_folds(two_scanners), [("g", "n"), ("north",)], say=lambda _: None
    )["by_slice"]
    assert found["together"]["g, n"] == found["across"]
    assert found["together"]["north"] == found["inside"]["both north"]
    with pytest.raises(DatasetError, match="'moon'"):
        cross_validate_intensity_baseline(
            in_folds(two_scanners), [("g", "moon")], say=lambda _: None
        )


def test_slices_of_a_patient_count_once(two_scanners: list[Record]) -> None:
    joined = [
        replace(record, patient=f"{record.source}{row // 4}{record.label}")
        for row, record in enumerate(two_scanners)
    ]
    found = cross_validate_intensity_baseline(
        [replace(row, fold=number % 2) for number, row in enumerate(joined)],
        say=lambda _: None,
    )
    assert found["by_slice"]["all"]["count"] == 48
    assert found["by_patient"]["all"]["count"] == found["patients"] == 16


def test_a_file_that_cannot_be_read_is_named_and_left_out(
    two_scanners: list[Record], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    said: list[str] = []
    records = in_folds([*two_scanners, Record(broken, TumorClass.GLIOMA, "x")])
    found = cross_validate_intensity_baseline(records, say=said.append)
    assert found["slices"] == 48
    assert any("broken.png" in line for line in said)
    with pytest.raises(DatasetError):
        cross_validate_intensity_baseline(records[-1:], say=said.append)


def test_the_section_is_made_from_plain_json(two_scanners: list[Record]) -> None:
    found = cross_validate_intensity_baseline(
        in_folds(two_scanners), [("g", "n")], say=lambda _: None
    )
    plain = json.loads(json.dumps(found, allow_nan=False))
    assert plain == found
    names = [row[0] for row in baseline_section(plain).tables[0].rows]
    assert names == [
        "All",
        "Across sets of one kind",
        "Inside both north",
        "Together: g, n",
    ]
