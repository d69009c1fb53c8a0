"""A series' finding as JSON, and its evidence as NIfTI on the series' own grid."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.samples.drawn_series import (
    LESION,
    SERIES,
    WHY_NOT,
    drawn_series,
    known_prediction,
    unjudged_prediction,
)
from tumorlens.errors import InputError, OutputError
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import (
    MRSequence,
    Placement,
    Point,
    Series,
)
from tumorlens.inference.classifier import load_classifier
from tumorlens.inference.series.by_slices import predict_by_slices
from tumorlens.report.series import (
    SERIES_SCHEMA,
    edge_letters,
    key_pictures,
    lesion_from_json,
    lesion_in_slice,
    outlines,
    series_to_json,
    write_evidence,
)
from tumorlens.report.slice.document import RESEARCH_USE
from tumorlens.report.slice.overlay import window_picture
from tumorlens.taxonomy import Answer


def test_the_document_is_plain_json_without_patient_data(tiny_bundle: Path) -> None:
    classifier = load_classifier(tiny_bundle, threads=1)
    finding = predict_by_slices(classifier, drawn_series(range(4, 8)))
    text = json.dumps(series_to_json(finding), allow_nan=False)
    document = json.loads(text)
    assert document["schema"] == SERIES_SCHEMA
    assert document["research_use_only"] == RESEARCH_USE
    assert document["decision"] == "glioma"
    assert document["lesion"]["side"] == "right"
    assert document["slice_p_tumor"][0] is None
    assert document["p_tumor_by_plane"] == {"axial": document["p_tumor"]}
    assert document["size_measured"] is False
    assert "SECRET" not in text


def test_a_scan_of_which_nothing_was_judged_has_a_reason_and_no_number() -> None:
    document = series_to_json(unjudged_prediction())
    assert document["not_judged"] == WHY_NOT
    assert document["headline"] == "Not judged: no slice shows enough brain"
    for name in ("p_tumor", "probabilities", "predicted", "kinds", "lesion", "raw"):
        assert document[name] is None
    assert series_to_json(known_prediction())["not_judged"] is None


def test_a_refused_series_keeps_its_numbers_apart() -> None:
    refused = replace(known_prediction(), finding=Answer.NOT_BRAIN_MRI, kinds=())
    document = series_to_json(refused)
    assert document["decision"] == document["finding"] == "not_brain_mri"
    for name in ("p_tumor", "probabilities", "predicted", "kinds"):
        assert document[name] is None
    assert document["raw"]["predicted"] == "glioma"
    assert document["raw"]["p_tumor"] == 0.9375
    assert series_to_json(known_prediction())["raw"] is None


def test_how_the_files_were_read_stands_beside_the_finding() -> None:
    assert series_to_json(known_prediction())["notes"] == []
    assert series_to_json(known_prediction(), ("A note.",))["notes"] == ["A note."]


def test_a_sequence_that_the_model_does_not_know_is_told() -> None:
    assert series_to_json(known_prediction())["sequence_caveat"] is None
    foreign = replace(known_prediction(), sequence=MRSequence.FLAIR)
    assert "do not hold here" in series_to_json(foreign)["sequence_caveat"]


def test_a_lesion_comes_back() -> None:
    lesion = known_prediction().lesion
    document = json.loads(json.dumps(series_to_json(known_prediction())))
    assert lesion_from_json(document["lesion"]) == lesion


def test_a_voxel_keeps_its_place_in_the_patient(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    # Coronal, not square, and not at the origin.
    slices = tuple(
        replace(
            item,
            placement=Placement(
                (10.0, 20.0 + 3.0 * index, 30.0), (0.9, 0, 0), (0, 0, -1.1)
            ),
        )
        for index, item in enumerate(drawn_series(range(4, 8)).slices)
    )
    finding = predict_by_slices(load_classifier(tiny_bundle, threads=1), Series(slices))
    path = tmp_path / "evidence.nii.gz"
    write_evidence(finding, path)
    image = nibabel.load(path)
    assert finding.evidence is not None
    assert image.shape == finding.evidence.shape[::-1]
    peak = np.unravel_index(finding.evidence.argmax(), finding.evidence.shape)
    z, y, x = (int(item) for item in peak)
    value = image.get_fdata()[x, y, z]
    assert value == pytest.approx(finding.evidence.max() / 255.0, abs=1e-6)
    place = slices[z].placement
    assert place is not None
    lps = place.at(x, y)
    ras = (image.affine @ [x, y, z, 1.0])[:3]
    np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-3)
    assert [item.name for item in tmp_path.iterdir()] == ["evidence.nii.gz"]


def test_a_guessed_place_is_not_stated_and_voxels_run_as_the_scan_s(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    slices = np.stack([item.pixels for item in drawn_series(range(4, 8)).slices])
    scan = nibabel.Nifti1Image(np.transpose(slices, (2, 1, 0)), None)
    scan.header.set_zooms((1.0, 1.0, 5.0))
    study = read_study(scan.to_bytes(), "head.nii")
    finding = predict_by_slices(
        load_classifier(tiny_bundle, threads=1), study.series[0]
    )
    path = tmp_path / "evidence.nii.gz"
    write_evidence(finding, path)
    image = nibabel.load(path)
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 0
    assert image.header.get_zooms() == scan.header.get_zooms()
    voxels = image.get_fdata()
    x, y, z = (int(item) for item in np.unravel_index(voxels.argmax(), voxels.shape))
    assert np.hypot(x - LESION[0], y - LESION[1]) < LESION[2]
    assert z in range(4, 8)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "LAS", "ASL"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 5.0), (1.0, 2.5, 5.0)])
def test_the_arrays_of_a_volume_and_its_evidence_match(
    codes: str, spacing: tuple[float, ...], tiny_bundle: Path, tmp_path: Path
) -> None:
    slices = np.stack([item.pixels for item in drawn_series(range(4, 8)).slices])
    voxels = np.transpose(slices, (2, 1, 0))[:, ::-1, :]
    if spacing[1] == 2.5:
        voxels = voxels[:, ::2, :]
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -10.0, 20.0, 30.0
    ways = nibabel.orientations.axcodes2ornt(codes)
    turned = nibabel.Nifti1Image(voxels, affine).as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), ways
        )
    )
    series = read_study(turned.to_bytes(), "head.nii").series[0]
    prediction = predict_by_slices(load_classifier(tiny_bundle, threads=1), series)
    path = tmp_path / "evidence.nii.gz"
    write_evidence(prediction, path)
    image = nibabel.load(path)
    assert image.shape == turned.shape
    np.testing.assert_allclose(image.affine, turned.affine, atol=1e-4)
    evidence = image.get_fdata()
    peak = np.unravel_index(evidence.argmax(), evidence.shape)
    assert turned.get_fdata()[peak] > 0.5 * turned.get_fdata().max()


def test_missing_slices_stand_empty_in_their_places(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    slices = drawn_series(range(4, 8), count=12).slices
    series = Series((*slices[:5], *slices[7:]))
    finding = predict_by_slices(load_classifier(tiny_bundle, threads=1), series)
    path = tmp_path / "evidence.nii.gz"
    write_evidence(finding, path)
    image = nibabel.load(path)
    assert image.shape == (256, 256, 12)
    assert finding.evidence is not None
    voxels = np.transpose(np.asarray(image.dataobj.get_unscaled()), (2, 1, 0))
    assert np.array_equal(voxels[:5], finding.evidence[:5])
    assert not voxels[5:7].any()
    assert np.array_equal(voxels[7:], finding.evidence[5:])
    # The eighth place is where the sixth slice lies.
    place = slices[7].placement
    assert place is not None
    ras = (image.affine @ [3.0, 4.0, 7.0, 1.0])[:3]
    np.testing.assert_allclose(ras, place.at(3, 4) * [-1, -1, 1], atol=1e-3)


def test_what_cannot_be_written(tiny_bundle: Path, tmp_path: Path) -> None:
    classifier = load_classifier(tiny_bundle, threads=1)
    unplaced = predict_by_slices(classifier, drawn_series(count=4, placed=False))
    with pytest.raises(InputError, match="no regular stack"):
        write_evidence(unplaced, tmp_path / "a.nii.gz")
    placed = predict_by_slices(classifier, drawn_series(count=4))
    with pytest.raises(OutputError, match="cannot be written"):
        write_evidence(placed, tmp_path / "none" / "a.nii.gz")


def test_no_volume_of_zeros_where_nothing_was_judged(tmp_path: Path) -> None:
    path = tmp_path / "evidence.nii.gz"
    with pytest.raises(InputError, match=WHY_NOT):
        write_evidence(unjudged_prediction(), path)
    assert not path.exists()


def test_key_slices_come_in_the_order_of_the_series() -> None:
    finding = replace(known_prediction(), key_slices=(6, 4))
    pictures = key_pictures(finding, SERIES)
    assert [item.index for item in pictures] == [4, 6]
    assert [item.p_tumor for item in pictures] == [0.9, 0.6]


def test_evidence_colours_its_own_slice_and_leaves_the_rest_grey() -> None:
    first, _ = key_pictures(known_prediction(), SERIES)
    grey = window_picture(SERIES.slices[4].pixels)
    assert np.array_equal(first.grey, grey)
    assert first.overlay is not None
    spread = np.ptp(first.overlay.astype(int), axis=2)
    assert spread[105:115, 85:95].min() > 60
    assert np.array_equal(first.overlay[200:, :, 0], grey[200:])


def test_only_the_lesion_is_outlined() -> None:
    first, _ = key_pictures(known_prediction(), SERIES)
    (polygon,) = first.outline
    assert polygon.min(axis=0).tolist() == [80, 100]


def test_without_an_evidence_volume_the_slice_stands_alone() -> None:
    finding = replace(known_prediction(), evidence=None, lesion=None)
    first, _ = key_pictures(finding, SERIES)
    assert first.overlay is None
    assert first.outline == ()


def test_pixels_keep_their_shape_and_a_slice_without_place_has_no_letters() -> None:
    item = replace(SERIES.slices[4], spacing_mm=(3.0, 1.5), placement=None)
    slices = (*SERIES.slices[:4], item, *SERIES.slices[5:])
    first, second = key_pictures(known_prediction(), Series(slices))
    assert first.aspect == 2.0
    assert first.edges is None
    assert second.edges == ("R", "L", "A", "P")


@pytest.mark.parametrize(
    ("across", "down", "letters"),
    [
        ((1.0, 0, 0), (0, 1.0, 0), ("R", "L", "A", "P")),
        ((-1.0, 0, 0), (0, 1.0, 0), ("L", "R", "A", "P")),
        ((1.0, 0, 0), (0, 0, -1.0), ("R", "L", "H", "F")),
        ((0.1, 0.9, 0), (0, 0.1, -0.9), ("A", "P", "H", "F")),
    ],
)
def test_letters_name_the_sides_where_they_are(
    across: Point, down: Point, letters: tuple[str, ...]
) -> None:
    assert edge_letters(Placement((0, 0, 0), across, down)) == letters


def test_the_lesion_is_marked_where_its_mask_is() -> None:
    mask = lesion_in_slice(known_prediction(), 5)
    assert mask is not None
    wanted = np.zeros((256, 256), np.uint8)
    wanted[100:120, 80:100] = 1
    assert np.array_equal(mask, wanted)


def test_a_slice_beyond_the_box_is_empty() -> None:
    finding = known_prediction()
    for index in (3, 7):
        mask = lesion_in_slice(finding, index)
        assert mask is not None
        assert not mask.any()


def test_no_lesion_or_no_evidence_gives_no_mask() -> None:
    finding = known_prediction()
    assert lesion_in_slice(replace(finding, lesion=None), 5) is None
    assert lesion_in_slice(replace(finding, evidence=None), 5) is None


def test_an_outline_runs_along_the_outermost_pixels() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:10, 12:20] = 1
    mask[15, 3] = 1
    large, single = sorted(outlines(mask), key=len, reverse=True)
    assert large.min(axis=0).tolist() == [12, 5]
    assert large.max(axis=0).tolist() == [19, 9]
    assert single.tolist() == [[3, 15]]
