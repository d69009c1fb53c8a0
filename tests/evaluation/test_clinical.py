"""The report says what columns add where they do, and nothing where they do not."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.samples.clinical import made_patients
from tumorlens.evaluation.clinical import (
    ACCURACY,
    LOG_LOSS,
    ClinicalJudges,
    leak_sentence,
    leak_warnings,
    measure_clinical,
    measure_subgroups,
    permute_columns,
)
from tumorlens.report.evaluation.clinical import answer, clinical_sections, figure_table
from tumorlens.report.page import render_evaluation
from tumorlens.statistics import auroc
from tumorlens.taxonomy import TumorClass, own_classes

PERMUTATIONS = 19


def measured(data, permutations=PERMUTATIONS):
    judges = ClinicalJudges.of(data)
    found = measure_clinical(data, judges, 0.3, permutations, lambda _: None)
    return {**found, "warnings": []}


@pytest.fixture(scope="module")
def informative():
    return measured(made_patients(effect=2.5))


@pytest.fixture(scope="module")
def noise():
    return measured(made_patients(seed=1))


def test_a_column_that_helps_is_found(informative):
    found = informative["by_patient"][LOG_LOSS]
    assert found["difference"]["high"] < 0.0
    assert found["p"] == pytest.approx(1 / (1 + PERMUTATIONS))
    assert found["null"]["low"] > found["difference"]["value"]
    assert answer(informative).startswith("The columns add something")
    assert informative["by_slice"][ACCURACY]["difference"]["low"] > 0.0


def test_columns_alone_stand_beside_the_image(informative, noise):
    """One column tells one class of four: more than chance, less than the image."""
    table = figure_table(informative, "by_patient")
    assert table.columns[3] == "Columns alone"
    area = informative["by_patient"]["AUROC, mean of the classes"]
    row = next(row for row in table.rows if row[0].startswith("AUROC, mean"))
    assert row[3].startswith(f"{area['columns']['value']:.3f}")
    assert 0.55 < area["columns"]["value"] < area["image"]["value"]
    assert noise["by_patient"]["AUROC, mean of the classes"]["columns"][
        "value"
    ] == pytest.approx(0.5, abs=0.12)


def test_the_area_is_among_the_classes_that_there_are():
    """What the image gives to a class that nobody has says nothing of the others."""
    data = made_patients(effect=2.5)
    data = data.take(data.labels != 3)
    rng = np.random.default_rng(0)
    share = rng.uniform(0.05, 0.9, len(data.labels))
    mixed = data.probabilities[:, :3] / data.probabilities[:, :3].sum(1, keepdims=True)
    other = np.column_stack([mixed * (1.0 - share[:, None]), share])
    whole = np.column_stack([mixed, np.zeros(len(share))])
    name = "AUROC, mean of the classes"
    areas = [
        measured(replace(data, probabilities=values), 0)["by_slice"][name]["served"]
        for values in (other, whole)
    ]
    assert areas[0] == pytest.approx(areas[1])


def test_figures_count_the_classes_of_a_user_s_own():
    own = own_classes({"astro": True, "meningeal": True, "none": False})
    data = made_patients(effect=2.5)
    data = data.take(data.labels != 2)
    labels = np.where(data.labels == 3, 2, data.labels)
    values = data.probabilities[:, [0, 1, 3]]
    data = replace(
        data,
        probabilities=values / values.sum(axis=1, keepdims=True),
        labels=labels,
        names=own,
    )
    found = measured(data, 0)["by_patient"]
    assert "3-class accuracy" in found and ACCURACY not in found
    tumor = found["AUROC, tumour or none"]["served"]["value"]
    expected = auroc(1.0 - data.probabilities[:, 2], labels < 2)
    by_slice = measured(data, 0)["by_slice"]["AUROC, tumour or none"]["served"]
    assert by_slice["value"] == pytest.approx(expected)
    assert tumor > 0.5
    copies = replace(data, features=np.eye(3)[labels])
    told, area = leak_warnings(copies, {"copy": slice(0, 3)})["copy"]
    assert told in own and area > 0.97
    sentence = leak_sentence("copy", told, area)
    assert f"tells {told} from the other classes" in sentence
    parts = measure_subgroups(
        data, ClinicalJudges.of(data), {"sex": ["f"] * len(labels)}, fewest=5
    )["sex"]
    assert "3-class accuracy" in parts["f"]


def test_noise_adds_nothing_and_that_is_said(noise):
    found = noise["by_patient"][LOG_LOSS]
    assert abs(found["difference"]["value"]) < 0.05
    assert found["p"] > 0.05
    assert answer(noise).startswith("Nothing here shows")


def test_the_difference_is_of_the_two_that_stand_beside_it(informative):
    for level in ("by_patient", "by_slice"):
        for found in informative[level].values():
            assert found["difference"]["value"] == pytest.approx(
                found["fused"]["value"] - found["image"]["value"]
            )


def test_the_figures_are_plain_json(informative):
    assert json.loads(json.dumps(informative, allow_nan=False)) == informative


def test_without_permutations_there_is_no_p():
    found = measured(made_patients(effect=2.5), 0)
    assert found["by_patient"][LOG_LOSS]["p"] is None
    assert answer(found).startswith("The columns add something")


def test_too_few_permutations_do_not_speak_against_a_gain(informative):
    found = {**informative["by_patient"][LOG_LOSS], "p": 0.1}
    few = {**informative, "permutations": 9, "by_patient": {LOG_LOSS: found}}
    assert answer(few).startswith("The columns add something")
    enough = {**few, "permutations": 99}
    assert answer(enough).startswith("Nothing here shows")


def test_a_suspicious_column_is_never_called_a_gain_without_a_word(informative):
    assert "see the warnings" in answer({**informative, "warnings": ["a leak"]})


def test_columns_that_harm_are_said_to_harm(noise):
    worse = {"value": 0.2, "low": 0.1, "high": 0.3}
    found = {**noise["by_patient"][LOG_LOSS], "difference": worse}
    assert "make it worse" in answer({**noise, "by_patient": {LOG_LOSS: found}})


def test_columns_are_dealt_anew_patient_by_patient():
    data = made_patients(patients=30, slices=3)
    dealt = permute_columns(data, np.random.default_rng(0))
    firsts = dealt.features[::3]
    assert np.array_equal(dealt.features, np.repeat(firsts, 3, axis=0))
    assert not np.array_equal(dealt.features, data.features)
    assert np.array_equal(np.sort(firsts, axis=0), np.sort(data.features[::3], axis=0))
    assert dealt.labels is data.labels


def test_a_copy_of_the_diagnosis_is_warned_about_and_age_is_not():
    data = made_patients(patients=80, effect=1.0)
    copies = np.eye(4)[data.labels]
    data = replace(data, features=np.hstack([data.features, copies]))
    found = leak_warnings(data, {"age": slice(0, 1), "copy": slice(3, 7)})
    assert set(found) == {"copy"}
    told, area = found["copy"]
    assert area == pytest.approx(1.0)
    assert "'copy'" in leak_sentence("copy", told, area)


def test_an_image_that_tells_everything_makes_no_column_suspicious():
    data = made_patients(patients=40)
    sure = 0.01 + 0.96 * np.eye(4)[data.labels]
    data = replace(data, probabilities=sure)
    assert leak_warnings(data, {"age": slice(0, 1)}) == {}


def test_a_column_that_is_known_for_one_class_alone_is_warned_about():
    data = made_patients(patients=80)
    tested = (data.labels == 2).astype(float)[:, None] - 0.25
    found = leak_warnings(replace(data, features=tested), {"test": slice(0, 1)})
    assert found["test"][0] is TumorClass.PITUITARY


def test_groups_that_are_too_small_are_not_shown():
    data = made_patients(patients=40)
    parts = ["few" if number < 4 else "many" for number in data.patients]
    found = measure_subgroups(data, ClinicalJudges.of(data), {"sex": parts}, fewest=5)[
        "sex"
    ]
    assert set(found) == {"many"}
    assert found["many"]["patients"] == 36
    right = found["many"][ACCURACY]
    assert right["difference"]["value"] == pytest.approx(
        right["fused"]["value"] - right["image"]["value"]
    )


def test_the_page_shows_it_all(informative):
    data = made_patients(patients=24, slices=1)
    sexes = ["f" if number % 2 else "m" for number in data.patients]
    report = {
        **informative,
        "slices": 120,
        "patients": 60,
        "image_side": "By networks that trained without them.",
        "columns": [
            {"name": "age", "kind": "number", "missing": 3, "categories": []},
            {"name": "sex", "kind": "category", "missing": 0, "categories": ["f"]},
        ],
        "left_out": ["The column 'name' is left out."],
        "classes": {"glioma": {"patients": 15, "without_row": 2}},
        "subgroups": measure_subgroups(
            data, ClinicalJudges.of(data), {"sex": sexes}, 5
        ),
        "model_weights": {
            "features": ["age"],
            "classes": ["glioma", "meningioma"],
            "weights": [[-0.5, 0.5]],
            "image_weight": 1.1,
            "temperature": 0.9,
            "penalty": 8.0,
        },
    }
    page = render_evaluation("Title", "Subtitle", clinical_sections(report))
    for words in (
        *("The columns add something", "Image and columns", "By slice", "left out"),
        "Columns alone",
        *("By networks that trained", "Of permuted columns", "Meningioma", "By sex"),
        "not for clinical use",
    ):
        assert words.lower() in page.lower(), words
