"""DICOM files become slices in their own units; hostile ones get clear errors."""

from __future__ import annotations

import contextlib
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, JPEGLosslessSV1, RLELossless

from tests.samples.coded_dicom import shipped
from tests.samples.dicom_files import (
    bomb,
    deflated,
    head,
    nested,
    nested_open,
    saved,
    slice_file,
)
from tests.samples.enhanced_dicom import write_enhanced
from tests.samples.hostile_files import (
    float_pixels,
    huge_rle,
    no_decoder,
    text_rows,
    twelve_bit_jpeg,
)
from tumorlens.errors import DamagedFileError, InputError, TooLargeError
from tumorlens.imaging.dicom.frames import frames_of
from tumorlens.imaging.dicom.grouping import read_dicom
from tumorlens.imaging.formats import is_dicom
from tumorlens.imaging.study import MRSequence, Plane, Study


def read(made: Dataset) -> Study:
    data = saved(made)
    assert is_dicom(data)
    return read_dicom(data, "x.dcm")


def test_pixels_place_and_header() -> None:
    (series,) = read(slice_file(position=7.0)).series
    (item,) = series.slices
    assert item.pixels.dtype == np.float32
    assert (item.pixels == head()).all()
    assert item.spacing_mm == (2.0, 1.0)
    assert item.plane is Plane.AXIAL
    assert item.placement is not None
    assert item.placement.at(1, 1).tolist() == [-29, -38, 7]
    assert "PixelData" not in series.headers[0]


@pytest.mark.parametrize(
    ("axes", "plane"),
    [
        ([1, 0, 0, 0, 1, 0], Plane.AXIAL),
        ([1, 0, 0, 0, 0, -1], Plane.CORONAL),
        ([0, 1, 0, 0, 0, -1], Plane.SAGITTAL),
    ],
)
def test_planes(axes: list[float], plane: Plane) -> None:
    assert read(slice_file(ImageOrientationPatient=axes)).slices[0].plane is plane


def test_missing_optional_tags() -> None:
    made = slice_file(
        ImageOrientationPatient=None,
        ImagePositionPatient=None,
        PixelSpacing=None,
        SeriesInstanceUID=None,
        Modality=None,
    )
    (item,) = read(made).slices
    assert (item.placement, item.plane, item.spacing_mm) == (None, None, None)


@pytest.mark.parametrize("axes", [[0] * 6, [1, 0, 0, 1, 0, 0], [5, 0, 0, 0, 5, 0]])
def test_impossible_axes_give_no_place(axes: list[float]) -> None:
    assert read(slice_file(ImageOrientationPatient=axes)).slices[0].placement is None


def test_no_preamble() -> None:
    data = saved(slice_file())[132:]
    assert is_dicom(data)
    assert (read_dicom(data, "x").slices[0].pixels == head()).all()


def test_monochrome1_signed_rescale_and_twelve_bits() -> None:
    white = slice_file(
        PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11
    )
    assert (read(white).slices[0].pixels == 4095 - head().astype(int)).all()
    signed = slice_file(head().astype(np.int16) - 500)
    assert read(signed).slices[0].pixels.min() == -500
    scaled = slice_file(RescaleSlope=0.5, RescaleIntercept=-3)
    assert (read(scaled).slices[0].pixels == head() * 0.5 - 3).all()


def test_enhanced_frames_have_their_own_place_and_scale() -> None:
    pixels = np.stack([head(), head() + 1, head() + 2])
    made = slice_file(pixels, NumberOfFrames=3, ImagePositionPatient=None)
    frames = []
    for height in (20, 0, 10):
        place, scale, frame = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, height]
        scale.RescaleSlope, scale.RescaleIntercept = 2, height
        frame.PlanePositionSequence = Items([place])
        frame.PixelValueTransformationSequence = Items([scale])
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = Items(frames)
    (series,) = read(made).series
    assert [item.index for item in series.slices] == [0, 1, 2]
    assert [item.pixels[0, 0] for item in series.slices] == [2, 14, 20]
    assert len(series.headers) == 3


@pytest.mark.parametrize(
    "kind", ["RLE", "jp2klossless", "jpeg_ls_lossless", "implicit", "bigendian"]
)
def test_compressed_syntaxes_give_the_same_pixels(kind: str) -> None:
    def sample(name: str) -> Any:
        path = get_testdata_file(name, download=False)
        assert isinstance(path, str)
        return read_dicom(Path(path).read_bytes(), name).slices[0].pixels

    assert (sample(f"MR_small_{kind}.dcm") == sample("MR_small.dcm")).all()


