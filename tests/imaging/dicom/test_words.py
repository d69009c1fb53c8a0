"""Words of headers are read whole, in several languages, the series' own first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.uid import UID

from tests.samples.dicom_files import head, saved, slice_file, with_text
from tumorlens.errors import InputError
from tumorlens.imaging.dicom.grouping import read_dicom
from tumorlens.imaging.study import MRSequence, Series


def read(**tags: Any) -> Series:
    return read_dicom(saved(slice_file(**tags)), "x").series[0]


def of_part(part: str) -> Series:
    data = with_text(slice_file(), "BodyPartExamined", part.encode())
    return read_dicom(data, "x").series[0]


@pytest.mark.parametrize(
    "part",
    [
        *("HIPOFISIS", "RM HIPOFISIS", "HIPÓFISE", "HIPOFIZ", "Hypophyse", "HIPOCAMPO"),
        *(
            "BRAIN",
            "HEAD AND SPINE",
            "HEADNECK",
            "CRÂNE",
            "Schädel",
            "KAFA",
            "ENCÉFALO",
        ),
        *("LEGACY PROTOCOL", "HANDEDNESS", "SKULL/CSPINE", "WHOLEBODY", "OTHER"),
    ],
)
def test_a_head_by_any_name_is_read(part: str) -> None:
    assert of_part(part).slices


@pytest.mark.parametrize(
    ("part", "said"),
    [
        *(("HIP", "hip"), ("HÜFTE", "hip"), ("CADERA", "hip"), ("LSPINE", "spine")),
        *(("L-SPINE", "spine"), ("RODILLA", "knee"), ("Abdomen", "abdomen")),
        *(("PROSTATA", "prostate"), ("LEFT HAND", "hand"), ("C SPINE", "spine")),
    ],
)
def test_another_body_part_is_refused(part: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        of_part(part)


def test_a_part_left_in_the_protocol_does_not_refuse_a_head() -> None:
    assert read(BodyPartExamined="ABDOMEN", StudyDescription="MRI BRAIN W WO").slices
    with pytest.raises(InputError, match="abdomen"):
        read(BodyPartExamined="ABDOMEN", StudyDescription="MR ABDOMEN")


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"StudyDescription": "MRI KNEE LT", "SeriesDescription": "SAG PD FS"}, "knee"),
        ({"SeriesDescription": "T1 BREAST DYN"}, "breast"),
        ({"ProtocolName": "LUMBAR SPINE ROUTINE"}, "spine"),
        ({"StudyDescription": "IRM GENOU"}, "knee"),
        ({"BodyPartExamined": "WHOLE SPINE"}, "spine"),
    ],
)
def test_without_a_stated_part_the_names_of_series_and_study_tell_it(
    tags: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read(**{key: text for key, text in tags.items() if text})


@pytest.mark.parametrize(
    "tags",
    [
        {"StudyDescription": "MRI BRAIN AND SPINE"},
        {"StudyDescription": "LUNG CA STAGING", "SeriesDescription": "AX T1"},
        {"StudyDescription": "MR SPINE", "SeriesDescription": "AX FLAIR"},
        {"StudyDescription": "TRIAL 7 ARM 2"},
        {"SeriesDescription": "COR T2 HIP"},
        {"BodyPartExamined": "WHOLE BODY"},
        {"BodyPartExamined": "BRAIN", "StudyDescription": "MR SPINE"},
        {"ProtocolName": "fMRI", "SeriesDescription": "T1 finger tapping"},
    ],
)
def test_names_that_may_mean_something_else_refuse_no_head(
    tags: dict[str, str],
) -> None:
    assert read(**tags).slices


@pytest.mark.parametrize("words", ["МРТ коленного сустава", "膝 T1", "경추"])
def test_other_parts_are_known_in_other_letters(words: str) -> None:
    data = with_text(slice_file(), "StudyDescription", words.encode())
    with pytest.raises(InputError, match="by the name of its series or study"):
        read_dicom(data, "x")
    both = with_text(slice_file(), "StudyDescription", f"{words} 頭部".encode())
    assert read_dicom(both, "x").slices


@pytest.mark.parametrize("modality", ["MRI", "NMR", "RM", "IRM", "MRT", "MR\\PR"])
def test_magnetic_resonance_is_written_in_several_ways(modality: str) -> None:
    assert read(Modality=modality).slices


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"Modality": "KO"}, "a selection of images"),
        ({"Modality": "RTSTRUCT"}, "outlines of structures"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.2"}, "MR spectroscopy"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66"}, "raw data"),
    ],
)
def test_what_holds_no_picture_is_called_what_it_is(
    tags: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read(**tags)


def test_what_a_converter_calls_other_is_refused_with_a_way_out() -> None:
    with pytest.raises(InputError) as caught:
        read(Modality="OT")
    assert "NIfTI" in caught.value.hint


CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def test_slices_that_a_converter_saved_as_captures_are_read() -> None:
    converted = {"SOPClassUID": UID(CAPTURE), "ConversionType": "WSD"}
    assert read(**converted).slices
    for tags in (
        {"ImagePositionPatient": None},
        {"ImageOrientationPatient": None},
        {"ConversionType": "DF"},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    ):
        with pytest.raises(InputError, match="screen capture"):
            read(**{**converted, **tags})
    eight = slice_file((head() // 16).astype(np.uint8), **converted)
    with pytest.raises(InputError, match="screen capture"):
        read_dicom(saved(eight), "x")


SE = {"ScanningSequence": "SE"}
GR = {"ScanningSequence": "GR"}


@pytest.mark.parametrize(
    ("tags", "sequence"),
    [
        ({"SeriesDescription": "Ax T1", "ProtocolName": "BRAIN MRA"}, MRSequence.T1),
        ({"SeriesDescription": "Ax T2", "ProtocolName": "T1 FLAIR DWI"}, MRSequence.T2),
        (
            {"SeriesDescription": "Ax T1 +C", "ProtocolName": "MRA NECK"},
            MRSequence.T1_CONTRAST,
        ),
        (
            {
                "SeriesDescription": "Ax",
                "ProtocolName": "BRAIN FLAIR MRA",
                "EchoTime": 10,
                "RepetitionTime": 500,
                **SE,
            },
            MRSequence.T1,
        ),
        (
            {"ProtocolName": "t1_mpr", "EchoTime": 3, "RepetitionTime": 2000, **GR},
            MRSequence.T1,
        ),
        (
            {"EchoTime": 3, "RepetitionTime": 2000, "InversionTime": 900, **GR},
            MRSequence.T1,
        ),
        ({"EchoTime": 25, "RepetitionTime": 700, **GR}, MRSequence.OTHER),
        (
            {
                "EchoTime": 6,
                "RepetitionTime": 25,
                "FlipAngle": 20,
                "SequenceVariant": "SP",
                **GR,
            },
            None,
        ),
        (
            {
                "EchoTime": 4,
                "RepetitionTime": 250,
                "FlipAngle": 70,
                "SequenceVariant": "SP",
                **GR,
            },
            MRSequence.T1,
        ),
        ({"EchoTime": 20, "RepetitionTime": 3000, **SE}, MRSequence.OTHER),
        ({"AcquisitionContrast": "FLUID_ATTENUATED"}, MRSequence.FLAIR),
        (
            {"SeriesDescription": "T1", "ContrastBolusAgent": "GADOVIST"},
            MRSequence.T1_CONTRAST,
        ),
        ({"SeriesDescription": "T1", "ContrastBolusAgent": "NONE"}, MRSequence.T1),
        (
            {
                "SeriesDescription": "T1 PRE",
                "ContrastBolusAgent": "GD",
                "ProtocolName": "POST",
            },
            MRSequence.T1,
        ),
    ],
)
def test_words_of_the_series_then_times_then_the_protocol(
    tags: dict[str, Any], sequence: MRSequence | None
) -> None:
    assert read(**tags).sequence is sequence


FLAIR_TIMES = {
    "ScanningSequence": ["SE", "IR"],
    "EchoTime": 90,
    "RepetitionTime": 9000,
    "InversionTime": 2500,
}


@pytest.mark.parametrize(
    ("words", "tags", "sequence"),
    [
        ("t2_tirm_tra_dark-fluid", {}, MRSequence.FLAIR),
        ("t2_tirm_tra", FLAIR_TIMES, MRSequence.FLAIR),
        ("T2 TIRM", {**FLAIR_TIMES, "InversionTime": 150}, MRSequence.T2),
        ("AX T2 HEMO", {}, MRSequence.OTHER),
        ("Ax T2 GRE", {"EchoTime": 20, "RepetitionTime": 700, **GR}, MRSequence.OTHER),
        ("T2W_FFE", {}, MRSequence.OTHER),
        ("T2 CISS", {"EchoTime": 2, "RepetitionTime": 5, **GR}, MRSequence.T2),
        ("PD/T2 TSE", {"EchoTime": 95, "RepetitionTime": 3000, **SE}, MRSequence.T2),
        ("PD/T2 TSE", {"EchoTime": 12, "RepetitionTime": 3000, **SE}, MRSequence.OTHER),
        ("PD/T2 TSE", {}, MRSequence.OTHER),
        *((x, {}, MRSequence.OTHER) for x in ("3D FIESTA", "TrueFISP cor", "bFFE")),
        *((x, {}, MRSequence.OTHER) for x in ("MRV sag", "Venographie", "Resting")),
    ],
)
def test_what_the_scanner_did_tells_a_fluid_inversion_and_a_gradient_echo(
    words: str, tags: dict[str, Any], sequence: MRSequence
) -> None:
    assert read(SeriesDescription=words, **tags).sequence is sequence


@pytest.mark.parametrize(
    ("words", "sequence"),
    [
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 nach KM", "T1 PÓS GD", "T1 +K")),
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 MDC", "T1 injecté", "T1 C/C")),
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 con CIV", "T1 增强", "T1 造影")),
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 с контрастом", "T1 kontrastlı")),
        *((x, MRSequence.T1) for x in ("T1 ohne KM", "T1 senza MDC", "T1 s/contraste")),
        *((x, MRSequence.T1) for x in ("T1 sans inj", "T1 non injecté", "T1 平扫")),
        *((x, MRSequence.T1) for x in ("T1 без контраста", "T1 bez kontrastu")),
        *((x, MRSequence.T1) for x in ("T1 kontrastsız", "T1 zonder contrast")),
        *((x, MRSequence.T1) for x in ("T1 sag", "T1 SPACE", "T1 CISS")),
        # After and before an operation, and a place, are no agent.
        *((x, MRSequence.T1) for x in ("T1 post-op", "T1 post fossa", "T1 POSTRT")),
        *((x, MRSequence.T1) for x in ("T1 pós-operatório", "T1 pre-op")),
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 pre-op GD", "T1 post-op +C")),
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 KM vor OP", "T1 Gd до операции")),
        # Before and after the agent, in one word or several.
        *((x, MRSequence.T1) for x in ("T1 vor KM", "t1 antes de contraste")),
        *((x, MRSequence.T1) for x in ("T1 avant injection", "T1 prima del mdc")),
        *((x, MRSequence.T1) for x in ("T1 voor contrast", "T1 przed kontrastem")),
        *((x, MRSequence.T1) for x in ("T1 kontrast öncesi", "T1 före KM")),
        *((x, MRSequence.T1) for x in ("T1 før kontrast", "T1 до контраста")),
        *((x, MRSequence.T1) for x in ("T1 增强前", "T1 造影前", "T1 before contrast")),
        *((x, MRSequence.T1) for x in ("T1 GD-", "T1 oKM", "T1_PRECONTRAST")),
        *((x, MRSequence.T1) for x in ("T1 fără contrast", "T1 χωρίς σκιαγραφικό")),
        *((x, MRSequence.T1) for x in ("T1 PRECENTRAL", "T1 postcentral gyrus")),
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 POSTCONTRAST", "T1_postKM")),
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 mKM", "T1 postgad", "T1 PO KL")),
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 po kontraście", "T1 造影後")),
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 после введения КВ", "T1 增强后")),
        *((x, MRSequence.T1_CONTRAST) for x in ("T1 kontrasztos", "T1 με σκιαγραφικό")),
        # Cyrillic letters that look alike.
        *((x, MRSequence.T1_CONTRAST) for x in ("Т1 с контрастом", "Т1 ВИ +C")),
        ("Т2 ВИ", MRSequence.T2),
    ],
)
def test_contrast_is_read_in_several_languages(
    words: str, sequence: MRSequence
) -> None:
    data = with_text(slice_file(), "SeriesDescription", words.encode())
    assert read_dicom(data, "x").series[0].sequence is sequence
