"""Orders of analyses as Unified Procedure Steps over UPS-RS (PS3.18, section 11).

A step that is scheduled for our station is claimed by a transaction UID that nobody
else knows, its input series are judged, and it ends with what was stored of them, or
canceled with a reason. Which steps are ours stands in the queue, before any of them is
claimed. Who wants a step of ours canceled asks the server, which tells us over a
channel of events.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection as Connection
from websockets.sync.client import connect

from tumorlens.errors import (
    ArchiveAccessError,
    ArchiveDownError,
    ArchiveError,
    TooLargeError,
)
from tumorlens.pacs.dicomweb.client import (
    TIMEOUT_SECONDS,
    Archive,
    SeriesEntry,
    archive_errors,
    check_url,
    is_uid,
    json_number,
    json_text,
    json_values,
    search,
)
from tumorlens.pacs.dicomweb.fetch_queue import FetchQueue, Order
from tumorlens.report.dicom.finding import SentResult

logger = logging.getLogger(__name__)

SCHEDULED, IN_PROGRESS = "SCHEDULED", "IN PROGRESS"
COMPLETED, CANCELED = "COMPLETED", "CANCELED"
READY = "READY"
_STATION = "ScheduledStationNameCodeSequence"
_WORK = "ScheduledWorkitemCodeSequence"
_JSON = "application/dicom+json"
_CONFLICTS = (400, 404, 409, 410)
"""Answers to who changes a step that is not there, or not his."""

NO_MR = "The step names no series of magnetic resonance that the archive has."
NOTHING_JUDGED = "Nothing in the series could be judged: they are no MRI of a head."
GONE = "The archive does not have a series any more."
GIVEN_UP = "A series could not be fetched or judged, after many attempts."
ASKED = "It was asked to cancel the step before all was judged."

_CANCEL_REQUESTED = 2
"""Event Type ID of a request to cancel (PS3.4, table CC.2.4-1)."""

_EVENT_BYTES = 2**20
_HEAR_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 600.0


class NotOursError(ArchiveError):
    """A step is gone, over, or somebody else's."""


@dataclass(frozen=True)
class Step:
    """A step of the worklist.

    Parameters
    ----------
    uid
        SOP Instance UID of the step.
    state, readiness
        State of the step, and of its input.
    stations
        Code values of the stations that it is scheduled for.
    inputs
        Study and series that it names as input, each once.
    item
        The step in DICOM JSON.
    """

    uid: str
    state: str
    readiness: str
    stations: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    item: dict[str, Any]


