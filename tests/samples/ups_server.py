"""A small worklist of Unified Procedure Steps that keeps their state as PS3.18 has it.

It holds steps in DICOM JSON, refuses what the standard refuses (PS3.18, 11.5 to 11.8;
PS3.4, CC.2.1 to CC.2.3), and shows nobody a transaction UID.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset
from pydicom.uid import generate_uid
from websockets.sync.server import ServerConnection, serve

JSON = "application/dicom+json"
STATE, TRANSACTION = "00741000", "00081195"
PERFORMED, PROGRESS = "00741216", "00741002"
STATION, INPUT, WORK = "00404025", "00404021", "00404018"
OVER = ("COMPLETED", "CANCELED")
NEEDED = {"COMPLETED": ("00404028", "00404050", "00404051", "00404033", "00404019")}
"""Attributes of what was performed without which a step cannot end so."""


def code(value: str, meaning: str = "", scheme: str = "99TEST") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, scheme
    item.CodeMeaning = meaning or value
    return item


@dataclass
class UpsServer:
    """What the server holds, and what it was asked.

    Parameters
    ----------
    url
        Its address.
    steps
        Steps in DICOM JSON by UID; those in progress with their transaction UID.
    asked
        Method, path and query of each request.
    lose_claims
        How many claims it carries out and then answers with an error.
    filters
        Whether it heeds what is searched for.
    authorization
        Value of the header without which it lets nobody in; empty for everybody.
    channel
        Address of the channel of events; empty where it tells nobody of events.
    """

    url: str = ""
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    lose_claims: int = 0
    filters: bool = True
    authorization: str = ""
    channel: str = ""
    listeners: list[ServerConnection] = field(default_factory=list)
    subscribed: dict[str, set[str]] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def schedule(
        self, *series: tuple[str, str], station: str = "TUMORLENS", **values: str
    ) -> str:
        """Add a step whose input are series, given by study and series UID."""
        step = Dataset()
        step.ProcedureStepState, step.InputReadinessState = "SCHEDULED", "READY"
        step.PatientName, step.PatientID = "Drawn^Head", "drawn-1"
        step.ScheduledStationNameCodeSequence = [code(station)]
        step.ScheduledWorkitemCodeSequence = [code("110005", "Interpretation", "DCM")]
        step.InputInformationSequence = []
        for study, uid in series:
            item = Dataset()
            item.TypeOfInstances = "DICOM"
            item.StudyInstanceUID, item.SeriesInstanceUID = study, uid
            step.InputInformationSequence.append(item)
        for keyword, value in values.items():
            setattr(step, keyword, value)
        step.SOPInstanceUID = generate_uid()
        self.steps[step.SOPInstanceUID] = step.to_json_dict()
        return str(step.SOPInstanceUID)

    def state(self, uid: str) -> str:
        return str(self.steps[uid][STATE]["Value"][0])

    def performed(self, uid: str) -> Dataset:
        return Dataset.from_json(self.steps[uid][PERFORMED]["Value"][0])

    def reason(self, uid: str) -> str:
        (progress,) = self.steps[uid][PROGRESS]["Value"]
        return str(Dataset.from_json(progress).ReasonForCancellation)

    def request_cancel(self, uid: str) -> None:
        """Ask whoever is told of a step to cancel it, as another station does."""
        event = Dataset()
        event.EventTypeID = 2
        event.ReasonForCancellation = "Drawn^Head came back"
        text = json.dumps(
            {"00001000": {"vr": "UI", "Value": [uid]}, **event.to_json_dict()}
        )
        for listener in self.listeners:
            assert listener.request is not None
            title = listener.request.path.rsplit("/", 1)[1]
            if uid in self.subscribed.get(title, ()):
                listener.send("no event at all")
                listener.send(text)

    # --- what it answers: status, and what is shown ---

    def found(self, query: dict[str, list[str]]) -> tuple[int, list[Any] | None]:
        matching = [
            step
            for step in self.steps.values()
            if not self.filters
            or (
                _matches(query, "ProcedureStepState", step[STATE])
                and _matches(
                    query,
                    "ScheduledStationNameCodeSequence.CodeValue",
                    *(item["00080100"] for item in step[STATION]["Value"]),
                )
            )
        ]
        start = int(query.get("offset", ["0"])[0])
        page = matching[start : start + int(query.get("limit", ["9"])[0])]
        shown = [
            {tag: step[tag] for tag in ("00080018", STATE, STATION)} for step in page
        ]
        return (200, shown) if shown else (204, None)

    def changed(
        self, uid: str, change: dict[str, Any], transaction: str
    ) -> tuple[int, None]:
        step = self.steps[uid]
        state = self.state(uid)
        if state in OVER or STATE in change:
            return 400, None
        if state == "IN PROGRESS" and transaction != _text(step, TRANSACTION):
            return 400, None
        step.update({k: v for k, v in change.items() if k != TRANSACTION})
        return 200, None

    def moved(self, uid: str, change: dict[str, Any]) -> tuple[int, None]:
        step = self.steps[uid]
        now, then = self.state(uid), _text(change, STATE)
        transaction = _text(change, TRANSACTION)
        if not transaction or then not in ("IN PROGRESS", *OVER):
            return 400, None
        if now == "SCHEDULED":
            if then != "IN PROGRESS":
                return 409, None
            step[TRANSACTION] = change[TRANSACTION]
        elif now in OVER or then == now:
            return 409, None
        elif transaction != _text(step, TRANSACTION):
            return 400, None
        elif not all(_has(step, tag) for tag in NEEDED.get(then, ())):
            return 409, None
        step[STATE] = {"vr": "CS", "Value": [then]}
        if then == "IN PROGRESS" and self.lose_claims:
            self.lose_claims -= 1
            return 500, None
        return 200, None


def _has(step: dict[str, Any], tag: str) -> bool:
    """Tell whether what was performed has an attribute; outputs must not be empty."""
    items = step.get(PERFORMED, {}).get("Value") or [{}]
    return bool(items[0].get(tag, {}).get("Value"))


def _text(item: dict[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _matches(query: dict[str, list[str]], key: str, *elements: Any) -> bool:
    return key not in query or any(
        query[key] == [str(element["Value"][0])] for element in elements
    )


@contextmanager
def telling(held: UpsServer) -> Iterator[None]:
    """Serve the channel of events of a worklist, while the block runs."""

    def listen(listener: ServerConnection) -> None:
        assert listener.request is not None
        given = listener.request.headers.get("Authorization", "")
        if given == held.authorization:
            held.listeners.append(listener)
            for _ in listener:
                """Nobody says anything here."""
            held.listeners.remove(listener)

    with serve(listen, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        held.channel = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        try:
            yield
        finally:
            held.channel = ""
            for listener in list(held.listeners):
                listener.close()
            server.shutdown()
            thread.join()


@contextmanager
def serve_ups() -> Iterator[UpsServer]:
    """Serve a worklist on a free port of this machine."""
    held = UpsServer()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> tuple[int, Any]:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            held.asked.append((self.command, parts.path, parts.query))
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            given = self.headers.get("Authorization", "")
            if held.authorization and given != held.authorization:
                return 401, None
            _, _, *places = parts.path.split("/")
            if parts.path.split("/")[1] != "workitems":
                return 404, None
            if not places:
                return held.found(query) if self.command == "GET" else (405, None)
            if places[0] not in held.steps:
                return 404, None
            if self.command == "POST" and places[1:2] == ["subscribers"]:
                if not held.channel:
                    return 501, None
                held.subscribed.setdefault(places[2], set()).add(places[0])
                self.content_location = f"{held.channel}/subscribers/{places[2]}"
                return 201, None
            if self.command == "GET":
                step = held.steps[places[0]]
                return 200, [{k: v for k, v in step.items() if k != TRANSACTION}]
            if self.headers.get("Content-Type") != JSON:
                return 415, None
            change = json.loads(body)
            if self.command == "PUT" and places[1:] == ["state"]:
                return held.moved(places[0], change)
            if self.command == "POST" and not places[1:]:
                transaction = query.get("transaction", [""])[0]
                return held.changed(places[0], change, transaction)
            return 404, None

        content_location = ""

        def do_GET(self) -> None:
            with held.guard:
                status, shown = self.handle_one()
            data = b"" if shown is None else json.dumps(shown).encode()
            self.send_response(status)
            if self.content_location:
                self.send_header("Content-Location", self.content_location)
            if data:
                self.send_header("Content-Type", JSON)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        held.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield held
        finally:
            server.shutdown()
            thread.join()
