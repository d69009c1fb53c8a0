"""What a file's name says of its sequence; headers are tested with series."""

from __future__ import annotations

import pytest

from tumorlens.imaging.dicom.words import sequence_in_name
from tumorlens.imaging.study import MRSequence


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("BraTS2021_01657_t1ce.nii.gz", MRSequence.T1_CONTRAST),
        ("TCGA_CS_4941_11_flair.jpg", MRSequence.FLAIR),
        ("astrocytoma_T1Cp_0183.jpg", MRSequence.T1_CONTRAST),
        ("IXI013-HH-1212-T1_ds.nii.gz", MRSequence.T1),
        ("head-t2w.png", MRSequence.T2),
        ("T2 FLAIR.dcm", MRSequence.FLAIR),
        ("BraTS-GLI-00005-100-t2f.nii.gz", MRSequence.FLAIR),
        ("patient20_study2.png", None),
        ("t1_and_t2.png", None),
    ],
)
def test_a_file_name_may_say_its_sequence(
    name: str, sequence: MRSequence | None
) -> None:
    assert sequence_in_name(name) is sequence
