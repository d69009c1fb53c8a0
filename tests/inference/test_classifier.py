"""The whole pipeline on drawn heads, with a network that likes bright spots."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest
from PIL import Image

from tests.conftest import Phantom, draw_phantom
from tumorlens.errors import (
    BundleError,
    InputError,
    MissingFileError,
    SettingError,
)
from tumorlens.imaging.preprocess.slice import Preprocessing
from tumorlens.imaging.read import read_study
from tumorlens.imaging.study import MRSequence, to_slice
from tumorlens.inference.classifier import (
    Classifier,
    PreparedSlice,
    batches,
    load_classifier,
    prepare_slice,
    read_ahead,
)
from tumorlens.inference.slice.prediction import Failure, Prediction, Predictions
from tumorlens.taxonomy import TumorClass, Verdict

LESION = (90, 110, 20)


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return load_classifier(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def lanes(tiny_bundle: Path) -> Classifier:
    """The same network in two threads, each with a slice of its own."""
    return load_classifier(tiny_bundle, threads=2, side_by_side=True)


def one(found: Prediction | Failure | list[Prediction]) -> Prediction:
    assert isinstance(found, Prediction)
    return found


def test_a_bright_lesion_is_found_where_it_lies(classifier: Classifier) -> None:
    found = one(classifier.predict(draw_phantom(lesion=LESION)))
    assert found.decision.label is TumorClass.GLIOMA
    assert sum(found.decision.probabilities.values()) == pytest.approx(1.0)
    box = found.explanation.box
    assert box is not None
    assert box.x0 < LESION[0] < box.x1
    assert box.y0 < LESION[1] < box.y1
    peak = np.unravel_index(found.explanation.evidence.argmax(), (256, 256))
    assert np.hypot(peak[1] - LESION[0], peak[0] - LESION[1]) < LESION[2]


def test_a_head_without_one_is_less_suspicious(classifier: Classifier) -> None:
    plain = one(classifier.predict(draw_phantom())).decision
    lesion = one(classifier.predict(draw_phantom(lesion=LESION))).decision
    assert plain.p_tumor < lesion.p_tumor


def test_facts_of_the_prediction(classifier: Classifier, slice_file: Path) -> None:
    found = one(classifier.predict(slice_file))
    assert (found.source, found.index) == (str(slice_file), 0)
    assert (found.height, found.width) == (256, 256)
    assert found.model_version == "0.0.1"
    assert found.milliseconds > 0
    assert found.pixels.shape == found.explanation.gradcam.shape == (256, 256)


def test_path_text_bytes_and_array_agree(
    classifier: Classifier, slice_file: Path
) -> None:
    array = draw_phantom(lesion=(90, 110, 18))
    sources = [slice_file, str(slice_file), slice_file.read_bytes(), array]
    found = [one(classifier.predict(source)).decision for source in sources]
    assert all(decision == found[0] for decision in found)


def test_a_grey_array_in_colour_is_the_same(classifier: Classifier) -> None:
    grey = draw_phantom()
    first = one(classifier.predict(grey)).decision
    assert one(classifier.predict(np.dstack([grey] * 3))).decision == first


def test_a_photograph_is_refused(classifier: Classifier) -> None:
    head = draw_phantom()
    found = one(classifier.predict(np.dstack([head, head // 2, head // 8])))
    assert found.decision.label is Verdict.NOT_BRAIN_MRI
    assert found.explanation.box is None


def test_names(classifier: Classifier, slice_file: Path) -> None:
    data = slice_file.read_bytes()
    assert one(classifier.predict(data, name="mine.png")).source == "mine.png"
    assert one(classifier.predict(draw_phantom())).source == "array"


def test_a_list_gives_a_list(classifier: Classifier, slice_file: Path) -> None:
    found = classifier.predict([slice_file, draw_phantom()])
    assert isinstance(found, list)
    assert [item.source for item in found] == [str(slice_file), "array"]
    assert classifier.predict([]) == []


def test_a_file_of_several_slices_gives_a_list(
    classifier: Classifier, tmp_path: Path
) -> None:
    path = tmp_path / "stack.tif"
    pages = [draw_phantom(seed=seed) for seed in range(11)]
    assert cv2.imwritemulti(str(path), pages)
    found = classifier.predict(path)
    assert isinstance(found, list)
    assert [item.index for item in found] == list(range(11))
    streamed = list(classifier.predict_many([path], batch=4))
    assert [one(item).decision for item in streamed] == [x.decision for x in found]


def test_a_study_that_was_read_before(classifier: Classifier, slice_file: Path) -> None:
    (found,) = classifier.predict_study(read_study(slice_file))
    assert found.decision == one(classifier.predict(slice_file)).decision


def test_operating_points(classifier: Classifier) -> None:
    head = draw_phantom(lesion=LESION)
    assert one(classifier.predict(head)).decision.operating_point == "screening"
    found = one(classifier.predict(head, "balanced"))
    assert found.decision.operating_point == "balanced"
    with pytest.raises(SettingError, match="balanced, screening"):
        classifier.predict(head, "careful")
    with pytest.raises(SettingError):
        classifier.predict_many([head], operating_point="careful")


def test_what_cannot_be_read_is_raised(classifier: Classifier) -> None:
    with pytest.raises(MissingFileError):
        classifier.predict("nowhere.png")
    with pytest.raises(InputError, match="int"):
        classifier.predict([3])  # type: ignore[list-item]


def test_what_other_libraries_hold_is_judged_as_the_file(
    classifier: Classifier, slice_file: Path
) -> None:
    expected = one(classifier.predict(slice_file)).decision
    with Image.open(slice_file) as image:
        assert one(classifier.predict(image)).decision == expected
    with slice_file.open("rb") as file:
        assert one(classifier.predict(file)).decision == expected
    head = draw_phantom(lesion=LESION)
    volume = nibabel.Nifti1Image(np.stack([head] * 3, axis=2), np.eye(4))
    found = classifier.predict(volume)
    assert isinstance(found, Predictions)
    assert [item.index for item in found] == [0, 1, 2]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_batch_equals_its_elements(classifier: Classifier, batch: int) -> None:
    heads = [draw_phantom(lesion=LESION, seed=seed) for seed in range(3)]
    found = classifier.predict([*heads, Image.fromarray(heads[0])], batch=batch)
    assert isinstance(found, Predictions)
    alone = [one(classifier.predict(head)).decision.p_tumor for head in heads]
    shares = [item.decision.p_tumor for item in found]
    assert shares == pytest.approx([*alone, alone[0]], abs=1e-5)
    with pytest.raises(SettingError, match="batch size is 0"):
        classifier.predict(heads, batch=0)


def test_what_cannot_be_gone_through_is_refused(classifier: Classifier) -> None:
    with pytest.raises(InputError, match="cannot be a int"):
        classifier.predict(3)


@pytest.mark.parametrize("name", ["classifier", "lanes"])
@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_a_stream_keeps_its_order_and_goes_past_failures(
    name: str, batch: int, request: pytest.FixtureRequest
) -> None:
    classifier: Classifier = request.getfixturevalue(name)
    heads = [draw_phantom(200 + 10 * k, lesion=LESION, seed=k) for k in range(7)]
    sources = [*heads[:3], b"no picture", *heads[3:], "nowhere.png"]
    found = list(classifier.predict_many(sources, batch=batch))
    assert [type(item) for item in found] == (
        [Prediction] * 3 + [Failure] + [Prediction] * 4 + [Failure]
    )
    judged = [item for item in found if isinstance(item, Prediction)]
    for head, item in zip(heads, judged, strict=True):
        alone = one(classifier.predict(head)).decision
        assert item.height == head.shape[0]
        assert item.decision.p_tumor == pytest.approx(alone.p_tumor, abs=1e-5)
    failures = [item for item in found if isinstance(item, Failure)]
    assert [item.code for item in failures] == ["unknown_format", "not_found"]
    assert "nowhere.png" in failures[1].message
    assert failures[1].hint


@pytest.mark.parametrize("name", ["classifier", "lanes"])
def test_a_stream_takes_sources_only_as_they_are_needed(
    name: str, request: pytest.FixtureRequest
) -> None:
    classifier: Classifier = request.getfixturevalue(name)
    taken = 0

    def sources() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"no picture"

    stream = classifier.predict_many(sources(), batch=2)
    for _ in range(20):
        next(stream)
    assert taken < 60
    stream.close()  # type: ignore[attr-defined]
    names = [item.name for item in threading.enumerate()]
    assert not any(name.startswith(("read", "judge")) for name in names)


def test_a_stream_of_failures_only(classifier: Classifier) -> None:
    found = list(classifier.predict_many([b""] * 50, batch=4))
    assert [item.code for item in found if isinstance(item, Failure)] == (
        ["empty_file"] * 50
    )


def test_lanes_say_what_one_thread_says(
    classifier: Classifier, lanes: Classifier
) -> None:
    heads = [draw_phantom(lesion=LESION, seed=seed) for seed in range(11)]
    slices = [to_slice(head, f"{k}.png", k) for k, head in enumerate(heads)]
    slices[4] = to_slice(np.zeros((256, 256), np.uint8), "black.png", 4)
    for ask in (
        lambda item: list(item.predict_brain(slices)),
        lambda item: list(item.predict_slices(slices)),
        lambda item: item.predict(heads, batch=2),
    ):
        alone, found = ask(classifier), ask(lanes)
        assert len(found) == len(alone) == 11
        for this, other in zip(found, alone, strict=True):
            assert (this is None) == (other is None)
            if this is not None:
                assert this.source == other.source
                assert this.decision.label == other.decision.label
                assert this.decision.p_tumor == pytest.approx(
                    other.decision.p_tumor, abs=1e-5
                )


def test_what_fails_in_a_lane_is_raised(lanes: Classifier) -> None:
    heads = [draw_phantom(seed=seed) for seed in range(9)]
    with pytest.raises(MissingFileError):
        lanes.predict([*heads, "nowhere.png"], batch=2)
    assert not any(item.name.startswith("judge") for item in threading.enumerate())


def test_an_impossible_batch(classifier: Classifier) -> None:
    with pytest.raises(SettingError, match="0"):
        classifier.predict_many([], batch=0)


def test_several_threads_share_a_classifier(
    classifier: Classifier, phantom: Phantom
) -> None:
    heads = [phantom(seed=seed, lesion=LESION) for seed in range(4)]
    expected = [one(classifier.predict(head)).decision for head in heads]
    found: dict[int, object] = {}

    def work(place: int) -> None:
        for _ in range(5):
            found[place] = one(classifier.predict(heads[place])).decision

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[place] for place in range(4)] == expected


def test_a_missing_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no model bundle"):
        load_classifier(tmp_path / "none")


FACTS = Preprocessing(size=32)
FAILURE = Failure("none.png", "not_found", "There is none.", "Give one.")


def prepared(side: int) -> PreparedSlice:
    return prepare_slice(to_slice(draw_phantom(side, side), "drawn"), ("note",), FACTS)


def test_a_prepared_slice_is_the_model_s_input() -> None:
    found = prepared(100)
    assert found.pixels.shape == (32, 32, 3)
    assert found.pixels.dtype == np.float32
    assert 0.0 <= found.pixels.min() < found.pixels.max() <= 1.0
    assert 0.0 < found.brain_share <= 1.0
    assert found.notes == ("note",)


def test_a_long_file_does_not_lose_its_place(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    assert cv2.imwritemulti(str(path), [draw_phantom(300, seed=k) for k in range(9)])
    found = list(read_ahead([path, b"", draw_phantom(64)], FACTS))
    slices = [item.slice_ for item in found if isinstance(item, PreparedSlice)]
    assert [item.index for item in slices] == [*range(9), 0]
    assert [type(item) for item in found][9] is Failure
    assert slices[-1].height == 64


def test_few_sources_are_taken_before_they_are_asked_for() -> None:
    taken = []

    def sources() -> Iterator[bytes]:
        for count in range(100):
            taken.append(count)
            yield b""

    stream = read_ahead(sources(), FACTS)
    next(stream)
    assert len(taken) < 10


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_batch_is_full_of_slices(size: int) -> None:
    items = [prepared(64), FAILURE, *[prepared(64)] * 5]
    found = list(batches(items, size))
    assert [item for batch in found for item in batch] == items
    counts = [sum(isinstance(x, PreparedSlice) for x in batch) for batch in found]
    assert counts[:-1] == [size] * (len(found) - 1)
    assert 0 < counts[-1] <= size


def test_large_pictures_make_short_batches() -> None:
    found = list(batches([prepared(1500)] * 6, 6))
    assert [len(batch) for batch in found] == [2, 2, 2]


def test_failures_do_not_wait_for_a_slice() -> None:
    found = list(batches([FAILURE] * 30, 2))
    assert max(map(len, found)) < 15
    assert sum(map(len, found)) == 30


def test_nothing_makes_no_batch() -> None:
    assert list(batches([], 3)) == []


def test_a_file_name_is_no_header(classifier: Classifier, slice_file: Path) -> None:
    named = slice_file.with_name("case_7_flair.png")
    shutil.copy(slice_file, named)
    prediction = classifier.predict(named)
    assert isinstance(prediction, Prediction)
    assert prediction.sequence.header is None
    assert prediction.sequence.file_name is MRSequence.FLAIR
    assert prediction.sequence.sequence is MRSequence.FLAIR
