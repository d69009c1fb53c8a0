"""Columns move what the image says, as far as they are known, and never further."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import draw_phantom
from tumorlens.errors import BundleError, InputError, MissingFileError, SettingError
from tumorlens.inference.bundle.bundle import CLINICAL_FILE, attach_file, load_bundle
from tumorlens.inference.classifier import Classifier, load_classifier
from tumorlens.inference.clinical import (
    CategoryColumn,
    ClinicalModel,
    NumberColumn,
    State,
    add_columns,
    encode,
    is_missing,
    read_clinical_table,
    read_number,
)
from tumorlens.inference.slice.prediction import Prediction
from tumorlens.taxonomy import CLASSES, Answer, TumorClass, Verdict


@pytest.fixture
def write(tmp_path: Path):
    def go(text: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return go


def test_rows_are_found_by_patient(write) -> None:
    table = read_clinical_table(write("\ufeffPatient,age, sex\np1,54,F\np2,,\n\n"))
    assert table.columns == ("age", "sex")
    assert table.place_of_patient("p1") == 0
    assert table.rows[0] == {"age": "54", "sex": "F"}
    assert table.place_of_patient("p3") is None
    assert table.place_of_patient("p2") is None, "a row without a value is none"


def test_rows_are_found_by_file_folder_and_archive(write, tmp_path: Path) -> None:
    table = read_clinical_table(
        write("file,age\na/b.png,1\na,2\nscan.zip,3\n" + str(tmp_path / "c.png,4\n"))
    )
    ages = {
        name: table.rows[place]["age"]
        for name in ("a/b.png", "a/x.png", "a/deep/y.png", "scan.zip#7", "c.png")
        if (place := table.place_of_file(tmp_path / name)) is not None
    }
    assert list(ages.values()) == ["1", "2", "2", "3", "4"]
    assert table.place_of_file(tmp_path / "ab.png") is None
    assert table.place_of_file(tmp_path / "a.png") is None


def test_a_relative_path_is_looked_up_from_where_one_stands(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_clinical_table(write("file,age\na.png,1\n"))
    monkeypatch.chdir(tmp_path)
    assert table.place_of_file("a.png") == 0


@pytest.mark.parametrize(
    "text", ["", "NA", "n/a", "[Not Available]", "unknown", "NaN", " - ", "None", "?"]
)
def test_what_says_that_nothing_is_known(text: str) -> None:
    assert is_missing(text)


@pytest.mark.parametrize("text", ["0", "no", "none known", "N"])
def test_what_says_something(text: str) -> None:
    assert not is_missing(text)


@pytest.mark.parametrize("text", ["1_000", "1e400", "inf", "nan", "54 y", "1,5", ""])
def test_what_is_no_number(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("patient,age\n", "no rows"),
        ("age,sex\n54,F\n", "no column 'patient' or 'file'"),
        ("patient;age\np1;54\n", "no column 'patient' or 'file'"),
        ("patient\np1\n", "no clinical column"),
        ("patient,age,\np1,54,1\n", "column 3 has no name"),
        ("patient,age,Age\np1,54,1\n", "two columns 'age'"),
        ("patient,age\nsecret,54\nsecret,55\n", "lines 2 and 3 name the same patient"),
        ("patient,age\np1,54\n,55\n", "line 3: the row does not say whose"),
        ("patient,age\np1,54,3\n", "line 2: 3 values for 2 columns"),
        ("patient,age\np1\n", "line 2: 1 values for 2 columns"),
        ('patient,age\np1,"54\n', "cannot be read as CSV"),
        (b"patient,age\np1,\xff\n", "not UTF-8"),
        ("patient," + ",".join(map(str, range(201))) + "\n", "202 columns"),
    ],
)
def test_what_cannot_be_used_is_named(write, text: str | bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_clinical_table(write(text))
    assert "table.csv" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.hint


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="none.csv"):
        read_clinical_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_clinical_table(tmp_path)


AGE = NumberColumn("age", 50.0, 10.0, 0.25)
SEX = CategoryColumn("sex", ("f", "m"), (0.6, 0.3), 0.0)


@pytest.fixture
def model() -> ClinicalModel:
    """Age speaks for meningioma and against glioma; sex says nothing."""
    weights = np.zeros((4, 2))
    weights[0] = [-2.0, 2.0]
    return ClinicalModel(
        columns=(AGE, SEX),
        classes=(TumorClass.GLIOMA, TumorClass.MENINGIOMA),
        image_weight=1.0,
        bias=(0.0, 0.0),
        weights=weights,
        temperature=1.0,
        learned_on={"patients": 40},
    )


@pytest.fixture
def bundle(tiny_bundle: Path, model: ClinicalModel, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    attach_file(folder, CLINICAL_FILE, json.dumps(model.to_json()).encode())
    return folder


@pytest.fixture
def classifier(bundle: Path) -> Classifier:
    return load_classifier(bundle, threads=1)


@pytest.fixture
def prediction(classifier: Classifier) -> Prediction:
    found = classifier.predict(draw_phantom(lesion=(90, 110, 22)))
    assert isinstance(found, Prediction)
    sure = dict(zip(CLASSES, (0.5, 0.3, 0.0, 0.2), strict=True))
    return replace(found, decision=replace(found.decision, raw_probabilities=sure))


def test_an_average_patient_is_zero_and_a_missing_value_is_told_apart() -> None:
    found = encode((AGE, SEX), {"age": 60, "sex": "F"})
    assert found.features == pytest.approx([1.0, -0.25, 0.4, -0.3])
    assert found.of_state(State.USED) == ("age", "sex")
    found = encode((AGE, SEX), {"Age": "NA", "sex": None})
    assert found.features == pytest.approx([0.0, 0.75, 0.0, 0.0])
    assert found.of_state(State.MISSING) == ("age", "sex")
    assert encode((AGE, SEX), {}).of_state(State.MISSING) == ("age", "sex")


def test_the_features_of_a_sample_have_a_mean_of_zero() -> None:
    rows = [{"sex": sex} for sex in "ffffffmmm"]
    known = replace(SEX, shares=(6 / 9, 3 / 9))
    found = np.stack([encode((known,), row).features for row in rows])
    assert found.mean(axis=0) == pytest.approx([0.0, 0.0])


def test_what_was_not_learned_is_cut_off_or_does_not_count() -> None:
    found = encode((AGE, SEX), {"age": "480", "sex": "x"})
    assert found.features[0] == 3.0
    assert found.of_state(State.OUTSIDE) == ("age",)
    assert found.features[2:] == pytest.approx([0.0, 0.0])
    assert found.of_state(State.UNKNOWN) == ("sex",)


def test_text_for_a_number_is_refused_without_repeating_it() -> None:
    with pytest.raises(InputError, match="'age'") as caught:
        encode((AGE,), {"age": "secret"})
    assert "secret" not in str(caught.value)


def test_columns_move_only_the_classes_they_were_learned_on(
    model: ClinicalModel,
) -> None:
    image = np.array([[0.4, 0.2, 0.1, 0.3]])
    features = encode(model.columns, {"age": 60, "sex": "m"}).features[None]
    found = model.fuse(image, features)[0]
    assert found[2:] == pytest.approx([0.1, 0.3])
    assert found.sum() == pytest.approx(1.0)
    # Bayes: the odds are multiplied by exp(2 - -2).
    assert found[1] / found[0] == pytest.approx(0.5 * np.exp(4.0))


def test_a_model_that_learned_nothing_changes_nothing(model: ClinicalModel) -> None:
    image = np.array([[0.4, 0.2, 0.1, 0.3], [0.0, 0.0, 0.0, 1.0]])
    silent = replace(model, weights=np.zeros((4, 2)))
    assert silent.fuse(image, np.ones((2, 4))) == pytest.approx(image)


def test_what_was_written_is_read(model: ClinicalModel) -> None:
    again = ClinicalModel.read(json.loads(json.dumps(model.to_json())), "here")
    assert np.array_equal(again.weights, model.weights)
    assert replace(again, weights=model.weights) == model


def test_a_decision_counts_the_columns_and_says_what_it_was_without(
    prediction: Prediction, model: ClinicalModel, classifier: Classifier
) -> None:
    found = add_columns(prediction, {"age": 70}, model, classifier.bundle)
    assert found.decision.predicted is TumorClass.MENINGIOMA
    assert found.decision.label is TumorClass.MENINGIOMA
    use = found.clinical
    assert use is not None
    assert (use.used, use.missing) == (("age",), ("sex",))
    assert use.probabilities == prediction.decision.probabilities
    assert use.label is prediction.decision.label
    assert "age" in found.notes[-1]
    assert "70" not in found.notes[-1]
    assert sum(found.decision.probabilities.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("row", [None, {"age": "", "sex": "NA"}, {"sex": "other"}])
def test_where_nothing_is_known_the_image_alone_decides(
    prediction: Prediction, classifier: Classifier, row: dict[str, Any] | None
) -> None:
    found = classifier.with_columns(prediction, row)
    assert found.decision == prediction.decision
    assert found.clinical is not None
    assert not found.clinical.used
    assert "image alone" in found.notes[-1]


def test_a_picture_that_is_no_brain_mri_stays_refused(
    prediction: Prediction, classifier: Classifier
) -> None:
    refused = replace(prediction.decision, finding=Answer.NOT_BRAIN_MRI, kinds=())
    found = classifier.with_columns(replace(prediction, decision=refused), {"age": 70})
    assert found.decision == refused
    assert found.clinical is not None


def test_the_bundle_s_rules_still_hold(
    prediction: Prediction, model: ClinicalModel, classifier: Classifier
) -> None:
    rules = replace(classifier.bundle.rules, min_brain_share=1.0)
    strict = replace(classifier.bundle, rules=rules)
    found = add_columns(prediction, {"age": 70}, model, strict)
    assert found.decision.label is Verdict.UNCERTAIN
    assert any("too little brain" in reason for reason in found.decision.reasons)


def test_the_api_takes_values_by_column(classifier: Classifier) -> None:
    picture = draw_phantom(lesion=(90, 110, 22))
    alone = classifier.predict(picture)
    both = classifier.predict(picture, clinical={"age": 70.0, "sex": "f"})
    assert isinstance(alone, Prediction) and isinstance(both, Prediction)
    assert alone.clinical is None
    assert both.clinical is not None
    assert both.clinical.probabilities == alone.decision.probabilities
    assert both.decision.probabilities != alone.decision.probabilities
    listed = classifier.predict([picture], clinical={"age": 70.0, "sex": "f"})
    assert isinstance(listed, list)
    assert listed[0].decision == both.decision


def test_the_api_refuses_columns_that_the_model_does_not_know(
    classifier: Classifier,
) -> None:
    with pytest.raises(InputError, match="age, sex"):
        classifier.predict(draw_phantom(), clinical={"agee": 70})


def test_a_bundle_that_has_learned_no_columns_says_so(tiny_bundle: Path) -> None:
    plain = load_classifier(tiny_bundle, threads=1)
    with pytest.raises(SettingError, match="no clinical columns"):
        plain.predict(draw_phantom(), clinical={"age": 70})


def test_a_table_is_checked_before_any_work(
    model: ClinicalModel, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("patient,weight\np,70\n")
    with pytest.raises(InputError, match="none of the model's clinical columns"):
        model.check_table(read_clinical_table(path))
    path.write_text("patient,age\np,54\nq,secret\n")
    with pytest.raises(InputError, match="line 3") as caught:
        model.check_table(read_clinical_table(path))
    assert "secret" not in str(caught.value)


def test_a_model_that_was_tampered_with_is_refused(bundle: Path) -> None:
    path = bundle / CLINICAL_FILE
    path.write_text(path.read_text().replace("2.0", "9.0"))
    with pytest.raises(BundleError, match="clinical.json is not the file"):
        load_classifier(bundle)


def test_a_file_that_is_attached_again_replaces_the_old_one(bundle: Path) -> None:
    before = load_bundle(bundle)
    again = attach_file(bundle, CLINICAL_FILE, b"{}")
    assert again.files.keys() == before.files.keys()
    assert again.calibration == before.calibration
    with pytest.raises(BundleError, match="format"):
        load_classifier(bundle)


Change = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda facts: facts.update(format="tumorlens-clinical/2"), "Upgrade|upgrade"),
        (lambda facts: facts.update(columns={}), "columns"),
        (lambda facts: facts["columns"][0].update(kind="text"), "kind"),
        (lambda facts: facts["columns"][0].update(scale=0), "scale"),
        (lambda facts: facts["columns"][1].update(shares=[0.1]), "shares"),
        (lambda facts: facts.update(classes=["glioma"]), "classes"),
        (lambda facts: facts.update(classes=["glioma", "glioma"]), "classes"),
        (lambda facts: facts.update(classes=["glioma", "sarcoma"]), "classes"),
        (lambda facts: facts.update(bias=[0.0]), "bias"),
        (lambda facts: facts["weights"].pop(), "weights"),
        (lambda facts: facts["weights"][0].append(1.0), "weights"),
        (lambda facts: facts.update(temperature=0.0), "temperature"),
        (lambda facts: facts.update(image_weight="1"), "image_weight"),
    ],
)
def test_facts_of_the_wrong_kind_are_named(
    bundle: Path, model: ClinicalModel, change: Change, word: str
) -> None:
    document = model.to_json()
    change(document)
    attach_file(bundle, CLINICAL_FILE, json.dumps(document).encode())
    with pytest.raises(BundleError, match=word) as caught:
        load_classifier(bundle)
    assert CLINICAL_FILE in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_no_json_object(bundle: Path, text: bytes) -> None:
    attach_file(bundle, CLINICAL_FILE, text)
    with pytest.raises(BundleError, match="JSON"):
        load_classifier(bundle)
