"""One classifier of series, whatever the bundle's network takes."""

from __future__ import annotations

from pathlib import Path

import nibabel
import pydicom
import pytest

import tumorlens
from tests.samples.dicom_studies import ill_head, write_series
from tests.samples.volume_bundle import build_volume_bundle
from tests.samples.volumes import LESION, draw_head, save_volume
from tumorlens.errors import InputError, SettingError
from tumorlens.imaging.study import Series
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.series.classifier import load_series_classifier


@pytest.fixture(scope="module")
def volume_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_volume_bundle(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    path = tmp_path_factory.mktemp("scan") / "head.nii.gz"
    return tumorlens.read(save_volume(draw_head(LESION), path)).series[0]


@pytest.mark.parametrize("kind", ["tiny_bundle", "volume_bundle"])
def test_either_kind_of_bundle_judges_a_series(
    kind: str, series: Series, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    classifier = tumorlens.load_series_classifier(folder, threads=1)
    done: list[tuple[int, int]] = []
    prediction = classifier.predict(
        series, None, lambda *progress: done.append(progress)
    )
    assert isinstance(prediction, tumorlens.SeriesPrediction)
    assert prediction.slices == 40
    assert prediction.model_version == classifier.bundle.version
    assert done[-1] == (40, 40)


def test_what_holds_a_series_is_judged_as_the_series(
    tiny_bundle: Path, series: Series, tmp_path: Path
) -> None:
    classifier = load_series_classifier(tiny_bundle, threads=1)
    expected = classifier.predict(series).p_tumor
    path = save_volume(draw_head(LESION), tmp_path / "head.nii.gz")
    for source in (path, nibabel.load(path), path.read_bytes()):
        found = classifier.predict(source)
        assert isinstance(found, tumorlens.SeriesPrediction)
        assert found.p_tumor == pytest.approx(expected, abs=1e-6)


def test_every_series_of_a_study_is_judged(tiny_bundle: Path, tmp_path: Path) -> None:
    files = write_series(tmp_path / "a")
    files += write_series(tmp_path / "b", pixels=ill_head())
    datasets = [pydicom.dcmread(path) for path in files]
    found = load_series_classifier(tiny_bundle, threads=1).predict(datasets)
    assert isinstance(found, tumorlens.Predictions)
    assert [item.slices for item in found] == [6, 6]
    assert len(found.to_frame()) == 2


def test_a_picture_is_no_series(tiny_bundle: Path, slice_file: Path) -> None:
    classifier = load_series_classifier(tiny_bundle, threads=1)
    with pytest.raises(InputError, match="no series of several slices"):
        classifier.predict(slice_file)


def test_a_model_of_volumes_finds_the_lesion(
    volume_bundle: Path, series: Series
) -> None:
    prediction = load_series_classifier(volume_bundle, threads=1).predict(series)
    assert prediction.p_tumor is not None
    assert prediction.p_tumor > 0.9
    assert prediction.lesion is not None


def test_single_slices_are_for_a_model_of_slices(
    tiny_bundle: Path, volume_bundle: Path, slice_file: Path
) -> None:
    slices = load_series_classifier(tiny_bundle, threads=1).slice_classifier()
    alone = load_classifier(tiny_bundle, threads=1)
    assert slices.predict(slice_file).decision == alone.predict(slice_file).decision
    volumes = load_series_classifier(volume_bundle, threads=1)
    with pytest.raises(InputError, match="whole series") as caught:
        volumes.slice_classifier()
    assert "model of slices" in caught.value.hint


def test_planes_are_for_a_model_of_slices(
    tiny_bundle: Path, volume_bundle: Path, series: Series
) -> None:
    classifier = load_series_classifier(tiny_bundle, threads=1, planes="all")
    assert len(classifier.predict(series).planes) == 3
    with pytest.raises(SettingError, match="sees the whole series at once"):
        load_series_classifier(volume_bundle, threads=1, planes="all")