def test_the_deflated_syntax() -> None:
    data = deflated(slice_file())
    assert len(data) < head().nbytes / 4
    assert (read_dicom(data, "a").slices[0].pixels == head()).all()


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "CT"}, "CT"),
        ({"Modality": "SR"}, "report"),
        ({"SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.7")}, "capture"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
        ({"BodyPartExamined": "KNEE"}, "knee"),
        ({"BodyPartExamined": "CSPINE"}, "spine"),
    ],
)
def test_what_is_no_head_is_refused(tags: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read(slice_file(**tags))


@pytest.mark.parametrize(
    ("tags", "sequence"),
    [
        ({"SeriesDescription": "AX T1 SE"}, MRSequence.T1),
        ({"SeriesDescription": "T1 post GD"}, MRSequence.T1_CONTRAST),
        (
            {"SeriesDescription": "t1_mprage", "ContrastBolusAgent": "X"},
            "T1 with contrast",
        ),
        ({"SeriesDescription": "sT2W/FLAIR"}, MRSequence.FLAIR),
        ({"SeriesDescription": "T2 TSE"}, MRSequence.T2),
        ({"SeriesDescription": "ep2d_diff_3scan"}, MRSequence.DIFFUSION),
        ({"SeriesDescription": "t2* gre"}, MRSequence.OTHER),
        (
            {"ScanningSequence": "SE", "EchoTime": 10, "RepetitionTime": 450},
            MRSequence.T1,
        ),
        (
            {"ScanningSequence": "SE", "EchoTime": 95, "RepetitionTime": 4000},
            MRSequence.T2,
        ),
        ({"SeriesDescription": "series 5"}, None),
    ],
)
def test_sequences(tags: dict[str, Any], sequence: MRSequence | None) -> None:
    assert read(slice_file(**tags)).series[0].sequence == sequence


@pytest.mark.parametrize(
    "words",
    [
        "AX T1 W/O CONTRAST",
        "t1_w/o_gad",
        "T1 WO GAD",
        "T1 NON CONTRAST",
        "T1 NON-CONTRAST",
        "T1 noncontrast",
        "T1 NO GADOLINIUM",
        "AX T1 (NO GAD)",
        "T1 non-enhanced",
        "T1 ohne KM",
        "AX T1 FLAIR",
        "T1 FLAIR PRE GD",
    ],
)
def test_t1_that_is_said_to_be_plain_has_no_contrast(words: str) -> None:
    made = slice_file(SeriesDescription=words)
    assert read(made).series[0].sequence is MRSequence.T1


@pytest.mark.parametrize(
    ("tags", "sequence"),
    [
        (
            {"SeriesDescription": "AX FLAIR", "ProtocolName": "Brain T1+C"},
            MRSequence.FLAIR,
        ),
        (
            {"SeriesDescription": "FLAIR axial T1 post", "EchoTime": 120},
            MRSequence.FLAIR,
        ),
        (
            {"SeriesDescription": "AX T1 FLAIR", "EchoTime": 24},
            MRSequence.T1,
        ),
        (
            {"SeriesDescription": "T1 POST", "ProtocolName": "BRAIN W/O AND W"},
            MRSequence.T1_CONTRAST,
        ),
        (
            {"SeriesDescription": "AX T1 +C", "ProtocolName": "HEAD W/O & W CON"},
            MRSequence.T1_CONTRAST,
        ),
        (
            {
                "SeriesDescription": "AX T1",
                "ProtocolName": "BRAIN WITH AND WITHOUT CONTRAST",
            },
            MRSequence.T1,
        ),
        (
            {"SeriesDescription": "T1 W/O GAD", "ProtocolName": "BRAIN W/WO"},
            MRSequence.T1,
        ),
    ],
)
def test_the_exam_s_name_says_nothing_of_one_series(
    tags: dict[str, Any], sequence: MRSequence
) -> None:
    assert read(slice_file(**tags)).series[0].sequence is sequence


@pytest.mark.parametrize(
    ("words", "sequence"),
    [
        ("AX T1 FLAIR +C", MRSequence.T1_CONTRAST),
        ("Sag T1 FLAIR POST", MRSequence.T1_CONTRAST),
        ("T1 W/ CONTRAST", MRSequence.T1_CONTRAST),
        ("T1 W OBL GAD", MRSequence.T1_CONTRAST),
        ("AX T2 FLAIR", MRSequence.FLAIR),
        ("AX FLAIR", MRSequence.FLAIR),
        ("T1 T2 FLAIR", MRSequence.FLAIR),
    ],
)
def test_flair_is_what_it_weights_and_contrast_what_is_given(
    words: str, sequence: MRSequence
) -> None:
    assert read(slice_file(SeriesDescription=words)).series[0].sequence is sequence


def test_a_t1_flair_stays_t1_where_the_scanner_marks_it_flair() -> None:
    made = slice_file(SeriesDescription="AX T1 FLAIR", AcquisitionContrast="FLAIR")
    assert read(made).series[0].sequence is MRSequence.T1
    made = slice_file(SeriesDescription="AX 5", AcquisitionContrast="FLAIR")
    assert read(made).series[0].sequence is MRSequence.FLAIR


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (bomb, TooLargeError, "more elements or bytes"),
        (nested, DamagedFileError, "deep"),
        (nested_open, DamagedFileError, "hostile"),
        (huge_rle, TooLargeError, "65535"),
        (text_rows, DamagedFileError, "Rows"),
        (
            lambda: saved(slice_file(Rows=None)),
            DamagedFileError,
            "Rows",
        ),
        (lambda: saved(slice_file(RescaleSlope=0)), DamagedFileError, "RescaleSlope"),
        (no_decoder, DamagedFileError, "transfer syntax"),
        (twelve_bit_jpeg, DamagedFileError, "no decoder"),
        (float_pixels, InputError, "float"),
        (lambda: saved(slice_file(NumberOfFrames=9999)), TooLargeError, "9999 frames"),
        (lambda: saved(slice_file(Rows=128)), DamagedFileError, "bytes of pixels"),
    ],
)
def test_hostile_files(make: Any, kind: type[InputError], said: str) -> None:
    data = make()
    with pytest.raises(kind, match=said) as caught:
        read_dicom(data, "hostile.dcm")
    assert "hostile.dcm" in caught.value.message
    assert "Secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm"])
