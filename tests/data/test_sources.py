"""Known sets are read in their own layouts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.samples.heads import draw_person
from tumorlens.data.audit import audit
from tumorlens.data.manifest import Record, read_manifest, write_manifest
from tumorlens.data.sources import collect
from tumorlens.errors import DatasetError, MissingFileError
from tumorlens.imaging.study import MRSequence
from tumorlens.taxonomy import Lesion, TumorClass


def picture(path: Path, person: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw_person(person))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Small sets in the layouts of the real ones."""
    root = tmp_path / "sets"
    for number in (1, 2):
        picture(root / f"cheng/images/{number}.jpg", number)
        picture(root / f"cheng/masks/{number}.png", number)
    (root / "cheng/cheng.csv").write_text(
        "id,class,patient,record,plane\n"
        "1,meningioma,MR01,MR01B,ax\n2,pituitary,MR02,MR02,sa\n"
    )
    for number in (3, 4, 5, 6):
        picture(root / f"lgg/images/T_{number}.jpg", number)
    picture(root / "lgg/masks/T_3.png", 3)
    (root / "lgg/lgg.csv").write_text(
        "id,class,patient,site,slice,gap_to_tumor_slice,use\n"
        "T_3,glioma,T-1,DU,7,0,learn\nT_4,no_tumor,T-1,DU,1,6,learn\n"
        "T_5,no_tumor,T-1,DU,8,1,stack\nT_6,no_tumor,T-1,DU,9,2,stack\n"
    )
    for number in (10, 11, 12):
        picture(root / f"notumor/images/n{number}.png", number)
    (root / "notumor/notumor.csv").write_text(
        "file,picture,flag\nn10.png,1,\nn11.png,2,CT\nn12.png,3,visible_abnormality\n"
    )
    picture(root / "brisc_notumor/images/b20.jpg", 20)
    picture(root / "brisc_notumor/images/b21.jpg", 21)
    # The mirror of a computed tomography in another set.
    cv2.imwrite(
        str(root / "brisc_notumor/images/b11.jpg"),
        np.ascontiguousarray(draw_person(11)[:, ::-1]),
    )
    (root / "brisc_notumor/brisc_notumor.csv").write_text(
        "file,plane\nb20.jpg,axial\nb21.jpg,coronal\nb11.jpg,axial\n"
    )
    for name in ("T_3_flair", "T_3_t1", "T_4_flair", "T_5_flair", "T_6_t1"):
        picture(root / f"lgg_sequences/images/{name}.jpg", int(name[2]))
    (root / "lgg_sequences/lgg_sequences.csv").write_text(
        "file,sequence,class,patient,site,slice,mask,use\n"
        "T_3_flair.jpg,FLAIR,glioma,T-1,DU,7,../lgg/masks/T_3.png,learn\n"
        "T_3_t1.jpg,T1,glioma,T-1,DU,7,../lgg/masks/T_3.png,learn\n"
        "T_4_flair.jpg,FLAIR,no_tumor,T-1,DU,1,,learn\n"
        "T_5_flair.jpg,FLAIR,no_tumor,T-1,DU,8,,stack\n"
        "T_6_t1.jpg,T1,no_tumor,T-1,DU,9,,stack\n"
    )
    for number in (31, 32, 33):
        picture(root / f"brain44/images/k{number}.jpg", number)
    (root / "brain44/brain44.csv").write_text(
        "file,class,kind,sequence,group\nk31.jpg,glioma,astrocytoma,T2,g1\n"
        "k32.jpg,other,schwannoma,T1C,g2\nk33.jpg,no_tumor,normal,T1,g3\n"
    )
    for number in (41, 42):
        picture(root / f"soop/images/s{number}.jpg", number)
    picture(root / "soop/masks/s41.png", 41)
    (root / "soop/soop.csv").write_text(
        "file,class,plane,patient,mask\ns41.jpg,stroke,axial,sub-1,s41.png\n"
        "s42.jpg,no_lesion_drawn,coronal,sub-1,\n"
    )
    return root


def by_name(records: list[Record]) -> dict[str, Record]:
    return {record.path.stem: record for record in records}


def test_every_set_is_collected(folder: Path) -> None:
    records = collect(folder)
    assert Counter(record.source for record in records) == {
        "cheng": 2,
        "lgg": 3,
        "notumor": 3,
        "brisc_notumor": 3,
        "lgg_sequences": 4,
        "brain44": 3,
        "soop": 2,
    }
    found = by_name(records)
    assert found["1"] == Record(
        path=folder / "cheng/images/1.jpg",
        label=TumorClass.MENINGIOMA,
        patient="cheng:MR01",
        mask=folder / "cheng/masks/1.png",
        source="cheng",
        plane="axial",
        sequence=MRSequence.T1_CONTRAST,
    )
    assert found["2"].plane == "sagittal"


