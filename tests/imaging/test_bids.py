"""Volumes are read by what their names and sidecars say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from tests.samples.zips import pack
from tumorlens.errors import InputError
from tumorlens.imaging.bids import PlainNames, bids_name, reason_aside
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import MRSequence, Study

VOXELS = np.random.default_rng(0).integers(1, 900, (40, 40, 34)).astype(np.int16)
DATA = nibabel.Nifti1Image(VOXELS, np.diag([1.0, 1.0, 4.0, 1.0])).to_bytes()


def in_folder(folder: Path, files: dict[str, Any]) -> Study:
    """Write volumes (True) and sidecars (a dictionary), and read the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(DATA if content is True else json.dumps(content).encode())
    return read_study(folder)


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("sub-01_T1w.nii.gz", MRSequence.T1),
        ("sub-01_ses-2_acq-space_run-1_T2w.nii", MRSequence.T2),
        ("sub-01_ce-gadolinium_T1w.nii.gz", MRSequence.T1_CONTRAST),
        ("sub-01_ce-none_T1w.nii.gz", MRSequence.T1),
        ("sub-01_ce-gadolinium_FLAIR.nii.gz", MRSequence.FLAIR),
        ("anat/sub-P12_PDw.nii.gz", MRSequence.OTHER),
        ("sub-01_MP2RAGE.nii.gz", None),
    ],
)
def test_a_bids_name_says_the_sequence(name: str, sequence: MRSequence | None) -> None:
    stated = bids_name(name)
    assert stated is not None
    assert stated.sequence is sequence
    (series,) = read_study(DATA, name).series
    assert series.sequence is sequence
    assert {item.sequence for item in series.slices} == {sequence}


@pytest.mark.parametrize(
    "name",
    [
        "T1w.nii.gz",
        "sub-01.nii.gz",
        "sub-01_T1w.json",
        "sub-01_left_T1w.nii.gz",
        "subject-01_T1w.nii.gz",
    ],
)
def test_other_names_are_no_bids_names(name: str) -> None:
    assert bids_name(name) is None


def test_a_folder_of_bids_is_judged_by_its_pictures_alone(tmp_path: Path) -> None:
    study = in_folder(
        tmp_path,
        {
            "dataset_description.json": {"Name": "drawn", "BIDSVersion": "1.9.0"},
            "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii": True,
            "sub-01/ses-1/anat/sub-01_ses-1_T1w.json": {"EchoTime": 0.003},
            "sub-01/ses-1/anat/sub-01_ses-1_ce-gad_T1w.nii": True,
            "sub-01/ses-1/anat/sub-01_ses-1_part-phase_T2w.nii": True,
            "sub-01/ses-1/func/sub-01_ses-1_task-rest_sbref.nii": True,
            "sub-01/ses-1/fmap/sub-01_ses-1_phasediff.nii": True,
            "derivatives/x/sub-01/anat/sub-01_ses-1_desc-brain_mask.nii": True,
            "derivatives/x/sub-01/anat/sub-01_ses-1_label-lesion_roi.nii": True,
        },
    )
    assert [series.sequence for series in study.series] == [
        MRSequence.T1_CONTRAST,
        MRSequence.T1,
    ]
    notes = " ".join(study.notes)
    assert "2 files were left out: each is a mask or segmentation" in notes
    assert "1 file was left out: it shows phase" in notes
    assert "is a functional series" in notes and "is a field map" in notes
    # The volume's own sidecar is no file that was left out.
    assert "1 file was left out: it is text" in notes


SPIN_ECHO_T2 = {"EchoTime": 0.1, "RepetitionTime": 4.5, "ScanningSequence": "SE"}
FLAIR = {
    "EchoTime": 0.12,
    "RepetitionTime": 9.0,
    "InversionTime": 2.5,
    "ScanningSequence": "SE_IR",
}


@pytest.mark.parametrize(
    ("settings", "sequence"),
    [
        (SPIN_ECHO_T2, MRSequence.T2),
        (FLAIR, MRSequence.FLAIR),
        ({"SeriesDescription": "t1_mprage_sag"}, MRSequence.T1),
        (
            {"SeriesDescription": "t1_se", "ContrastBolusIngredient": "GADOLINIUM"},
            MRSequence.T1_CONTRAST,
        ),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION"]}, MRSequence.DIFFUSION),
        ({"EchoTime": [0.1, 0.2]}, None),
        ({"EchoTime": -1, "RepetitionTime": True, "ScanningSequence": 7}, None),
        ([1, 2], None),
    ],
)
@pytest.mark.parametrize("given", ["file", "folder", "zip"])
def test_a_sidecar_says_the_sequence(
    tmp_path: Path, settings: Any, sequence: MRSequence | None, given: str
) -> None:
    study = in_folder(tmp_path / "a", {"head.nii": True, "head.json": settings})
    if given == "file":
        study = read_study(tmp_path / "a" / "head.nii")
    if given == "zip":
        members = (("x/head.nii", DATA), ("x/head.json", json.dumps(settings).encode()))
        study = read_study(pack(*members), "a.zip")
    assert [series.sequence for series in study.series] == [sequence]
    assert study.notes == ()


def test_the_scanner_s_settings_go_before_the_name(tmp_path: Path) -> None:
    study = in_folder(
        tmp_path,
        {"sub-1_T2w.nii": True, "sub-1_T2w.json": FLAIR, "sub-2_T2w.nii": True},
    )
    found = [series.sequence for series in study.series]
    assert found == [MRSequence.FLAIR, MRSequence.T2]