def test_an_error_that_is_kept_keeps_no_other_thread_waiting(name: str) -> None:
    good = shipped(name).read_bytes()
    made = dcmread(shipped(name))
    made.RescaleSlope = 0
    with pytest.raises(DamagedFileError, match="RescaleSlope") as kept:
        read_dicom(saved(made), "bad.dcm")
    found: list[Study] = []
    other = Thread(target=lambda: found.append(read_dicom(good, "a")), daemon=True)
    other.start()
    other.join(30.0)
    assert found, f"still waiting for {kept.value}"


def broken_group() -> bytes:
    """Make shared groups that hold a number of three bytes."""
    number = b"\x28\0\x02\0US\x03\0abc"
    item = b"\xfe\xff\0\xe0" + len(number).to_bytes(4, "little") + number
    groups = b"\0\x52\x29\x92SQ\0\0" + len(item).to_bytes(4, "little") + item
    data = saved(slice_file())
    pixels = data.index(b"\xe0\x7f\x10\0")
    return data[:pixels] + groups + data[pixels:]


def of_kind(tag: bytes, kind: bytes, value: bytes) -> bytes:
    """Give a short tag another kind and value."""
    data = saved(slice_file(InstanceNumber=1))
    place = data.index(tag)
    end = place + 8 + int.from_bytes(data[place + 6 : place + 8], "little")
    return data[:place] + tag + kind + bytes([len(value), 0]) + value + data[end:]


INFINITE = np.float64(np.inf).tobytes()


@pytest.mark.parametrize(
    "make",
    [
        broken_group,
        # Pixel data of a kind that nobody knows.
        lambda: (
            shipped("MR_small_RLE.dcm")
            .read_bytes()
            .replace(b"\xe0\x7f\x10\0OB\0\0", b"\xe0\x7f\x10\0Oq\x49\xf2")
        ),
        lambda: of_kind(b"\x28\0\x10\0", b"FD", INFINITE),
    ],
)
def test_what_the_fuzzer_found(make: Any) -> None:
    with pytest.raises(DamagedFileError, match=r"hostile\.dcm"):
        read_dicom(make(), "hostile.dcm")


def test_an_infinite_number_of_the_slice_counts_as_none() -> None:
    data = of_kind(b"\x20\0\x13\0", b"FD", INFINITE)
    assert (read_dicom(data, "a").slices[0].pixels == head()).all()