class StepService:
    """A worklist of Unified Procedure Steps.

    Parameters
    ----------
    url
        Address of the service, to which ``/workitems`` is added.
    session
        A session of `open_session`.
    ca_bundle
        Certificates to trust, in PEM, instead of those that everybody trusts.

    Raises
    ------
    SettingError
        Where the address is none.

    Notes
    -----
    Every method raises what `archive_errors` says; those that change a step raise
    `NotOursError` where it is gone, over, or somebody else's.
    """

    def __init__(
        self, url: str, session: requests.Session, ca_bundle: Path | None = None
    ) -> None:
        self._url = check_url(url, "--ups")
        self._ca_bundle = ca_bundle
        self._host = urlsplit(self._url).netloc
        session.headers["Accept"] = _JSON
        self._session = session

    def close(self) -> None:
        """Close the connections to the server."""
        self._session.close()

    def scheduled(self, station: str) -> list[str]:
        """List the UIDs of the steps that are scheduled for a station."""
        wanted = {
            "ProcedureStepState": SCHEDULED,
            "ScheduledStationNameCodeSequence.CodeValue": station,
        }

        def ask(**page: int) -> Any:  # noqa: ANN401 - any JSON
            answer = self._ask("GET", "", params={**wanted, **page})
            return [] if answer.status_code == 204 else answer.json()

        return list(search(self._host, "SOPInstanceUID", ask))

    def step(self, uid: str) -> Step:
        """Get one step, with all that it says."""
        with archive_errors(self._host):
            reply = self._ask("GET", f"/{uid}").json()
            (item,) = reply if isinstance(reply, list) else [reply]
        return _step_of(uid, item)

    def claim(self, uid: str, transaction: str) -> None:
        """Take a scheduled step; from now on who knows the transaction changes it.

        A step that is ours already stays so.
        """
        try:
            self._set_state(uid, transaction, IN_PROGRESS)
        except NotOursError:
            # An answer may have been lost: only its owner can change a step.
            progress = Dataset()
            progress.ProcedureStepProgress = 0
            change = Dataset()
            change.ProcedureStepProgressInformationSequence = [progress]
            self._update(uid, transaction, change)

    def complete(self, uid: str, transaction: str, performed: Dataset) -> None:
        """End a step of ours with what was performed."""
        change = Dataset()
        change.UnifiedProcedureStepPerformedProcedureSequence = [performed]
        self._update(uid, transaction, change)
        self._set_state(uid, transaction, COMPLETED)

    def cancel(
        self, uid: str, transaction: str, performed: Dataset, reason: str
    ) -> None:
        """End a step of ours of which nothing came, and say why."""
        progress, change = Dataset(), Dataset()
        progress.ProcedureStepCancellationDateTime = (
            performed.PerformedProcedureStepEndDateTime
        )
        progress.ReasonForCancellation = reason
        unspecified = codes.DCM.DiscontinuedForUnspecifiedReason
        progress.ProcedureStepDiscontinuationReasonCodeSequence = [
            _code(*unspecified[:3])
        ]
        change.ProcedureStepProgressInformationSequence = [progress]
        change.UnifiedProcedureStepPerformedProcedureSequence = [performed]
        self._update(uid, transaction, change)
        self._set_state(uid, transaction, CANCELED)

    def subscribe(self, uid: str, title: str) -> str:
        """Ask to be told what happens to a step.

        Parameters
        ----------
        uid
            UID of the step.
        title
            AE title of who is told.

        Returns
        -------
        str
            Address of the channel over which that is told (WebSocket).
        """
        path = f"/{uid}/subscribers/{quote(title, safe='')}"
        with archive_errors(self._host):
            answer = self._ask("POST", path)
        told = urljoin(f"{self._url}/", answer.headers.get("Content-Location", ""))
        parts = urlsplit(told)
        # Some servers give the address of the subscription, not of the channel.
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        if scheme not in ("ws", "wss") or not answer.headers.get("Content-Location"):
            raise ArchiveError(f"{self._host} names no channel of events.")
        return parts._replace(scheme=scheme).geturl()

    def open_channel(self, address: str) -> Connection:
        """Open a channel of events; credentials go to the worklist's own host alone.

        Raises
        ------
        OSError, WebSocketException
            It cannot be opened.
        """
        headers = {}
        if urlsplit(address).netloc == self._host:
            asked = self._session.prepare_request(requests.Request("GET", self._url))
            given = asked.headers.get("Authorization")
            if given is not None:
                text = given if isinstance(given, str) else given.decode("latin-1")
                headers["Authorization"] = text
        trusted = None
        if address.startswith("wss:"):
            # As requests, which knows nothing of WebSockets, would trust them.
            trusted = ssl.create_default_context(
                cafile=self._ca_bundle or DEFAULT_CA_BUNDLE_PATH
            )
        return connect(
            address,
            additional_headers=headers,
            ssl=trusted,
            max_size=_EVENT_BYTES,
            close_timeout=_HEAR_SECONDS,
            proxy=None,
        )

    def _set_state(self, uid: str, transaction: str, state: str) -> None:
        change = Dataset()
        change.ProcedureStepState = state
        change.TransactionUID = transaction
        self._change("PUT", f"/{uid}/state", change)

    def _update(self, uid: str, transaction: str, change: Dataset) -> None:
        # Some servers look for it in the address, as the standard has it, some here.
        change.TransactionUID = transaction
        self._change("POST", f"/{uid}", change, {"transaction": transaction})

    def _change(
        self,
        method: str,
        path: str,
        change: Dataset,
        params: dict[str, str] | None = None,
    ) -> None:
        data = json.dumps(change.to_json_dict())
        with archive_errors(self._host):
            self._ask(method, path, params=params or {}, data=data)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        data: str | None = None,
    ) -> requests.Response:
        answer = self._session.request(
            method,
            f"{self._url}/workitems{path}",
            params=params,
            data=data,
            headers={} if data is None else {"Content-Type": _JSON},
            timeout=TIMEOUT_SECONDS,
        )
        if data is not None and answer.status_code in _CONFLICTS:
            raise NotOursError(
                f"{self._host} says that a step is over, gone or not ours "
                f"(status {answer.status_code})."
            )
        answer.raise_for_status()
        return answer