@pytest.mark.parametrize("given", ["folder", "zip"])
def test_a_sidecar_above_holds_for_all_of_its_suffix(
    tmp_path: Path, given: str
) -> None:
    files = {
        "T2w.json": FLAIR,
        "sub-01/anat/sub-01_T2w.nii": True,
        "sub-02/anat/sub-02_T2w.nii": True,
        "sub-02/anat/sub-02_T2w.json": SPIN_ECHO_T2,
    }
    study = in_folder(tmp_path, files)
    if given == "zip":
        members = ((name, (tmp_path / name).read_bytes()) for name in files)
        study = read_study(pack(*members), "a.zip")
    found = [series.sequence for series in study.series]
    assert found == [MRSequence.FLAIR, MRSequence.T2]


def test_people_of_one_folder_are_told_apart(tmp_path: Path) -> None:
    names = ("sub-01_T1w.nii", "sub-01_T2w.nii", "sub-02_T1w.nii")
    study = in_folder(tmp_path, dict.fromkeys(names, True))
    assert [series.patient for series in study.series] == ["sub-01", "sub-01", "sub-02"]
    assert study.notes == (
        "The files are of 2 patients; each series is judged by itself.",
    )
    one = in_folder(tmp_path / "b", {"sub-01_T1w.nii": True, "head.nii": True})
    assert one.notes == ()


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"Modality": "PT"}, "positron"), ({"BodyPartExamined": "KNEE"}, "knee")],
)
def test_what_a_sidecar_says_is_no_head_is_refused(
    tmp_path: Path, settings: dict[str, str], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        in_folder(tmp_path, {"a.nii": True, "a.json": settings})


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_broken_sidecar_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "head.nii").write_bytes(DATA)
    (tmp_path / "head.json").write_bytes(content)
    assert read_study(tmp_path / "head.nii").series[0].sequence is None


@pytest.mark.parametrize(
    "name",
    [
        *("case_seg.nii.gz", "BraTS-0001-seg.nii", "brain mask.nrrd", "aparc+aseg.mgz"),
        *("UPENN-GBM-00001_11_segm.nii.gz", "T1_pve_0.nii.gz", "T1_seg_2.nii.gz"),
        *("aseg.presurf.mgz", "aparc.DKTatlas+aseg.mgz"),
    ],
)
def test_masks_beside_a_scan_are_set_aside(tmp_path: Path, name: str) -> None:
    assert reason_aside(name)
    study = in_folder(tmp_path, {name: True, "case_t1.nii": True})
    assert len(study.series) == 1
    assert "is a mask or segmentation" in study.notes[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *(("dti_FA.nii.gz", "map of computed"), ("zstat1.nii.gz", "statistic")),
        *(("T1_to_MNI_warp.nii.gz", "deformation"), ("swi_ph.nii.gz", "phase")),
        *(("t1_e2_ph.nii", "phase"), ("x_imaginary.nii.gz", "imaginary")),
        ("spmT_0001.nii", "statistic"),
        # What TumorLens itself wrote there.
        *(("evidence.nii.gz", "map of computed"), ("a.overlay.png", "TumorLens wrote")),
    ],
)
def test_what_was_computed_beside_a_scan_is_set_aside(
    tmp_path: Path, name: str, said: str
) -> None:
    study = in_folder(tmp_path, {name: True, "case_t1.nii": True})
    assert len(study.series) == 1
    assert said in study.notes[0]


def labels(count: int) -> bytes:
    """Draw a volume of that many values."""
    values = np.clip(VOXELS % (3 * count) - 2 * count, 0, count - 1).astype(np.uint8)
    values[:, :, 0] = 0
    return bytes(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 4.0, 1.0])).to_bytes())


def test_labels_are_told_by_their_few_values(tmp_path: Path) -> None:
    study = read_study(labels(4), "x.nii")
    assert any("very few different values" in note for note in study.notes)
    assert not any("few" in note for note in read_study(labels(60), "x.nii").notes)
    (tmp_path / "a.nii").write_bytes(DATA)
    (tmp_path / "b.nii").write_bytes(labels(4))
    study = read_study(tmp_path)
    assert len(study.series) == 1
    assert any("holds labels" in note for note in study.notes)
    (tmp_path / "a.nii").unlink()
    assert read_study(tmp_path).series, "labels alone are read, since outlines are"


def test_a_mask_that_is_all_there_is_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a mask or segmentation"):
        in_folder(tmp_path, {"sub-1_dseg.nii": True})


@pytest.mark.parametrize(
    "name",
    [
        *("T1_masked.nii.gz", "brainmask.mgz", "segment.nii", "mask.png"),
        *("c1_t1.nii", "T1.nii", "scan_2.nii", "T1_roi.nii.gz", "s0042.nii"),
    ],
)
def test_pictures_whose_names_only_sound_so_are_judged(name: str) -> None:
    assert reason_aside(name) == ""


def test_a_name_without_people_says_what_a_volume_is() -> None:
    names = PlainNames()
    for given, word, plain in (
        ("sub-DOE_ses-2_ce-gadovist_T1w.nii.gz", "", "sub-1_ce-agent_T1w.nii.gz"),
        ("sub-ROE_desc-JANE_mask.nii", "", "sub-2_mask.nii"),
        ("sub-DOE_part-phase_bold.nii.gz", "", "sub-1_part-phase_bold.nii.gz"),
        ("sub-DOE_JANE.nii.gz", "", ""),
        ("x/DOE_JANE_T1_SEG.NII.GZ", "T1", "T1_seg.nii.gz"),
        ("DOE_adc.mha", "", "adc.mha"),
        ("DOE_JANE.nii.gz", "FLAIR", "FLAIR.nii.gz"),
        ("DOE_JANE.nii.gz", "", ""),
        ("DOE_mask.png", "T1", ""),
    ):
        assert names.of(given, word) == plain
        assert reason_aside(plain) == (reason_aside(given) if plain else "")
