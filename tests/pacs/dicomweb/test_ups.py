"""Steps of a worklist are claimed, judged on a real Orthanc, and ended."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.pacs.dicomweb.conftest import connect
from tests.samples.dicom_studies import change, ill_head, wait_for, write_series
from tests.samples.orthanc import PASSWORD, USER, Orthanc
from tests.samples.processes import Command
from tests.samples.ups_server import UpsServer, serve_ups, telling
from tumorlens.cli.main import main
from tumorlens.errors import ArchiveAccessError, ArchiveDownError, SettingError
from tumorlens.pacs.dicomweb import client
from tumorlens.pacs.dicomweb.client import open_session, worklist_credentials
from tumorlens.pacs.dicomweb.fetch_queue import FetchQueue, Poller
from tumorlens.pacs.dicomweb.ups import (
    ASKED,
    GIVEN_UP,
    GONE,
    NO_MR,
    NOTHING_JUDGED,
    CancelRequests,
    NotOursError,
    OrderedSteps,
    StepService,
)

STUDY = "1.2.826.0.1.3680043.8.498.79"
STATION = "TUMORLENS"
SECRETS = ("Drawn^Head", "drawn-1")


@pytest.fixture
def ups() -> Iterator[UpsServer]:
    with serve_ups() as served:
        yield served


def service_of(ups: UpsServer) -> StepService:
    return StepService(ups.url, open_session({}))


def poller_of(
    stack: ExitStack, orthanc: Orthanc, ups: UpsServer, queue: FetchQueue
) -> Poller:
    archive = stack.enter_context(closing(connect(orthanc)))
    service = stack.enter_context(closing(service_of(ups)))
    steps = OrderedSteps(service, archive, orthanc.url, queue, STATION)
    return Poller(archive, queue, 0, steps.studies, steps.wants)


@pytest.fixture
def poller(orthanc: Orthanc, ups: UpsServer, queue: FetchQueue) -> Iterator[Poller]:
    with ExitStack() as stack:
        yield poller_of(stack, orthanc, ups, queue)


def stored(orthanc: Orthanc, folder: Path, **tags: object) -> tuple[str, str]:
    """Put a series on the archive; give its study and series UID."""
    files = write_series(folder, STUDY, pixels=ill_head())
    if tags:
        for path in files:
            change(path, **tags)
    orthanc.put(files)
    return STUDY, str(dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)


@pytest.mark.usefixtures("worker")
def test_a_step_is_claimed_judged_and_completed_with_its_results(
    orthanc: Orthanc,
    ups: UpsServer,
    poller: Poller,
    queue: FetchQueue,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    ordered = stored(orthanc, tmp_path / "a")
    other = stored(orthanc, tmp_path / "b")
    step = ups.schedule(ordered)
    foreign = ups.schedule(other, station="ANOTHER")
    poller.look()
    assert ups.state(step) == "IN PROGRESS"
    poller.look()
    wait_for(lambda: queue.counts() == {"done": 1})
    poller.look()
    assert (ups.state(step), ups.state(foreign)) == ("COMPLETED", "SCHEDULED")
    assert queue.orders() == {}
    performed = ups.performed(step)
    (station,) = performed.PerformedStationNameCodeSequence
    assert station.CodeValue == STATION
    (work,) = performed.PerformedWorkitemCodeSequence
    assert work.CodeMeaning == "Interpretation"
    began, ended = (
        performed.PerformedProcedureStepStartDateTime,
        performed.PerformedProcedureStepEndDateTime,
    )
    assert str(began) <= str(ended)
    # Each output is there, under the address that the step names.
    outputs = performed.OutputInformationSequence
    named = {
        reference.ReferencedSOPInstanceUID
        for item in outputs
        for reference in item.ReferencedSOPSequence
    }
    assert len(named) == 3
    session = open_session({client.USER: USER, client.PASSWORD: PASSWORD})
    with closing(session):
        for item in outputs:
            assert item.StudyInstanceUID == STUDY
            (place,) = item.WADORSRetrievalSequence
            answer = session.get(
                f"{place.RetrieveURL}/instances",
                headers={"Accept": "application/dicom+json"},
            )
            there = {entry["00080018"]["Value"][0] for entry in answer.json()}
            assert there == {
                reference.ReferencedSOPInstanceUID
                for reference in item.ReferencedSOPSequence
            }
    assert not any(secret in caplog.text for secret in SECRETS)
    # The series that nobody ordered was left alone.
    assert sorted(orthanc.modalities()[STUDY]) == ["MR", "MR", "OT", "SEG", "SR"]
    # Who orders it again gets what is there.
    again = ups.schedule(ordered)
    for _ in range(2):
        poller.look()
    assert ups.state(again) == "COMPLETED"
    assert queue.counts() == {"done": 1}


@pytest.mark.usefixtures("worker")
def test_a_step_of_which_nothing_comes_is_canceled_with_the_reason(
    orthanc: Orthanc, ups: UpsServer, poller: Poller, queue: FetchQueue, tmp_path: Path
) -> None:
    foot = stored(orthanc, tmp_path / "a", BodyPartExamined="FOOT", Rows=4, Columns=4)
    ct = stored(orthanc, tmp_path / "b", Modality="CT")
    nothing, no_mr = ups.schedule(foot), ups.schedule(ct)
    for _ in range(2):
        poller.look()
    assert (ups.state(no_mr), ups.reason(no_mr)) == ("CANCELED", NO_MR)
    wait_for(lambda: queue.counts() == {"done": 1})
    poller.look()
    assert (ups.state(nothing), ups.reason(nothing)) == ("CANCELED", NOTHING_JUDGED)
    assert ups.performed(nothing).get("OutputInformationSequence", []) == []


def test_a_series_that_is_given_up_cancels_its_step_and_is_tried_anew_if_ordered(
    orthanc: Orthanc, ups: UpsServer, poller: Poller, queue: FetchQueue, tmp_path: Path
) -> None:
    ordered = stored(orthanc, tmp_path / "a")
    step = ups.schedule(ordered)
    poller.look()
    queue.miss(ordered[1], again=False)
    poller.look()
    assert (ups.state(step), ups.reason(step)) == ("CANCELED", GIVEN_UP)
    ups.schedule(ordered)
    for _ in range(2):
        poller.look()
    assert queue.counts() == {"receiving": 1}


def test_a_series_that_is_removed_meanwhile_cancels_its_step(
    orthanc: Orthanc, ups: UpsServer, poller: Poller, queue: FetchQueue, tmp_path: Path
) -> None:
    step = ups.schedule(stored(orthanc, tmp_path / "a"))
    poller.look()
    assert ups.state(step) == "IN PROGRESS"
    orthanc.empty()
    poller.look()
    assert (ups.state(step), ups.reason(step)) == ("CANCELED", GONE)
    assert queue.orders() == {}


def canceling(
    stack: ExitStack, orthanc: Orthanc, ups: UpsServer, queue: FetchQueue
) -> Poller:
    """A poller that hears who wants steps canceled."""
    archive = stack.enter_context(closing(connect(orthanc)))
    service = stack.enter_context(closing(service_of(ups)))
    heard = stack.enter_context(closing(CancelRequests(service, STATION)))
    steps = OrderedSteps(service, archive, orthanc.url, queue, STATION, heard)
    return Poller(archive, queue, 0, steps.studies, steps.wants)


def test_a_step_that_is_asked_to_be_canceled_is_and_others_go_on(
    orthanc: Orthanc,
    ups: UpsServer,
    queue: FetchQueue,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, both = stored(orthanc, tmp_path / "a"), stored(orthanc, tmp_path / "b")
    with ExitStack() as stack:
        stack.enter_context(telling(ups))
        poller = canceling(stack, orthanc, ups, queue)
        unwanted, kept = ups.schedule(one, both), ups.schedule(both)
        for _ in range(3):
            poller.look()
        assert queue.counts() == {"receiving": 2}
        wait_for(lambda: len(ups.listeners) == 1)
        ups.request_cancel("1.2.3")
        ups.request_cancel(unwanted)
        wait_for(lambda: poller.look() or ups.state(unwanted) == "CANCELED")
        assert ups.reason(unwanted) == ASKED
        assert ups.state(kept) == "IN PROGRESS"
        # What another step orders, too, is still to be judged.
        assert queue.counts() == {"receiving": 1}
        assert queue.due_in(both[1]) is None
    assert "cannot be understood" in caplog.text
    assert not any(secret in caplog.text for secret in SECRETS)


@pytest.mark.usefixtures("worker")
def test_a_request_that_comes_too_late_changes_nothing(
    orthanc: Orthanc, ups: UpsServer, queue: FetchQueue, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        stack.enter_context(telling(ups))
        poller = canceling(stack, orthanc, ups, queue)
        step = ups.schedule(stored(orthanc, tmp_path / "a"))
        for _ in range(3):
            poller.look()
        wait_for(lambda: bool(ups.listeners))
        wait_for(lambda: queue.counts() == {"done": 1})
        ups.request_cancel(step)
        poller.look()
        assert ups.state(step) == "COMPLETED"


def test_a_channel_that_breaks_off_is_opened_again(
    orthanc: Orthanc, ups: UpsServer, queue: FetchQueue, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        stack.enter_context(telling(ups))
        poller = canceling(stack, orthanc, ups, queue)
        step = ups.schedule(stored(orthanc, tmp_path / "a"))
        for _ in range(2):
            poller.look()
        wait_for(lambda: len(ups.listeners) == 1)
        first = ups.listeners[0]
        first.close()
        wait_for(lambda: [x for x in ups.listeners if x is not first])
        ups.request_cancel(step)
        wait_for(lambda: poller.look() or ups.state(step) == "CANCELED")


def test_a_worklist_that_tells_of_no_events_is_served_all_the_same(
    orthanc: Orthanc,
    ups: UpsServer,
    queue: FetchQueue,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ExitStack() as stack:
        poller = canceling(stack, orthanc, ups, queue)
        ups.schedule(stored(orthanc, tmp_path / "a"))
        for _ in range(3):
            poller.look()
    assert queue.counts() == {"receiving": 1}
    assert caplog.text.count("Requests to cancel a step are not heard.") == 1


def test_what_is_not_ready_or_not_there_is_left_on_the_worklist(
    orthanc: Orthanc,
    ups: UpsServer,
    poller: Poller,
    queue: FetchQueue,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ordered = stored(orthanc, tmp_path / "a")
    waiting = ups.schedule(ordered, InputReadinessState="INCOMPLETE")
    elsewhere = ups.schedule((STUDY, "1.2.3.4"))
    for _ in range(3):
        poller.look()
    assert (ups.state(waiting), ups.state(elsewhere)) == ("SCHEDULED", "SCHEDULED")
    assert queue.orders() == {}
    assert caplog.text.count("the archive lacks what it names") == 1


def test_a_server_that_filters_nothing_gives_nobody_elses_steps(
    orthanc: Orthanc, ups: UpsServer, poller: Poller, tmp_path: Path
) -> None:
    ups.filters = False
    ordered = stored(orthanc, tmp_path / "a")
    foreign = ups.schedule(ordered, station="ANOTHER")
    over = ups.schedule(ordered, ProcedureStepState="COMPLETED")
    ours = ups.schedule(ordered)
    poller.look()
    states = [ups.state(uid) for uid in (foreign, over, ours)]
    assert states == ["SCHEDULED", "COMPLETED", "IN PROGRESS"]


def test_two_that_look_at_one_worklist_do_not_take_one_step_twice(
    orthanc: Orthanc, ups: UpsServer, poller: Poller, queue: FetchQueue, tmp_path: Path
) -> None:
    ordered = stored(orthanc, tmp_path / "a")
    step = ups.schedule(ordered)
    with (
        ExitStack() as stack,
        closing(FetchQueue(tmp_path / "other")) as other,
    ):
        rival = poller_of(stack, orthanc, ups, other)
        # Both have seen it before either claims it.
        poller.look()
        ups.steps[step]["00741000"]["Value"] = ["SCHEDULED"]
        held = ups.steps[step].pop("00081195")
        rival.look()
        assert list(other.orders()) == [step]
        assert ups.steps[step]["00081195"] != held
        with pytest.raises(NotOursError):
            service_of(ups).claim(step, held["Value"][0])
        for order in queue.orders().values():
            assert order.transaction == held["Value"][0]


def test_a_claim_survives_a_lost_answer_and_a_kill(
    orthanc: Orthanc, ups: UpsServer, queue: FetchQueue, tmp_path: Path
) -> None:
    ordered = stored(orthanc, tmp_path / "a")
    step = ups.schedule(ordered)
    ups.lose_claims = 1
    with ExitStack() as stack:
        first = poller_of(stack, orthanc, ups, queue)
        # The server has carried it out, and nobody was told.
        first.look()
    assert ups.state(step) == "IN PROGRESS"
    (order,) = queue.orders().values()
    assert not order.is_claimed
    assert not any(secret in json.dumps(order.item) for secret in SECRETS)
    queue.close()
    with (
        ExitStack() as stack,
        closing(FetchQueue(tmp_path / "queue")) as reopened,
    ):
        poller = poller_of(stack, orthanc, ups, reopened)
        for _ in range(2):
            poller.look()
        (kept,) = reopened.orders().values()
        assert kept.is_claimed and kept.transaction == order.transaction
        assert reopened.counts() == {"receiving": 1}


@pytest.mark.usefixtures("worker")
def test_a_step_that_somebody_removed_holds_up_nothing(
    orthanc: Orthanc, ups: UpsServer, poller: Poller, queue: FetchQueue, tmp_path: Path
) -> None:
    ordered = stored(orthanc, tmp_path / "a")
    step = ups.schedule(ordered)
    poller.look()
    del ups.steps[step]
    poller.look()
    wait_for(lambda: queue.counts() == {"done": 1})
    poller.look()
    assert queue.orders() == {}


def test_a_worklist_that_is_down_or_closed_is_said(
    orthanc: Orthanc, ups: UpsServer, poller: Poller
) -> None:
    ups.authorization = "Bearer other"
    with pytest.raises(ArchiveAccessError):
        poller.look()
    with pytest.raises(SettingError, match="--ups"):
        StepService("ftp://x", open_session({}))
    gone = ups.url.rsplit(":", 1)[0] + ":1"
    with (
        closing(StepService(gone, open_session({}))) as service,
        pytest.raises(ArchiveDownError),
    ):
        service.scheduled(STATION)


def test_credentials_go_to_one_server_alone() -> None:
    archive = {client.USER: "reader", client.PASSWORD: "sesam"}
    same = worklist_credentials("https://a:1/web", "https://a:1/ups", archive)
    assert same[client.USER] == "reader"
    assert worklist_credentials("https://a:1", "https://b:1", archive) == {}
    assert worklist_credentials("https://a:1", "http://a:1", archive) == {}
    own = {**archive, "TUMORLENS_UPS_TOKEN": "abc"}
    chosen = worklist_credentials("https://a:1", "https://b:1", own)
    assert (chosen[client.TOKEN], chosen[client.USER]) == ("abc", "")


@pytest.mark.parametrize(
    "given",
    [
        ["--study", "1.2", "--ups", "http://x"],
        ["--poll", "1", "--folder", "q", "--ups", "http://x", "--worklist", "A@h:1"],
    ],
)
def test_options_that_do_not_go_together_are_refused(given: list[str]) -> None:
    assert main(["dicomweb", "--url", "http://x", *given]) == 2


def test_the_command_serves_a_worklist(
    orthanc: Orthanc, ups: UpsServer, tiny_bundle: Path, tmp_path: Path
) -> None:
    step = ups.schedule(stored(orthanc, tmp_path / "a"))
    command = Command(
        tmp_path / "log",
        *("dicomweb", "--url", orthanc.url, "--poll", 1, "--ups", ups.url),
        *("--folder", tmp_path / "queue", "--model", tiny_bundle, "--threads", 1),
    )
    try:
        wait_for(lambda: ups.state(step) == "COMPLETED")
    finally:
        assert command.end(signal.SIGTERM) == 0
    assert not any(secret in command.said() for secret in SECRETS)