def test_cut_off_at_each_half_kilobyte() -> None:
    data = saved(slice_file())
    for end in range(0, len(data), 512):
        with pytest.raises(InputError):
            read_dicom(data[:end], "cut.dcm")


WHOLE = saved(slice_file(SeriesDescription="T1", RescaleSlope=1, RescaleIntercept=0))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=8))
def test_changed_bytes_give_a_study_or_a_clear_error(
    changes: list[tuple[int, int]],
) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[128 + place] = value
    with contextlib.suppress(InputError):
        assert read_dicom(bytes(data), "x").slices


def test_a_colour_whose_type_is_broken_is_grey() -> None:
    broken = WHOLE.replace(b"\x28\0\x04\0CS", b"\x28\0\x04\0C\0")
    assert broken != WHOLE
    with contextlib.suppress(InputError):
        assert read_dicom(broken, "x").slices


# --- Attributes that change what a value means ---


def textured(low: int = 10) -> np.ndarray:
    """Draw a head with many greys, on air of 0."""
    rng = np.random.default_rng(0)
    return np.where(head() > 0, rng.integers(low, 250, (64, 64)), 0).astype(np.uint16)


AIR = head() == 0


@pytest.mark.parametrize(
    ("dtype", "stored", "tags"),
    [
        (np.uint16, 63536, {"PixelPaddingValue": 63536}),
        (np.int16, -2000, {"PixelPaddingValue": -2000}),
        (
            np.uint16,
            60001,
            {"PixelPaddingValue": 60000, "PixelPaddingRangeLimit": 60003},
        ),
        (
            np.uint16,
            60001,
            {"PixelPaddingValue": 60003, "PixelPaddingRangeLimit": 60000},
        ),
        (np.uint16, 63536, {}),
        (np.int16, -2000, {}),
    ],
)
def test_padding_is_air(dtype: type, stored: int, tags: dict[str, Any]) -> None:
    pixels = np.where(AIR, stored, textured()).astype(dtype)
    (item,) = read(slice_file(pixels, **tags)).slices
    assert item.pixels[~AIR].tolist() == textured()[~AIR].tolist()
    assert item.pixels[AIR].max() == item.pixels[~AIR].min()


def test_padding_that_is_written_without_its_sign_is_air() -> None:
    pixels = np.where(AIR, -2000, textured()).astype(np.int16)
    data = saved(slice_file(pixels, PixelPaddingValue=-2000))
    place = data.index(b"\x28\0\x20\x01")
    # As GE writes it: an unsigned value beside signed pixels.
    data = data[: place + 4] + b"US" + data[place + 6 :]
    (item,) = read_dicom(data, "x").slices
    assert item.pixels.min() >= 10


def test_padding_of_monochrome1_stays_air() -> None:
    pixels = np.where(AIR, 65535, 1000 - textured()).astype(np.uint16)
    made = slice_file(
        pixels, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=65535
    )
    (item,) = read(made).slices
    assert item.pixels[AIR].max() <= item.pixels[~AIR].min()


@pytest.mark.parametrize("pixels", [textured(), head(), textured() + 500])
def test_what_is_no_padding_stays(pixels: np.ndarray) -> None:
    (item,) = read(slice_file(pixels.astype(np.uint16))).slices
    assert np.array_equal(item.pixels, pixels)


@pytest.mark.parametrize(
    ("tags", "aspect"),
    [
        ({"PixelSpacing": [2, 1]}, 2.0),
        ({"PixelSpacing": [1, 4]}, 0.25),
        ({"PixelSpacing": None, "PixelAspectRatio": [2, 1]}, 2.0),
        ({"PixelSpacing": None, "PixelAspectRatio": [0, 1]}, 1.0),
        ({"PixelSpacing": None}, 1.0),
    ],
)
def test_how_oblong_pixels_are(tags: dict[str, Any], aspect: float) -> None:
    assert read(slice_file(**tags)).slices[0].pixel_aspect == pytest.approx(aspect)


def test_an_empty_slope_says_nothing() -> None:
    data = saved(slice_file(RescaleSlope="", RescaleIntercept=""))
    assert (read_dicom(data, "x").slices[0].pixels == head()).all()


def lookup(entries: list[int], first: int, bits: int = 16) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", [len(entries), first, bits])
    item.add_new(0x00283006, "US", entries)
    return item


