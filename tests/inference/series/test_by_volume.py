"""A network that sees the whole scan, asked as a model of slices is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.samples.volume_bundle import build_volume_bundle
from tests.samples.volumes import LESION, draw_head, inside, save_volume
from tumorlens.errors import BundleError, InputError, SettingError
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import Series
from tumorlens.inference.bundle.bundle import load_bundle, write_document
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.series.by_volume import (
    NO_CONTRAST,
    OUT_OF_DISTRIBUTION,
    VolumeClassifier,
)
from tumorlens.inference.slice.session import load_model
from tumorlens.taxonomy import TumorClass, Verdict


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_volume_bundle(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(scope="module")
def classifier(folder: Path) -> VolumeClassifier:
    return VolumeClassifier(*load_model(folder, threads=1))


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Series:
    path = tmp_path_factory.mktemp("scan") / "head.nii.gz"
    return read_study(save_volume(draw_head(LESION), path)).series[0]


def test_a_lesion_is_found_where_it_lies(
    classifier: VolumeClassifier, scan: Series
) -> None:
    found = classifier.predict(scan)
    assert found.p_tumor > 0.9
    assert found.predicted is TumorClass.GLIOMA
    assert found.evidence is not None
    assert found.evidence.shape == (40, 48, 40)
    assert found.evidence.dtype == np.uint8
    peak = found.evidence.argmax()
    assert inside(LESION).ravel()[peak]
    assert found.key_slices[0] in range(LESION[0] - 4, LESION[0] + 5)
    lesion = found.lesion
    assert lesion is not None
    assert all(
        low <= spot < high
        for low, spot, high in zip(lesion.box[:3], LESION, lesion.box[3:], strict=True)
    )
    assert found.affine_ras is not None
    assert any("cells" in reason for reason in found.reasons)


def test_what_it_cannot_say_stays_unsaid(
    classifier: VolumeClassifier, scan: Series
) -> None:
    found = classifier.predict(scan)
    # No level for meningioma could be fixed, so it cannot be ruled out.
    assert found.decision is Verdict.TUMOR
    assert TumorClass.MENINGIOMA in found.kinds
    assert any("too few series of meningioma" in reason for reason in found.reasons)
    assert set(found.slice_p_tumor) == {None}
    assert found.run is None


def test_a_head_without_a_lesion(classifier: VolumeClassifier, tmp_path: Path) -> None:
    path = save_volume(draw_head(), tmp_path / "plain.nii.gz")
    found = classifier.predict(read_study(path).series[0])
    assert found.decision is TumorClass.NO_TUMOR
    assert found.p_tumor < 0.3
    assert found.lesion is None


def test_a_coloured_scan_is_refused(classifier: VolumeClassifier, scan: Series) -> None:
    slices = tuple(replace(item, colorfulness=0.4) for item in scan.slices)
    found = classifier.predict(Series(slices))
    assert found.decision is Verdict.NOT_BRAIN_MRI
    assert found.reasons == (OUT_OF_DISTRIBUTION,)
    assert found.refused == found.slices
    assert found.lesion is None


def test_slices_without_a_place_are_refused(
    classifier: VolumeClassifier, scan: Series
) -> None:
    slices = tuple(replace(item, placement=None) for item in scan.slices)
    with pytest.raises(InputError, match="head"):
        classifier.predict(Series(slices))


def test_an_unknown_operating_point_is_named(
    classifier: VolumeClassifier, scan: Series
) -> None:
    with pytest.raises(SettingError, match="sharp"):
        classifier.predict(scan, "sharp")


def test_each_kind_of_bundle_is_refused_where_the_other_belongs(
    folder: Path, tiny_bundle: Path
) -> None:
    with pytest.raises(BundleError, match="judges slices"):
        load_model(tiny_bundle, judges="volumes")
    with pytest.raises(BundleError, match="whole series"):
        load_classifier(folder)


def test_a_bundle_that_judges_something_else_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    document = json.loads((tmp_path / "bundle.json").read_text())
    write_document(tmp_path, {**document, "judges": "films"})
    with pytest.raises(BundleError, match="films"):
        load_bundle(tmp_path)


def test_a_network_of_slices_in_a_bundle_of_scans_is_refused(
    folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_bundle, tmp_path, dirs_exist_ok=True)
    document = json.loads((tmp_path / "bundle.json").read_text())
    write_document(tmp_path, {**document, "judges": "volumes"})
    with pytest.raises(BundleError, match="outputs"):
        load_model(tmp_path)


def test_a_scan_of_one_value_gets_no_number(
    classifier: VolumeClassifier, scan: Series
) -> None:
    flat = (replace(item, pixels=np.full_like(item.pixels, 7)) for item in scan.slices)
    found = classifier.predict(Series(tuple(flat)))
    assert found.decision is Verdict.NOT_BRAIN_MRI
    assert (found.p_tumor, found.probabilities, found.predicted) == (None, None, None)
    assert found.not_judged == NO_CONTRAST
    assert found.reasons == (NO_CONTRAST,)
    assert found.evidence is None
