"""A volume of even spacing is judged in all three planes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import draw_phantom
from tests.samples.series_findings_by_slices import drawn_scan
from tumorlens.imaging.placement import Placement, Plane
from tumorlens.imaging.study import Series, Slice
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.series.by_slices import NO_STACK, Planes, predict_by_slices
from tumorlens.taxonomy import TumorClass

EDGE = 64
BALL, RADIUS = (24, 28, 30), 8


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return load_classifier(tiny_bundle, threads=1)


def even_volume(lesion: bool) -> Series:
    """Axial slices, 3 mm voxels: a drawn head with a bright ball (x, y, z)."""
    head = draw_phantom(EDGE, EDGE).astype(np.float32)
    voxels = np.repeat(head[None], EDGE, axis=0)
    z, y, x = np.mgrid[:EDGE, :EDGE, :EDGE]
    if lesion:
        away = (x - BALL[0]) ** 2 + (y - BALL[1]) ** 2 + (z - BALL[2]) ** 2
        voxels[away <= RADIUS**2] = 250.0
    slices = [
        Slice(
            pixels,
            "even",
            index,
            spacing_mm=(3.0, 3.0),
            plane=Plane.AXIAL,
            placement=Placement((-96.0, -96.0, 3.0 * index), (3.0, 0, 0), (0, 3.0, 0)),
        )
        for index, pixels in enumerate(voxels)
    ]
    return Series(tuple(slices))


def test_three_planes_are_one_finding(classifier: Classifier) -> None:
    seen: list[tuple[int, int]] = []
    found = predict_by_slices(
        classifier,
        even_volume(lesion=True),
        progress=lambda done, total: seen.append((done, total)),
        planes=Planes.ALL,
    )
    assert set(found.planes) == set(Plane)
    odds = [np.log(p / (1.0 - p)) for p in found.planes.values()]
    assert found.p_tumor == pytest.approx(1.0 / (1.0 + np.exp(-np.mean(odds))))
    assert found.decision is TumorClass.GLIOMA
    assert [done for done, _ in seen] == list(range(1, 3 * EDGE + 1))
    assert seen[-1] == (3 * EDGE, 3 * EDGE)
    assert found.evidence is not None
    assert found.evidence.shape == (EDGE, EDGE, EDGE)
    lesion = found.lesion
    assert lesion is not None
    assert lesion.centroid is not None
    ball = (3.0 * BALL[0] - 96.0, 3.0 * BALL[1] - 96.0, 3.0 * BALL[2])
    assert np.linalg.norm(np.subtract(lesion.centroid, ball)) < 3.0 * RADIUS


def test_the_acquired_plane_alone_is_the_default(classifier: Classifier) -> None:
    found = predict_by_slices(classifier, even_volume(lesion=True))
    assert list(found.planes) == [Plane.AXIAL]
    assert found.planes[Plane.AXIAL] == pytest.approx(found.p_tumor)


def test_thick_slices_are_judged_as_acquired_and_say_so(
    classifier: Classifier,
) -> None:
    found = predict_by_slices(classifier, drawn_scan(range(4, 8)), planes=Planes.ALL)
    assert list(found.planes) == [Plane.AXIAL]
    assert any("5 x 1 x 1 mm" in reason for reason in found.reasons)


def test_slices_of_unknown_place_are_judged_as_acquired(
    classifier: Classifier,
) -> None:
    scan = drawn_scan(range(4, 8), placed=False)
    slices = tuple(replace(item, plane=None) for item in scan.slices)
    found = predict_by_slices(classifier, Series(slices), planes=Planes.ALL)
    assert found.planes == {}
    assert NO_STACK in found.reasons