def test_a_modality_s_table_is_looked_up() -> None:
    pixels = (textured() // 10).astype(np.uint16)
    table = [7 * value + 3 for value in range(26)]
    made = slice_file(pixels, ModalityLUTSequence=[lookup(table, 0)], RescaleSlope=99)
    assert np.array_equal(read(made).slices[0].pixels, 7 * pixels + 3)
    beyond = slice_file(pixels, ModalityLUTSequence=[lookup(table[5:10], 5)])
    assert np.array_equal(read(beyond).slices[0].pixels, 7 * np.clip(pixels, 5, 9) + 3)


@pytest.mark.parametrize("entries", [[1], []])
def test_a_broken_table_is_refused(entries: list[int]) -> None:
    item = lookup([1, 2, 3], 0)
    item.LUTDescriptor = [900, 0, 16]
    item.LUTData = entries
    with pytest.raises(DamagedFileError, match="ModalityLUTSequence"):
        read(slice_file(ModalityLUTSequence=[item]))


def test_a_palette_of_greys_becomes_grey() -> None:
    pixels = (textured() // 10).astype(np.uint8)
    made = slice_file(pixels, PhotometricInterpretation="PALETTE COLOR")
    table = np.array([10 * value for value in range(26)], "<u2") * 256
    for colour in ("Red", "Green", "Blue"):
        setattr(made, f"{colour}PaletteColorLookupTableDescriptor", [26, 0, 16])
        setattr(made, f"{colour}PaletteColorLookupTableData", table.tobytes())
    (item,) = read(made).slices
    assert item.colorfulness == 0.0
    assert float(np.corrcoef(item.pixels.ravel(), pixels.ravel())[0, 1]) > 0.9999


def test_values_in_the_high_bits_are_shifted_down() -> None:
    pixels = (textured().astype(np.uint16) << 4) | 5
    made = slice_file(pixels, BitsStored=12, HighBit=15)
    assert np.array_equal(read(made).slices[0].pixels, textured())


def test_eight_of_sixteen_bits_and_what_lies_above_them() -> None:
    pixels = textured() | 0x0300
    made = slice_file(pixels, BitsStored=8, HighBit=7)
    assert np.array_equal(read(made).slices[0].pixels, textured())


def test_more_pixel_data_than_stated_is_left() -> None:
    made = slice_file(textured())
    made.PixelData += bytes(64)
    assert np.array_equal(read(made).slices[0].pixels, textured())


@pytest.mark.parametrize(
    "tags",
    [
        {"PhotometricInterpretation": None},
        {"PhotometricInterpretation": "GRAYSCALE"},
        {"PhotometricInterpretation": "MONOCHROME"},
        {"SamplesPerPixel": None, "PixelRepresentation": None, "HighBit": None},
        {"BitsStored": None},
    ],
)
def test_tags_that_old_senders_leave_out_have_their_usual_value(
    tags: dict[str, Any],
) -> None:
    assert (read(slice_file(**tags)).slices[0].pixels == head()).all()


def test_colours_without_a_planar_configuration_are_pixel_by_pixel() -> None:
    grey = (head() // 20).astype(np.uint8)
    made = slice_file(grey)
    made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
    made.PixelData = np.repeat(grey[..., None], 3, axis=2).tobytes()
    assert np.allclose(read(made).slices[0].pixels, grey, atol=1)


def test_the_spacing_of_a_detector_tells_how_oblong_pixels_are() -> None:
    made = slice_file(PixelSpacing=None, ImagerPixelSpacing=[2, 1])
    (item,) = read(made).slices
    assert (item.pixel_aspect, item.spacing_mm) == (2.0, None)


def test_each_frame_of_an_enhanced_file_has_the_weighting_of_its_own_times(
    tmp_path: Path,
) -> None:
    pixels = [head() + n for n in range(8)]
    path = write_enhanced(tmp_path / "made", pixels, places=[0, 1, 2, 3, 0, 1, 2, 3])
    made = dcmread(path)
    made.ScanningSequence = "SE"
    for n, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        times, echo = Dataset(), Dataset()
        times.RepetitionTime = 500.0 if n < 4 else 4000.0
        echo.EffectiveEchoTime = 10.0 if n < 4 else 90.0
        group.MRTimingAndRelatedParametersSequence = [times]
        group.MREchoSequence = [echo]
    one, two = read(made).series
    assert (one.sequence, two.sequence) == (MRSequence.T1, MRSequence.T2)
    diffusion = Dataset()
    diffusion.DiffusionBValue = 1000.0
    for group in made.PerFrameFunctionalGroupsSequence[4:]:
        group.MRDiffusionSequence = [diffusion]
    assert read(made).series[1].sequence is MRSequence.DIFFUSION


def test_the_settings_of_a_frame_are_none_of_the_next_ones(tmp_path: Path) -> None:
    pixels = [head() + n for n in range(8)]
    path = write_enhanced(tmp_path / "made", pixels, places=[0, 1, 2, 3, 0, 1, 2, 3])
    made = dcmread(path)
    made.ScanningSequence = "SE"
    for n, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        diffusion = Dataset()
        diffusion.DiffusionBValue = 1000.0
        times, echo = Dataset(), Dataset()
        times.RepetitionTime = 4000.0
        echo.EffectiveEchoTime = 90.0
        group.MRTimingAndRelatedParametersSequence = [times]
        group.MREchoSequence = [echo]
        if n < 4:
            group.MRDiffusionSequence = [diffusion]
    frames = frames_of(saved(made), "x")
    assert {frame.slice.sequence for frame in frames[:4]} == {MRSequence.DIFFUSION}
    assert {frame.slice.sequence for frame in frames[4:]} == {MRSequence.T2}
    assert "EchoTime" not in frames[0].header


def test_a_setting_that_is_no_number_tells_nothing(tmp_path: Path) -> None:
    made = dcmread(write_enhanced(tmp_path / "made", [head()]))
    (shared,) = made.SharedFunctionalGroupsSequence
    shared.MREchoSequence[0].add_new("EffectiveEchoTime", "LO", "abc")
    assert read(made).slices


def shaded(top: int) -> np.ndarray:
    """Draw a head whose greys run smoothly up to a value."""
    rows, columns = np.mgrid[:64, :64]
    distance = np.hypot(rows - 32, columns - 32)
    return np.where(distance < 28, top * (1.0 - distance / 40.0), 20).astype(np.uint16)


@pytest.mark.parametrize(
    ("top", "tags"),
    [
        (4000, {"PixelRepresentation": 1, "BitsStored": 12, "HighBit": 11}),
        (60000, {"PixelRepresentation": 1}),
        (4000, {"BitsStored": 8, "HighBit": 7}),
    ],
)
def test_a_sign_or_bits_that_tear_the_picture_are_not_believed(
    top: int, tags: dict[str, Any]
) -> None:
    expected = shaded(top)
    (slice_,) = read_dicom(saved(slice_file(expected, **tags)), "x").slices
    assert np.array_equal(slice_.pixels, expected)


def test_signed_values_and_bits_of_an_overlay_stay() -> None:
    noise = np.random.default_rng(0).normal(0, 60, (64, 64))
    real = (np.where(shaded(4000) > 100, shaded(4000) - 2000.0, 0) + noise).astype("i2")
    (slice_,) = read_dicom(saved(slice_file(real)), "x").slices
    assert np.array_equal(slice_.pixels, real)
    marked = shaded(255)
    marked[10:20] |= 0x100
    tags = {"BitsStored": 8, "HighBit": 7}
    (slice_,) = read_dicom(saved(slice_file(marked, **tags)), "x").slices
    assert np.array_equal(slice_.pixels, marked & 0xFF)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, RLELossless])
def test_plain_pixels_under_the_name_of_a_packing_are_read(syntax: UID) -> None:
    made = slice_file()
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    plain = saved(made)
    header = dcmread(BytesIO(plain))
    buffer = BytesIO()
    write_file_meta_info(buffer, header.file_meta, enforce_standard=False)
    body = plain[132 + len(buffer.getvalue()) :]
    header.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    buffer.write(bytes(128) + b"DICM")
    write_file_meta_info(buffer, header.file_meta, enforce_standard=False)
    (slice_,) = read_dicom(buffer.getvalue() + body, "x").slices
    assert np.array_equal(slice_.pixels, read_dicom(plain, "x").slices[0].pixels)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.6.1"])
def test_a_packing_that_is_newer_than_the_decoders_is_called_one(syntax: str) -> None:
    plain = b"UI\x14\x001.2.840.10008.1.2.1\0"
    name = syntax.encode() + b"\0" * (len(syntax) % 2)
    data = saved(slice_file())
    assert data.count(plain) == 1
    data = data.replace(plain, b"UI" + len(name).to_bytes(2, "little") + name)
    with pytest.raises(DamagedFileError, match="no decoder here") as caught:
        read_dicom(data, "x")
    assert "uncompressed" in caught.value.hint