def test_some_sets_may_be_read_alone(folder: Path) -> None:
    records = collect(folder, ["cheng", "soop"])
    assert {record.source for record in records} == {"cheng", "soop"}
    with pytest.raises(DatasetError, match="ixi"):
        collect(folder, ["cheng", "ixi"])


def test_lgg_gives_what_is_to_be_learnt_from(folder: Path) -> None:
    found = by_name(collect(folder / "lgg"))
    assert set(found) == {"T_3", "T_4", "T_6"}
    # The end of the head trains only; the slice next to the tumour not even that.
    assert [name for name in found if found[name].train_only] == ["T_6"]
    assert found["T_3"].mask == folder / "lgg/masks/T_3.png"
    assert found["T_4"].mask is None
    assert {item.patient for item in found.values()} == {"lgg:T-1"}
    assert {item.site for item in found.values()} == {"DU"}


def test_other_sequences_of_a_slice_share_its_patient_and_outline(
    folder: Path,
) -> None:
    found = by_name(collect(folder))
    assert "T_5_flair" not in found  # next to the tumour
    assert found["T_6_t1"].train_only
    for name, sequence in (("T_3_flair", MRSequence.FLAIR), ("T_3_t1", MRSequence.T1)):
        assert found[name].sequence is sequence
        assert found[name].patient == found["T_3"].patient
        mask = found[name].mask
        assert mask is not None
        assert mask.samefile(folder / "lgg/masks/T_3.png")


def test_other_lesions_have_no_class_and_a_kind(folder: Path) -> None:
    found = by_name(collect(folder))
    other = found["k32"]
    assert (other.label, other.lesion, other.kind) == (None, "other", "schwannoma")
    assert other.findings == (Lesion.OTHER,)
    assert other.sequence is MRSequence.T1_CONTRAST
    assert found["k31"].findings == (TumorClass.GLIOMA,)
    assert found["k33"].kind == ""
    assert found["s41"].findings == (Lesion.VASCULAR,)
    assert found["s41"].mask == folder / "soop/masks/s41.png"
    # Nobody drew a stroke, which is no proof of health.
    assert set(found["s42"].findings) == {TumorClass.NO_TUMOR, Lesion.VASCULAR}


def test_flags_are_kept_and_reach_copies(folder: Path) -> None:
    found = by_name(collect(folder))
    flags = {name: found[name].flag for name in ("n10", "n11", "n12", "b11", "b20")}
    assert flags == {"n10": "", "n11": "ct", "n12": "abnormal", "b11": "ct", "b20": ""}


def test_pictures_known_to_be_no_mri_are_flagged(folder: Path) -> None:
    name = "brisc2025_train_02813_no_ax_t1.jpg"
    (folder / "brisc_notumor/images/b20.jpg").rename(
        folder / "brisc_notumor/images" / name
    )
    listing = folder / "brisc_notumor/brisc_notumor.csv"
    listing.write_text(listing.read_text().replace("b20.jpg", name))
    assert by_name(collect(folder))[name.removesuffix(".jpg")].flag == "ct"


def test_pictures_that_look_alike_share_a_patient(folder: Path) -> None:
    found = by_name(collect(folder))
    assert found["b11"].patient == found["n11"].patient
    patients = {found[name].patient for name in ("n10", "n11", "n12", "b20", "b21")}
    assert len(patients) == 5
    assert all(name.startswith("like:") for name in patients)


def test_the_manifest_of_the_sets_is_clean(folder: Path, tmp_path: Path) -> None:
    write_manifest(collect(folder), tmp_path / "set.csv")
    again = read_manifest(tmp_path / "set.csv")
    kept = [(row.sequence, row.findings, row.kind) for row in again]
    assert kept == [(row.sequence, row.findings, row.kind) for row in collect(folder)]
    assert audit(read_manifest(tmp_path / "set.csv")).clean


def test_a_folder_of_classes_is_taken_as_it_is(tmp_path: Path) -> None:
    picture(tmp_path / "set/glioma/1.png", 1)
    (record,) = collect(tmp_path / "set")
    assert (record.label, record.patient) == (TumorClass.GLIOMA, "")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="nowhere"):
        collect(tmp_path / "nowhere")


def test_a_missing_picture_is_named(folder: Path) -> None:
    (folder / "cheng/images/2.jpg").unlink()
    with pytest.raises(DatasetError, match=r"2\.jpg"):
        collect(folder)


def test_a_broken_picture_without_a_patient_is_named(folder: Path) -> None:
    (folder / "notumor/images/n10.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"n10\.png"):
        collect(folder)


def test_a_csv_of_another_kind_is_refused(folder: Path) -> None:
    (folder / "lgg/lgg.csv").write_text("file,label\na.png,glioma\n")
    with pytest.raises(DatasetError, match="no column id, class"):
        collect(folder)


def test_a_class_that_is_none_is_refused(folder: Path) -> None:
    (folder / "cheng/cheng.csv").write_text("id,class,patient,plane\n1,stroke,x,ax\n")
    with pytest.raises(DatasetError, match="stroke"):
        collect(folder)
