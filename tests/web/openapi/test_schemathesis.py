"""Requests made from the OpenAPI document get answers as the document says, and no 5xx.

A few of them here; `make soak` goes on for ten minutes (TUMORLENS_SOAK_SECONDS).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.samples.series_uploads import nifti
from tests.samples.uploads import form
from tumorlens import load_series_classifier
from tumorlens.settings import Settings
from tumorlens.web.app import create_app
from tumorlens.web.uploads.store import Store

SOAK_SECONDS = float(os.environ.get("TUMORLENS_SOAK_SECONDS", "0"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES, STEPS = 10, 20


@pytest.fixture
def app(tiny_bundle: Path, tmp_path: Path) -> Iterator[Flask]:
    store = Store(tmp_path / "store", 3600, 100 * 2**20)
    classifier = load_series_classifier(tiny_bundle, threads=1)
    yield create_app(classifier, store, Settings())
    store.close()


@pytest.fixture
def schema(app: Flask) -> Any:
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)


def chosen(number: int) -> settings:
    """Settings of a round: the first is the same each time."""
    return settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        derandomize=number == 0,
        # What fails is shown as it was found: to make it smaller takes long.
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


def rounds(share: float) -> Iterator[int]:
    """Number one round, and more until this share of the time is over."""
    end = time.monotonic() + share * SOAK_SECONDS
    for number in count():
        yield number
        if time.monotonic() >= end:
            return


def test_any_request_gets_an_answer_as_it_is_described(schema: Any) -> None:
    operations = [item.ok() for item in schema.get_all_operations()]
    assert len(operations) > 20
    for number in rounds(0.5):
        for operation in operations:

            @chosen(number)
            @given(operation.as_strategy())
            def check(case: Any) -> None:
                case.call_and_validate(checks=CHECKS)

            check()


@pytest.mark.parametrize(
    ("name", "least"),
    [
        (
            "predictions",
            [("GET", "", 200), ("PUT", "/feedback", 200), ("DELETE", "", 204)],
        ),
        ("scans", [("GET", "", 200), ("GET", "/events", 200), ("DELETE", "", 204)]),
    ],
)
def test_what_was_made_is_shown_marked_and_removed(
    schema: Any, lesion_png: bytes, name: str, least: list[tuple[str, str, int]]
) -> None:
    sent = form(("a.png", lesion_png) if name == "predictions" else ("a.nii", nifti(4)))
    # Nothing is listed without a log-in.
    of_one = schema.include(path_regex=f"/{name}").exclude(operation_id_regex="^list")
    answers: Counter[tuple[str, str, int]] = Counter()

    class Machine(of_one.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            if case.method != "POST":
                return {}
            # Random bytes are no picture, and lead nowhere.
            headers = {"Content-Type": sent["content_type"]}
            return {"data": sent["data"], "headers": headers}

        def validate_response(
            self, response: Any, case: Any, *_: object, **__: object
        ) -> None:
            _, _, of_id = case.operation.path.partition("{id}")
            answers[case.method, of_id, response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

    for number in rounds(0.25):
        Machine.run(settings=chosen(number))
    assert [place for place in least if not answers[place]] == [], answers