def _step_of(uid: str, item: dict[str, Any]) -> Step:
    inputs = [
        (json_text(entry, "StudyInstanceUID"), json_text(entry, "SeriesInstanceUID"))
        for entry in json_values(item, "InputInformationSequence")
    ]
    named = json_values(item, _STATION)
    return Step(
        uid=uid,
        state=json_text(item, "ProcedureStepState"),
        # Every step has to say it; one that does not waits for nothing.
        readiness=json_text(item, "InputReadinessState") or READY,
        stations=tuple(json_text(code, "CodeValue") for code in named),
        # What is no UID cannot be asked for.
        inputs=tuple(dict.fromkeys(x for x in inputs if all(map(is_uid, x)))),
        item=item,
    )


class CancelRequests:
    """Hears who wants steps of ours canceled; safe to use from threads.

    Parameters
    ----------
    service
        The worklist. It is asked by the thread that calls `follow`.
    title
        AE title under which events are asked for.
    """

    def __init__(self, service: StepService, title: str) -> None:
        self._service = service
        self._title = title
        self._followed: set[str] = set()
        self._requested: set[str] = set()
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._channel: Connection | None = None

    def follow(self, uid: str) -> None:
        """Listen for requests to cancel a step; done once for each.

        Where the worklist does not tell of events, the log says so, and its steps are
        judged all the same.
        """
        if uid in self._followed:
            return
        try:
            address = self._service.subscribe(uid, self._title)
        except ArchiveError as error:
            logger.warning("Requests to cancel a step are not heard. %s", error)
        else:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._listen_on, args=(address,), daemon=True
                )
                self._thread.start()
        self._followed.add(uid)

    def is_requested(self, uid: str) -> bool:
        """Tell whether somebody wants a step canceled."""
        with self._guard:
            return uid in self._requested

    def forget(self, uid: str) -> None:
        """Listen no longer for a step that is over."""
        self._followed.discard(uid)
        with self._guard:
            self._requested.discard(uid)

    def close(self) -> None:
        """Listen no longer."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _listen_on(self, address: str) -> None:
        """Listen until `close`; where the channel breaks off, open it again."""
        failures = 0
        while not self._stopped.is_set():
            try:
                with self._service.open_channel(address) as channel:
                    failures = 0
                    self._listen(channel)
            # A token's file may be gone for a while.
            except (OSError, WebSocketException, ArchiveError) as error:
                if not failures:
                    kind = type(error).__name__
                    logger.warning("The channel of events broke off: %s.", kind)
                failures += 1
            pause = min(2.0 ** min(failures, 20), _LONGEST_PAUSE_SECONDS)
            self._stopped.wait(pause)

    def _listen(self, channel: Connection) -> None:
        while not self._stopped.is_set():
            try:
                said = channel.recv(_HEAR_SECONDS)
            except TimeoutError:
                continue
            try:
                event = json.loads(said)
                kind = json_number(event, "EventTypeID")
                uid = json_text(event, "AffectedSOPInstanceUID")
            except (ValueError, RecursionError):
                logger.warning("An event of the worklist cannot be understood.")
                continue
            if kind == _CANCEL_REQUESTED and uid:
                with self._guard:
                    self._requested.add(uid)


class OrderedSteps:
    """Takes the steps that are ordered of a station, and tells what became of them.

    Parameters
    ----------
    service
        The worklist.
    archive
        Where the input series lie, and the results.
    archive_url
        Its address, at which the results can be had.
    queue
        Queue of the series; it keeps which steps are ours.
    station
        Code value of the station that orders name.
    cancel_requests
        Hears who wants steps canceled; None for nobody.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        service: StepService,
        archive: Archive,
        archive_url: str,
        queue: FetchQueue,
        station: str,
        cancel_requests: CancelRequests | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cancel_requests = cancel_requests
        self._service = service
        self._archive = archive
        self._archive_url = archive_url.rstrip("/")
        self._queue = queue
        self._station = station
        self._clock = clock
        self._left: set[str] = set()
        self._ordered: set[tuple[str, str]] = set()

    def studies(self) -> set[str]:
        """Look once: end steps that are done, take new ones; list studies to judge.

        Raises
        ------
        ArchiveError
            As `archive_errors` says.
        """
        orders = self._queue.orders()
        for uid, order in orders.items():
            _unless_refused(partial(self._go_on, uid, order))
        for uid in self._service.scheduled(self._station):
            if uid not in orders:
                _unless_refused(partial(self._take, uid))
        ours = self._queue.orders().values()
        self._ordered = {named for order in ours for named in order.series}
        return {study for study, _ in self._ordered}

    def wants(self, entry: SeriesEntry) -> bool:
        """Tell whether a step of ours, as `studies` found them, names a series."""
        return (entry.study, entry.uid) in self._ordered

    def _take(self, uid: str) -> None:
        step = self._service.step(uid)
        # Whatever the server made of the question.
        is_ours = step.state == SCHEDULED and self._station in step.stations
        if not is_ours or step.readiness != READY:
            return
        series = self._series_of(step)
        if series is None:
            if uid not in self._left:
                logger.warning("A step was left: the archive lacks what it names.")
            self._left.add(uid)
            return
        for _, one in series:
            outcome = self._queue.outcome(one)
            if not outcome.is_open and not outcome.results:
                # Whatever came of it then, it is ordered anew.
                self._queue.forget(one)
        order = Order(generate_uid(), series, self._clock(), _kept_of(step.item))
        # Before it is claimed: it must not be lost, whenever this process ends.
        self._queue.keep_order(uid, order)
        if self._is_claimed(uid, order):
            logger.info("Took a step of %d series.", len(series))

    def _series_of(self, step: Step) -> tuple[tuple[str, str], ...] | None:
        """Give the MR series of a step; None where the archive lacks one."""
        series = []
        for study in dict.fromkeys(study for study, _ in step.inputs):
            listed = {entry.uid: entry for entry in self._archive.series(study)}
            for of, uid in step.inputs:
                if of != study:
                    continue
                if uid not in listed:
                    return None
                if listed[uid].modality == "MR":
                    series.append((study, uid))
        return tuple(series)

    def _is_claimed(self, uid: str, order: Order) -> bool:
        try:
            self._service.claim(uid, order.transaction)
        except NotOursError as error:
            logger.info("A step was not taken. %s", error)
            self._queue.drop_order(uid)
            return False
        self._queue.keep_order(uid, replace(order, is_claimed=True))
        return True

    def _go_on(self, uid: str, order: Order) -> None:
        # One that is not claimed yet was taken just before somebody killed us.
        if not order.is_claimed and not self._is_claimed(uid, order):
            return
        if self._cancel_requests is not None:
            self._cancel_requests.follow(uid)
        self._end(uid, order)

    def _end(self, uid: str, order: Order) -> None:
        """End a step of ours whose series are all over, or not to be had."""
        outcomes = [self._queue.outcome(series) for _, series in order.series]
        is_gone = self._is_gone(order)
        is_open = any(outcome.is_open for outcome in outcomes)
        heard = self._cancel_requests
        is_asked = is_open and heard is not None and heard.is_requested(uid)
        if is_open and not is_gone and not is_asked:
            return
        results = [result for outcome in outcomes for result in outcome.results]
        performed = self._performed(order, results)
        try:
            has_failed = is_gone or any(outcome.has_failed for outcome in outcomes)
            if results and not has_failed and not is_asked:
                self._service.complete(uid, order.transaction, performed)
                logger.info("Completed a step with %d results.", len(results))
            else:
                reason = NOTHING_JUDGED if outcomes else NO_MR
                if is_asked:
                    reason = ASKED
                elif has_failed:
                    reason = GONE if is_gone else GIVEN_UP
                self._service.cancel(uid, order.transaction, performed, reason)
                logger.warning("Canceled a step: %s", reason)
        except NotOursError as error:
            logger.warning("A step could not be ended. %s", error)
        self._queue.drop_order(uid)
        if is_asked:
            self._let_go(order)
        if heard is not None:
            heard.forget(uid)

    def _let_go(self, order: Order) -> None:
        """Let go the series of a step that are not judged, unless another has them."""
        others = {
            named for other in self._queue.orders().values() for named in other.series
        }
        for named in order.series:
            if named not in others and self._queue.outcome(named[1]).is_open:
                self._queue.forget(named[1])

    def _is_gone(self, order: Order) -> bool:
        """Tell whether a series that is still to be fetched cannot be any more."""
        left: dict[str, set[str]] = {}
        for study, series in order.series:
            if self._queue.due_in(series) is not None:
                left.setdefault(study, set()).add(series)
        return any(
            series - {entry.uid for entry in self._archive.series(study)}
            for study, series in left.items()
        )

    def _performed(self, order: Order, results: Sequence[SentResult]) -> Dataset:
        """Describe what was done (PS3.4, table CC.2.5-3)."""
        performed = Dataset()
        performed.ActualHumanPerformersSequence = []
        performed.PerformedStationNameCodeSequence = self._copied(
            order, _STATION, self._station
        )
        performed.PerformedProcedureStepStartDateTime = _time(order.began)
        performed.PerformedProcedureStepEndDateTime = _time(self._clock())
        performed.PerformedWorkitemCodeSequence = self._copied(order, _WORK)
        performed.PerformedProcessingParametersSequence = []
        performed.OutputInformationSequence = self._outputs(results)
        return performed

    def _copied(self, order: Order, keyword: str, value: str = "") -> list[Dataset]:
        """Copy the codes of what was ordered; of several, the one of that value."""
        return [
            _code(*named)
            for item in json_values(order.item, keyword)
            if (
                named := [
                    json_text(item, key)
                    for key in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
                ]
            )[0]
            and value in ("", named[0])
        ]

    def _outputs(self, results: Sequence[SentResult]) -> list[Dataset]:
        """Refer to the results, an item for each series (PS3.3, table 10-3b)."""
        items: dict[tuple[str, str], Dataset] = {}
        for result in results:
            place = (result.study, result.series)
            if place not in items:
                access, item = Dataset(), Dataset()
                access.RetrieveURL = (
                    f"{self._archive_url}/studies/{result.study}/series/{result.series}"
                )
                item.TypeOfInstances = "DICOM"
                item.StudyInstanceUID, item.SeriesInstanceUID = place
                item.ReferencedSOPSequence = []
                item.WADORSRetrievalSequence = [access]
                items[place] = item
            reference = Dataset()
            reference.ReferencedSOPClassUID = result.sop_class
            reference.ReferencedSOPInstanceUID = result.instance
            items[place].ReferencedSOPSequence.append(reference)
        return list(items.values())


def _unless_refused(act: Callable[[], None]) -> None:
    """Do something with one step; where it alone is refused, the others go on."""
    try:
        act()
    except (ArchiveAccessError, ArchiveDownError):
        raise
    except (ArchiveError, TooLargeError) as error:
        logger.warning("A step was skipped: %s", error)


def _kept_of(item: dict[str, Any]) -> dict[str, Any]:
    """Keep of a step what its end repeats, and nothing of the patient."""
    tags = [f"{tag_for_keyword(keyword):08X}" for keyword in (_STATION, _WORK)]
    return {tag: item[tag] for tag in tags if tag in item}


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, scheme
    item.CodeMeaning = meaning
    return item


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%S+0000")
