"""Groups by sex and age are found by the names of columns."""

from tumorlens.calibration.clinical.groups import groups_of_patients


def test_sex_and_age_bands():
    rows = [
        {"Sex": "F", "Age (years)": "17.5", "stage": "1"},
        {"Sex": "m ", "Age (years)": "18", "stage": "2"},
        {"Sex": "", "Age (years)": "59.9", "stage": "1"},
        {"Sex": "f", "Age (years)": "60", "stage": "2"},
        {"Sex": "f", "Age (years)": "", "stage": "2"},
    ]
    assert groups_of_patients(rows) == {
        "Sex": ["f", "m", "", "f", "f"],
        "Age (years)": ["under 18", "18 to 39", "40 to 59", "60 and over", ""],
    }


def test_one_group_is_none():
    assert groups_of_patients([{"sex": "f"}, {"sex": "F"}, {"sex": ""}]) == {}
    assert groups_of_patients([{"stage": "1"}, {"stage": "2"}]) == {}
    assert groups_of_patients([]) == {}
