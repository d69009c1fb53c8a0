"""Files become series, sorted along the patient."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from tests.samples.dicom_files import head, saved, slice_file
from tests.samples.enhanced_dicom import write_enhanced
from tumorlens.errors import InputError
from tumorlens.imaging.dicom.grouping import gather_series
from tumorlens.imaging.study import MRSequence, Plane

DATA = Path(os.environ.get("TUMORLENS_DATA", "../shared/data")) / "dicom"


def test_slices_are_sorted_by_position_not_by_name() -> None:
    files = [(f"{i}", saved(slice_file(position=z))) for i, z in enumerate((10, -5, 0))]
    study, failures = gather_series(files)
    (series,) = study.series
    assert [item.source for item in series.slices] == ["1", "2", "0"]
    assert [item.index for item in series.slices] == [0, 1, 2]
    assert not failures


def test_without_position_the_number_sorts() -> None:
    files = [
        (str(n), saved(slice_file(ImagePositionPatient=None, InstanceNumber=n)))
        for n in (10, 9, 2)
    ]
    study, _ = gather_series(files)
    assert [item.source for item in study.slices] == ["2", "9", "10"]


def test_series_and_orientations_are_told_apart() -> None:
    other = slice_file(SeriesInstanceUID=UID("1.2.9"))
    turned = slice_file(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    study, _ = gather_series(
        [("a", saved(slice_file())), ("b", saved(other)), ("c", saved(turned))]
    )
    assert len(study.series) == 3
    assert any("split" in note for note in study.notes)


def test_echoes_are_split_and_copies_dropped() -> None:
    files = [
        (f"{echo} {z}", saved(slice_file(position=z, EchoTime=echo)))
        for echo in (10, 90)
        for z in (0, 5)
    ]
    study, _ = gather_series([*files, files[0]])
    assert [len(series.slices) for series in study.series] == [2, 2]
    assert any("repeat" in note for note in study.notes)


def test_localisers_are_left_out_with_a_note() -> None:
    scout = slice_file(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    study, failures = gather_series([("Doe", saved(scout)), ("b", saved(slice_file()))])
    assert len(study.slices) == 1
    assert [name for name, _ in failures] == ["Doe"]
    assert any("localiser" in note for note in study.notes)
    assert not any("Doe" in note for note in study.notes)


def test_nothing_but_a_localiser_is_refused() -> None:
    scout = slice_file(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(InputError, match="localiser"):
        gather_series([("a", saved(scout))])


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data")
@pytest.mark.parametrize(
    ("folder", "count", "plane", "sequence"),
    [
        ("volunteer", 80, Plane.SAGITTAL, MRSequence.T1),
        ("brainix/T1", 22, Plane.AXIAL, MRSequence.T1),
        ("brainix/FLAIR", 22, Plane.AXIAL, MRSequence.FLAIR),
    ],
)
def test_real_series(
    folder: str, count: int, plane: Plane, sequence: MRSequence
) -> None:
    files = [(x.name, x.read_bytes()) for x in (DATA / folder).glob("*.dcm")]
    study, failures = gather_series(files)
    (series,) = study.series
    assert not failures
    assert (len(series.slices), series.slices[0].plane) == (count, plane)
    assert series.sequence is sequence


def marked(value: int) -> NDArray[np.uint16]:
    """Draw a head that one value tells from others."""
    pixels = head()
    pixels[30:34, 30:34] = 1000 + value
    return pixels


def drawn(number: int, position: float | None = None, **tags: Any) -> Dataset:
    """Draw a slice of a series, told by its pixels and its identifier."""
    place = float(5 * number) if position is None else position
    tags = {"SOPInstanceUID": UID(f"1.2.9.{number}"), **tags}
    if tags.get("InstanceNumber", number) is None:
        del tags["InstanceNumber"]
    else:
        tags.setdefault("InstanceNumber", number)
    return slice_file(marked(number), place, **tags)


def gathered(*made: Dataset) -> Any:
    """Read files as one study."""
    return gather_series((f"f{i}", saved(item)) for i, item in enumerate(made))[0]


def values(series: Any) -> list[int]:
    """Tell slices by the value that was drawn into them."""
    return [int(item.pixels[32, 32]) - 1000 for item in series.slices]


# --- Copies ---


def test_a_copied_file_drops_out_though_each_slice_has_its_own_acquisition() -> None:
    made = [drawn(n, AcquisitionNumber=n) for n in range(1, 7)]
    study = gathered(*made, made[2])
    assert [values(series) for series in study.series] == [[1, 2, 3, 4, 5, 6]]
    assert any("repeats another" in note for note in study.notes)


def test_a_whole_series_that_comes_twice_is_one() -> None:
    made = [drawn(n) for n in range(1, 6)]
    study = gathered(*made, *made)
    assert [values(series) for series in study.series] == [[1, 2, 3, 4, 5]]
    assert any("5 slices repeat another" in note for note in study.notes)


def test_a_copy_under_new_identifiers_drops_out_whole_or_in_part() -> None:
    made = [drawn(n) for n in range(1, 7)]
    for count in (6, 3):
        copies = [
            drawn(
                n,
                SeriesInstanceUID=UID("1.2.77"),
                SOPInstanceUID=UID(f"1.2.77.{n}"),
                SeriesDescription="sent again",
            )
            for n in range(1, count + 1)
        ]
        study = gathered(*copies, *made)
        assert [len(series.slices) for series in study.series] == [6]
        assert any("under another name" in note for note in study.notes)


def test_slices_of_equal_pixels_in_different_places_are_no_copies() -> None:
    blank = np.zeros((64, 64), np.uint16)
    blank[0, 0] = 1
    made = [
        slice_file(blank, float(z), SOPInstanceUID=UID(f"1.2.9.{z}")) for z in range(4)
    ]
    (series,) = gathered(*made).series
    assert len(series.slices) == 4


def test_another_image_in_one_place_is_put_apart_and_never_dropped() -> None:
    made = [drawn(n) for n in range(1, 6)]
    study = gathered(*made, drawn(9, position=10.0))
    assert sorted(len(series.slices) for series in study.series) == [1, 5]
    assert [9] in [values(series) for series in study.series]
    assert any("lie where another one lies" in note for note in study.notes)


# --- What parts acquisitions ---


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"SeriesNumber": 1}, {"SeriesNumber": 2}),
        ({"SeriesDescription": "T1"}, {"SeriesDescription": "T1 GD"}),
        ({"SeriesTime": "101010"}, {"SeriesTime": "111111"}),
        ({"EchoTime": 10}, {"EchoTime": 90}),
        ({"InversionTime": 500}, {"InversionTime": 2500}),
        ({"ContrastBolusAgent": None}, {"ContrastBolusAgent": "GADOVIST"}),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M"]},
            {"ImageType": ["ORIGINAL", "PRIMARY", "R"]},
        ),
    ],
)
@pytest.mark.parametrize("shift", [0.0, 2.5], ids=["same places", "between"])
def test_acquisitions_without_a_series_uid_part(
    first: dict[str, Any], second: dict[str, Any], shift: float
) -> None:
    made = []
    for n in range(1, 7):
        for k, tags in enumerate((first, second)):
            tags = {x: y for x, y in tags.items() if y is not None}
            made.append(
                drawn(n + 20 * k, 5.0 * n + k * shift, SeriesInstanceUID=None, **tags)
            )
    study = gathered(*made)
    assert sorted(values(series) for series in study.series) == [
        [1, 2, 3, 4, 5, 6],
        [21, 22, 23, 24, 25, 26],
    ]


def test_one_uid_for_two_numbers_of_series_parts() -> None:
    made = [
        drawn(n + 20 * k, 5.0 * n + 2 * k, SeriesNumber=k)
        for n in range(5)
        for k in (0, 1)
    ]
    study = gathered(*made)
    assert [values(series) for series in study.series] == [
        [0, 1, 2, 3, 4],
        [20, 21, 22, 23, 24],
    ]


def test_time_points_that_nothing_but_their_number_tells_apart_part() -> None:
    made = [drawn(n, position=5.0 * (n % 5)) for n in range(15)]
    study = gathered(*made)
    assert [values(series) for series in study.series] == [
        list(range(start, start + 5)) for start in (0, 5, 10)
    ]


def test_a_tag_that_differs_here_and_there_parts_nothing() -> None:
    made = [drawn(n, EchoTime=10 + (n in (2, 3, 7))) for n in range(1, 10)]
    (series,) = gathered(*made).series
    assert values(series) == list(range(1, 10))


def test_files_that_an_anonymiser_named_apart_are_one_series() -> None:
    made = [
        drawn(n, SeriesInstanceUID=UID(f"1.2.7.{n}"), SeriesNumber=3) for n in range(6)
    ]
    study = gathered(*made)
    assert [values(series) for series in study.series] == [[0, 1, 2, 3, 4, 5]]
    assert any("taken as one series" in note for note in study.notes)


def test_without_a_number_of_the_series_a_regular_stack_is_proof() -> None:
    def alone(places: range | tuple[int, ...]) -> list[int]:
        made = [drawn(n, 5.0 * n, SeriesInstanceUID=UID(f"1.2.7.{n}")) for n in places]
        return [len(series.slices) for series in gathered(*made).series]

    assert alone(range(6)) == [6]
    assert alone((0, 1, 5, 11)) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "tags", [{"AcquisitionTime": "120000"}, {"AcquisitionNumber": 2}, {}]
)
def test_slices_nearer_than_the_header_says_are_of_two_acquisitions(
    tags: dict[str, Any],
) -> None:
    made = []
    for k in (0, 1):
        for n in range(6):
            item = drawn(n + 20 * k, 5.0 * n + 2.5 * k, SpacingBetweenSlices=5)
            item.InstanceNumber = n
            if k:
                for keyword, value in tags.items():
                    setattr(item, keyword, value)
            made.append(item)
    study = gathered(*made)
    assert [values(series) for series in study.series] == [
        [0, 1, 2, 3, 4, 5],
        [20, 21, 22, 23, 24, 25],
    ]


@pytest.mark.parametrize("apart", [0.3, 2.5])
@pytest.mark.parametrize("number", [1, 2])
def test_a_second_acquisition_whose_numbers_go_on_is_told_by_thickness(
    apart: float, number: int
) -> None:
    made = [
        drawn(
            n + 20 * k,
            5.0 * n + apart * k,
            SliceThickness=5,
            InstanceNumber=n + 1 + 6 * k,
            AcquisitionNumber=1 + k * (number - 1),
        )
        for k in (0, 1)
        for n in range(6)
    ]
    study = gathered(*made)
    assert [values(series) for series in study.series] == [
        [0, 1, 2, 3, 4, 5],
        [20, 21, 22, 23, 24, 25],
    ]


def test_pairs_of_slices_are_two_acquisitions_without_any_distance_stated() -> None:
    made = [drawn(n + 20 * k, 5.0 * n + 0.3 * k) for k in (0, 1) for n in range(6)]
    assert [len(series.slices) for series in gathered(*made).series] == [6, 6]


def test_slices_of_one_acquisition_that_overlap_stay_together() -> None:
    made = [drawn(n, 1.0 * n, SliceThickness=2) for n in range(12)]
    assert [len(series.slices) for series in gathered(*made).series] == [12]


def test_two_packages_of_one_acquisition_stay_together() -> None:
    made = [drawn(n, AcquisitionNumber=n % 2, SpacingBetweenSlices=5) for n in range(8)]
    (series,) = gathered(*made).series
    assert values(series) == list(range(8))


def test_a_copy_with_a_new_number_drops_out() -> None:
    made = [drawn(n) for n in range(5)]
    copy = drawn(2, SOPInstanceUID=UID("1.2.77"), InstanceNumber=99)
    study = gathered(*made, copy)
    assert [len(series.slices) for series in study.series] == [5]
    assert any("repeats another" in note for note in study.notes)


def test_pixels_of_another_size_in_millimetres_part() -> None:
    made = [drawn(n) for n in range(4)]
    made += [drawn(10 + n, 5.0 * n + 1, PixelSpacing=[0.5, 0.5]) for n in range(4)]
    assert len(gathered(*made).series) == 2


# --- What is not judged ---


@pytest.mark.parametrize(
    "tags",
    [
        {"SeriesDescription": "3-plane Loc"},
        {"SeriesDescription": "3Plane_Loc FGRE"},
        {"SeriesDescription": "AAHead_Scout"},
        {"SeriesDescription": "SURVEY"},
        {"SeriesDescription": "localizador"},
        {"ProtocolName": "Lokalizer"},
    ],
)
def test_a_localiser_is_told_by_its_words(tags: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="localiser"):
        gathered(*(drawn(n, **tags) for n in range(3)))


@pytest.mark.parametrize("words", ["SAG T1 LOC 3", "T1 local shim", "Lobectomy"])
def test_a_diagnostic_series_is_no_localiser(words: str) -> None:
    assert gathered(*(drawn(n, SeriesDescription=words) for n in range(3))).series


def test_three_planes_of_a_few_slices_are_a_localiser_whatever_its_name() -> None:
    planes = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])
    made = [
        drawn(10 * k + n, ImageOrientationPatient=plane)
        for k, plane in enumerate(planes)
        for n in range(3)
    ]
    with pytest.raises(InputError, match="localiser"):
        gathered(*made)
    other = [drawn(n, SeriesInstanceUID=UID("1.2.8")) for n in range(50, 55)]
    study = gathered(*made, *other)
    assert [len(series.slices) for series in study.series] == [5]
    assert any("9 slices were set aside" in note for note in study.notes)


PLANES = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])


@pytest.mark.parametrize("name", ["3Plane_Loc", "SURVEY", "T1"])
def test_a_localiser_that_shares_every_identifier_with_a_series(name: str) -> None:
    planning = [
        drawn(100 + 10 * k + n, ImageOrientationPatient=p, SeriesDescription=name)
        for k, p in enumerate(PLANES)
        for n in range(3)
    ]
    made = [
        drawn(
            n,
            2.0 + 5.0 * n,
            SeriesDescription="T1",
            ImageOrientationPatient=[0.995, 0, 0.1, 0, 1, 0],
        )
        for n in range(20)
    ]
    study = gathered(*planning, *made)
    assert [values(series) for series in study.series] == [list(range(20))]
    assert any("9 slices were set aside" in note for note in study.notes)
    lone = drawn(50, 100.0, SeriesDescription="T1", ImageOrientationPatient=PLANES[0])
    with pytest.raises(InputError, match="localiser"):
        gathered(*planning, lone)


def test_three_diagnostic_planes_under_one_identifier_are_judged() -> None:
    made = [
        drawn(
            20 * k + n,
            5.0 * n,
            ImageOrientationPatient=plane,
            SeriesDescription=f"T1 {k}",
            ImagePositionPatient=[-30 - 5 * n, -40 - 5 * n, 5 * n],
        )
        for k, plane in enumerate(PLANES)
        for n in range(12)
    ]
    assert [len(series.slices) for series in gathered(*made).series] == [12, 12, 12]


def test_phase_is_set_aside_and_magnitude_judged(tmp_path: Path) -> None:
    pixels = [marked(n) for n in range(8)]
    path = write_enhanced(tmp_path / "made", pixels, places=[0, 1, 2, 3, 0, 1, 2, 3])
    made = dcmread(path)
    for n, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        kind = Dataset()
        kind.FrameType = ["ORIGINAL", "PRIMARY", "P" if n < 4 else "M", "NONE"]
        kind.ComplexImageComponent = "PHASE" if n < 4 else "MAGNITUDE"
        group.MRImageFrameTypeSequence = [kind]
    study = gathered(made)
    assert [values(series) for series in study.series] == [[4, 5, 6, 7]]
    assert any("4 slices were set aside: each shows phase" in x for x in study.notes)


def test_phase_alone_is_refused() -> None:
    kind = ["ORIGINAL", "PRIMARY", "P", "ND"]
    with pytest.raises(InputError, match="phase"):
        gathered(*(drawn(n, ImageType=kind) for n in range(3)))


# --- Negatives ---


def test_a_series_of_negatives_is_turned_round_and_says_so() -> None:
    made = []
    for n in range(4):
        item = drawn(n, WindowCenter=1000, WindowWidth=2000)
        item.PixelData = (3000 - marked(n)).astype(np.uint16).tobytes()
        made.append(item)
    (series,) = (study := gathered(*made)).series
    assert values(series) == [0, 1, 2, 3]
    assert series.slices[0].pixels[0, 0] == 0
    assert series.slices[0].window == (1000.0, 3000.0)
    assert any("inverted" in note for note in study.notes)


def test_a_declared_negative_is_turned_once() -> None:
    def inverted(n: int) -> Dataset:
        item = drawn(n, PhotometricInterpretation="MONOCHROME1")
        item.PixelData = (65535 - marked(n)).astype(np.uint16).tobytes()
        return item

    study = gathered(*(inverted(n) for n in range(4)))
    assert values(study.series[0]) == [0, 1, 2, 3]
    assert not study.notes


# --- Patients ---


def stack_of(patient: str, first: int, **tags: Any) -> list[tuple[str, bytes]]:
    """Six slices of one patient, with other pixels for each."""
    return [
        (
            f"{patient} {z}",
            saved(
                slice_file(
                    head() + first + z,
                    position=5.0 * z,
                    PatientID=patient,
                    SeriesInstanceUID="1.2.3",
                    **tags,
                )
            ),
        )
        for z in range(6)
    ]


@pytest.mark.parametrize("moved", [0.0, 2.5])
def test_patients_under_one_identifier_of_series_part(moved: float) -> None:
    two = [(name, saved(shifted(data, moved))) for name, data in stack_of("B", 10)]
    study, _ = gather_series([*stack_of("A", 0), *two])
    assert [series.patient for series in study.series] == ["A", "B"]
    assert [len(series.slices) for series in study.series] == [6, 6]
    assert any("split into 2" in note for note in study.notes)


def shifted(data: bytes, millimetres: float) -> Dataset:
    dataset = dcmread(BytesIO(data))
    left, posterior, superior = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [left, posterior, superior + millimetres]
    return dataset


def test_a_number_that_differs_here_and_there_parts_no_patient() -> None:
    files = stack_of("A", 0)
    (name, data), *others = files
    odd = dcmread(BytesIO(data))
    odd.PatientID = "B"
    study, _ = gather_series([(name, saved(odd)), *others])
    assert [len(series.slices) for series in study.series] == [6]


def test_a_copy_under_a_pseudonym_drops_out() -> None:
    files = stack_of("A", 0)
    copies = [(f"b{name}", data) for name, data in stack_of("B", 0)]
    study, _ = gather_series([*files, *copies])
    assert [len(series.slices) for series in study.series] == [6]


def test_without_a_number_the_name_tells_patients_apart() -> None:
    tags = {"PatientName": "DOE^JANE", "PatientBirthDate": "19700101"}
    study, _ = gather_series([("a", saved(slice_file(**tags)))])
    assert study.series[0].patient == "DOE^JANE 19700101"
    assert "DOE" not in repr(study)


# --- Names that mean nothing ---


def six(**tags: Any) -> list[tuple[str, bytes]]:
    """Six slices; a tag that is a function gets the number of the slice."""
    files = []
    for z in range(6):
        own = {key: tag(z) if callable(tag) else tag for key, tag in tags.items()}
        own = {key: tag for key, tag in own.items() if tag is not None}
        made = slice_file(head() + z, position=5.0 * z, InstanceNumber=z + 1, **own)
        files.append((str(z), saved(made)))
    return files


def test_a_number_of_the_series_for_each_slice_parts_nothing() -> None:
    study, _ = gather_series(six(SeriesNumber=lambda z: z + 1))
    assert [len(series.slices) for series in study.series] == [6]
    assert "was passed over" in study.notes[0]


def test_a_number_of_the_series_that_is_missing_here_and_there() -> None:
    study, _ = gather_series(six(SeriesNumber=lambda z: 5 if z % 2 else None))
    assert [len(series.slices) for series in study.series] == [6]
    assert study.notes == ()


def test_capitals_and_small_letters_part_nothing() -> None:
    words = lambda z: "T1 AX" if z % 2 else "t1 ax"  # noqa: E731
    study, _ = gather_series(six(SeriesDescription=words, PatientID=words))
    assert [len(series.slices) for series in study.series] == [6]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("SUBTRACT", "a subtraction of two others"),
        ("PROJECTION IMAGE", "a projection through others"),
        ("MIP", "a projection through others"),
        ("ADC", "a map of computed values"),
        ("T1 MAP", "a map of computed values"),
        ("RCBV", "a map of computed values"),
    ],
)
def test_what_was_computed_from_others_is_set_aside(kind: str, why: str) -> None:
    files = six(ImageType=["DERIVED", "SECONDARY", kind])
    with pytest.raises(InputError, match=why):
        gather_series(files)
    study, _ = gather_series([*files, *six(SeriesInstanceUID="1.2.9")])
    assert [len(series.slices) for series in study.series] == [6]
    assert f"6 slices were set aside: each is {why}." in study.notes


@pytest.mark.parametrize(
    ("words", "kind", "why"),
    [
        ("Apparent Diffusion Coefficient (mm2/s)", "OTHER", "map of computed values"),
        ("ADC", "OTHER", "map of computed values"),
        ("T1 MAP", "OTHER", "map of computed values"),
        ("rCBV", "OTHER", "map of computed values"),
        ("T1 SUBTRACTION", "OTHER", "subtraction"),
        ("SWI mIP", "OTHER", "projection"),
        ("Pha_Images", "OTHER", "phase"),
        ("SWI Phase", "OTHER", "phase"),
        ("Screen Save", "OTHER", "screen capture"),
        ("ep2d", "MOSAIC", "mosaic"),
        ("T1 Dixon", "FAT", "fat alone"),
    ],
)
def test_what_its_name_says_was_computed_is_not_judged(
    words: str, kind: str, why: str
) -> None:
    tags = {"SeriesDescription": words, "ImageType": ["ORIGINAL", "PRIMARY", kind]}
    with pytest.raises(InputError, match=why):
        gather_series(six(**tags))


@pytest.mark.parametrize(
    "words", ["DWI ADC", "T1 SUB 1", "Ax T2 MAPLE", "In-phase T1", "SWI Mag", "MIPPED"]
)
def test_what_only_sounds_computed_is_judged(words: str) -> None:
    kind = ["ORIGINAL", "PRIMARY", "M", "WATER"]
    study, _ = gather_series(six(SeriesDescription=words, ImageType=kind))
    assert [len(series.slices) for series in study.series] == [6]


@pytest.mark.parametrize(
    "kind",
    [
        ["ORIGINAL", "PRIMARY", "M", "ADC"],
        ["DERIVED", "PRIMARY", "MPR"],
        ["DERIVED", "SECONDARY"],
        ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"],
    ],
)
def test_what_was_measured_or_only_turned_is_judged(kind: list[str]) -> None:
    study, _ = gather_series(six(ImageType=kind))
    assert [len(series.slices) for series in study.series] == [6]


def test_files_without_a_series_uid_whose_series_time_counts_them_are_one() -> None:
    made = [
        drawn(n, SeriesInstanceUID=None, SeriesTime=f"10{n:02d}00") for n in range(1, 6)
    ]
    (series,) = (study := gathered(*made)).series
    assert values(series) == [1, 2, 3, 4, 5]
    assert any("taken as one series" in note for note in study.notes)


def test_two_series_without_uids_stay_apart_by_their_times() -> None:
    made = [
        drawn(n + 10 * late, 5.0 * n, SeriesInstanceUID=None, SeriesTime=f"1{late}0000")
        for n in range(1, 6)
        for late in (0, 1)
    ]
    assert [len(series.slices) for series in gathered(*made).series] == [5, 5]


def repetitions(count: int) -> list[Dataset]:
    """Draw a stack of three slices that often."""
    return [
        drawn(3 * time + n, 5.0 * n, TemporalPositionIdentifier=time + 1)
        for time in range(count)
        for n in range(3)
    ]


def test_a_series_of_many_repetitions_is_set_aside() -> None:
    stack = [drawn(n, SeriesInstanceUID=UID("1.2.77")) for n in range(1, 6)]
    study = gathered(*repetitions(24), *stack)
    (series,) = study.series
    assert values(series) == [1, 2, 3, 4, 5]
    assert any("one of 24 repetitions" in note for note in study.notes)
    with pytest.raises(InputError, match="one of 24 repetitions"):
        gathered(*repetitions(24))


def test_phases_of_a_contrast_agent_are_judged() -> None:
    assert len(gathered(*repetitions(8)).series) == 8


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"SeriesDescription": "ep2d_bold_rest"}, "functional"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "FMRI", "NONE"]}, "functional"),
        ({"SeriesDescription": "3D ASL"}, "perfusion"),
        ({"SeriesDescription": "ep2d_diff_FA"}, "computed"),
        ({"SeriesDescription": "Average DC"}, "computed"),
        ({"SeriesDescription": "Fractional Aniso."}, "computed"),
        ({"ImageType": ["DERIVED", "PRIMARY", "F", "F", "DERIVED"]}, "fat"),
    ],
)
def test_more_that_only_its_words_tell_is_set_aside(
    tags: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        gathered(*(drawn(n, **tags) for n in (1, 2, 3)))


def test_a_t1_for_a_functional_exam_is_judged() -> None:
    made = [drawn(n, SeriesDescription="T1 for fMRI") for n in (1, 2, 3)]
    assert gathered(*made).series


def test_slices_in_colour_are_said() -> None:
    grey = [drawn(n) for n in (1, 2, 3)]
    marked = drawn(4)
    pixels = np.stack([marked.pixel_array.astype(np.uint8)] * 3, -1)
    pixels[:9, :9] = (255, 0, 0)
    marked.SamplesPerPixel, marked.PhotometricInterpretation = 3, "RGB"
    marked.BitsAllocated = marked.BitsStored = 8
    marked.HighBit, marked.PlanarConfiguration = 7, 0
    marked.PixelData = pixels.tobytes()
    assert not any("in colour" in note for note in gathered(*grey).notes)
    assert any("1 slice is in colour" in note for note in gathered(*grey, marked).notes)
