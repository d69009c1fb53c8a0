"""One classifier of series, whatever the bundle's network takes."""

from __future__ import annotations

from pathlib import Path

import pytest

import tumorlens
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
    with pytest.raises(SettingError, match="sees the whole scan at once"):
        load_series_classifier(volume_bundle, threads=1, planes="all")
