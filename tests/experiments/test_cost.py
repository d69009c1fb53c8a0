"""What a run took is noted, and what it had taken before it was stopped."""

import json

import pytest

from tumorlens.experiments.cost import (
    WATTS_A_CORE,
    earlier_seconds,
    note_cost,
    seconds_side_by_side,
    stored_cost,
)


def test_a_run_s_cost_is_read_back(tmp_path):
    assert stored_cost(tmp_path) is None
    found = note_cost(tmp_path, 12.34)
    assert found["seconds"] == 12.3
    assert found["device"]
    if "GPU" not in found["device"]:
        assert found["watts_assumed"] == WATTS_A_CORE * found["threads"]
    assert stored_cost(tmp_path) == found


def test_a_damaged_note_is_none(tmp_path):
    note_cost(tmp_path, 1.0)
    (tmp_path / "cost.json").write_text("{")
    assert stored_cost(tmp_path) is None


def test_a_stopped_run_s_time_is_that_of_its_steps(tmp_path):
    assert earlier_seconds(tmp_path) == 0.0
    rows = [
        {"step": step, "seconds_per_step": pace} for step, pace in ((5, 1), (10, 2))
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert earlier_seconds(tmp_path) == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("jobs", "seconds"),
    [(1, 15.0), (2, 8.0), (3, 6.0), (9, 5.0)],
)
def test_runs_side_by_side_take_as_long_as_the_last_to_end(jobs, seconds):
    assert seconds_side_by_side([5.0, 3.0, 4.0, 1.0, 2.0], jobs) == seconds
