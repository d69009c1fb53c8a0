"""The calling half of the node: results go out by C-STORE, questions by C-FIND.

Storage Commitment is asked for by N-ACTION, and answered by N-EVENT-REPORT.

Tested in `tests/pacs/node/test_node.py`, `tests/pacs/node/test_wholeness.py` and
`tests/pacs/node/test_commitment.py`.
"""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import UID, generate_uid
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityWorklistInformationFind,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
)

from tumorlens.operations.audit import (
    AuditAction,
    AuditEvent,
    AuditOutcome,
    AuditTrail,
    note_event,
)
from tumorlens.pacs.node.commitment import (
    ASK,
    CLASS_CONFLICT,
    COMMITTED,
    NO_SUCH_INSTANCE,
    SOME_FAILED,
    CommitmentReport,
    CommitmentRequest,
    write_report,
    write_request,
)
from tumorlens.pacs.node.node_queue import NodeQueue, PeerRequest
from tumorlens.pacs.node.peers import Peer
from tumorlens.pacs.worker import Delivery

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 30.0
_WARNING = 0xB000
"""Statuses 0xB000 to 0xBFFF: stored, with a remark (DICOM PS3.4, annex B.2.3)."""
_PENDING = (0xFF00, 0xFF01)
"""Statuses of an answer to a query that is not the last (PS3.4, annex C.4.1.1.4)."""
_OVER = ("COMPLETED", "DISCONTINUED")
"""Statuses of a step of a worklist that nobody has to do any more."""


def send_files(
    title: str,
    destination: Peer,
    files: Sequence[Path],
    sent: Callable[[Path], None],
    tls: ssl.SSLContext | None = None,
) -> bool:
    """Send files over one association.

    Parameters
    ----------
    title
        Title of the node.
    destination
        Peer that they go to; it has a port.
    files
        Whole DICOM files.
    sent
        Called with each file that arrived, at once.
    tls
        Context of `peers.client_tls`; None for no encryption.

    Returns
    -------
    bool
        Whether all arrived.
    """
    arrived = 0
    kinds = sorted({_kind(path) for path in files})
    try:
        with _association(title, destination, kinds, tls) as association:
            for path in files:
                if _store(association, path):
                    sent(path)
                    arrived += 1
    except ConnectionError:
        return False
    except RuntimeError:
        # The association broke.
        pass
    if arrived < len(files):
        logger.warning("The destination took %d of %d files.", arrived, len(files))
    return arrived == len(files)


def recorded(
    deliver: Delivery, destination: Peer, audit: AuditTrail | None
) -> Delivery:
    """Let an audit trail tell of each delivery to a peer."""

    def go(files: Sequence[Path], sent: Callable[[Path], None]) -> bool:
        arrived = 0

        def note(path: Path) -> None:
            nonlocal arrived
            sent(path)
            arrived += 1

        is_whole = deliver(files, note)
        note_event(
            audit,
            (AuditEvent.EXPORT, AuditAction.READ),
            AuditOutcome.of(is_whole),
            user=destination.title,
            origin=destination.host,
            detail=f"{arrived} of {len(files)} results",
        )
        return is_whole

    return go


def find(
    title: str,
    peer: Peer,
    wanted: Dataset,
    tls: ssl.SSLContext | None = None,
    model: UID = StudyRootQueryRetrieveInformationModelFind,
) -> list[Dataset]:
    """Ask a peer by C-FIND.

    Parameters
    ----------
    title, tls
        The same as for `send_files`.
    peer
        Peer that is asked; it has a port.
    wanted
        Identifier of the query.
    model
        Information model that is searched; by default the study root.

    Raises
    ------
    ConnectionError
        It is not there, or does not answer.
    """
    answers: list[Dataset] = []
    status = Dataset()
    try:
        with _association(title, peer, [(model, None)], tls) as association:
            for status, answer in association.send_c_find(wanted, model):
                if status.get("Status") in _PENDING and answer is not None:
                    answers.append(answer)
    except (RuntimeError, ValueError) as error:
        # It broke, or the peer takes no queries.
        raise ConnectionError("The peer does not take the query.") from error
    if status.get("Status") != 0:
        raise ConnectionError("The peer does not answer the query.")
    return answers


def ordered_studies(
    title: str, worklist: Peer, tls: ssl.SSLContext | None = None
) -> set[str]:
    """Ask a worklist which studies an analysis is ordered of (PS3.4, annex K).

    Nothing of a patient is asked for.

    Parameters
    ----------
    title, tls
        The same as for `send_files`; the title is the station that orders name.
    worklist
        Peer that has the orders, with a port.

    Returns
    -------
    set of str
        The StudyInstanceUIDs of the steps that are not over.

    Raises
    ------
    ConnectionError
        It is not there, or does not answer.
    """
    step, wanted = Dataset(), Dataset()
    step.ScheduledStationAETitle = title
    step.ScheduledProcedureStepStatus = ""
    wanted.StudyInstanceUID = ""
    wanted.ScheduledProcedureStepSequence = [step]
    answers = find(title, worklist, wanted, tls, ModalityWorklistInformationFind)
    return {
        str(answer.StudyInstanceUID)
        for answer in answers
        if answer.get("StudyInstanceUID")
        and not any(
            str(item.get("ScheduledProcedureStepStatus")) in _OVER
            for item in answer.get("ScheduledProcedureStepSequence") or ()
        )
    }


class Commitments:
    """Storage Commitment both ways: two steps for a worker.

    Parameters
    ----------
    queue
        Queue of the node.
    title, tls
        The same as for `send_files`.
    archive
        Peer that is asked to commit what it was sent; None for none.
    peers
        Peers that are answered, each with the port that takes its answers.
    """

    def __init__(
        self,
        queue: NodeQueue,
        title: str,
        archive: Peer | None,
        peers: Sequence[Peer],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._queue = queue
        self._title = title
        self._archive = archive
        self._peers = {peer.title: peer for peer in peers}
        self._tls = tls

    @property
    def steps(self) -> list[Callable[[], bool]]:
        """Steps for a worker."""
        ask = [] if self._archive is None else [self.ask_next]
        return [*ask, *([self.answer_next] if self._peers else [])]

    def ask_next(self) -> bool:
        """Ask for the results of one series; tell whether there were any."""
        job = self._queue.next_to_commit()
        if job is None or self._archive is None:
            return False
        kinds, files = {}, {}
        try:
            for path in job.files:
                instance, kind = _names(path)
                kinds[instance], files[instance] = kind, path
        except OSError:
            logger.error("Results that are to be committed cannot be read.")
            self._queue.postpone(job.series)
            return True
        request = CommitmentRequest(str(generate_uid()), kinds)
        # The archive may report before its answer to the request is read.
        wait = self._queue.asked(job, request.transaction, files)
        if math.isinf(wait):
            logger.error("A series was given up: its results were not committed.")
            return True
        if not self._request(self._archive, request):
            logger.warning("%s was not asked to commit results.", self._archive.title)
        return True

    def answer_next(self) -> bool:
        """Answer one request of a peer; tell whether there was one."""
        asked = self._queue.next_to_answer()
        if asked is None:
            return False
        peer = self._peers.get(asked.title)
        # One that the node is not told of any more is answered when it is again.
        arrived = peer is not None and self._report(peer, _answer_to(asked))
        wait = self._queue.answered(asked, arrived=arrived)
        if math.isinf(wait):
            logger.error("A request for storage commitment was given up.")
        elif not arrived:
            logger.warning("A request for storage commitment was not answered yet.")
        return True

    def _request(self, archive: Peer, request: CommitmentRequest) -> bool:
        def send(association: Association) -> Dataset:
            status, _ = association.send_n_action(
                write_request(request),
                ASK,
                StorageCommitmentPushModel,
                StorageCommitmentPushModelInstance,
            )
            return status

        return self._talk(archive, send)

    def _report(self, peer: Peer, report: CommitmentReport) -> bool:
        def send(association: Association) -> Dataset:
            status, _ = association.send_n_event_report(
                write_report(report),
                SOME_FAILED if report.failed else COMMITTED,
                StorageCommitmentPushModel,
                StorageCommitmentPushModelInstance,
            )
            return status

        return self._talk(peer, send, as_provider=True)

    def _talk(
        self,
        peer: Peer,
        send: Callable[[Association], Dataset],
        *,
        as_provider: bool = False,
    ) -> bool:
        """Send one message over an association of its own; tell whether it arrived."""
        roles = []
        if as_provider:
            # The requestor of the association is the provider (PS3.4, J.3.3.1.1).
            roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
        kinds = [(StorageCommitmentPushModel, None)]
        try:
            with _association(
                self._title, peer, kinds, self._tls, roles
            ) as association:
                return bool(send(association).get("Status") == 0)
        except (OSError, RuntimeError, ValueError):
            # It is down, it broke, or the peer takes no commitment.
            return False


def _answer_to(asked: PeerRequest) -> CommitmentReport:
    """Say which images the node holds at this moment."""
    committed: dict[str, str] = {}
    failed: dict[str, tuple[str, int]] = {}
    for instance, kind in asked.request.instances.items():
        path = asked.files.get(instance)
        held = None if path is None else _held_kind(path)
        if held is None:
            failed[instance] = kind, NO_SUCH_INSTANCE
        elif held != kind:
            failed[instance] = kind, CLASS_CONFLICT
        else:
            committed[instance] = kind
    return CommitmentReport(asked.request.transaction, committed, failed)


def _held_kind(path: Path) -> str | None:
    """Read the SOP class of a file; None where it is gone by now."""
    try:
        return _names(path)[1]
    except OSError:
        return None


@contextmanager
def _association(
    title: str,
    peer: Peer,
    kinds: Iterable[tuple[str, str | None]],
    tls: ssl.SSLContext | None,
    roles: Sequence[Any] = (),
) -> Iterator[Association]:
    """Open an association for SOP classes, each with its transfer syntax."""
    entity = AE(ae_title=title)
    entity.network_timeout = entity.dimse_timeout = _TIMEOUT_SECONDS
    entity.acse_timeout = entity.connection_timeout = _TIMEOUT_SECONDS
    for class_uid, syntax in kinds:
        if syntax is None:
            entity.add_requested_context(class_uid)
        else:
            entity.add_requested_context(class_uid, syntax)
    association = entity.associate(
        peer.host,
        peer.port or 0,
        ae_title=peer.title,
        ext_neg=list(roles),
        tls_args=None if tls is None else (tls, peer.host),
    )
    if not association.is_established:
        raise ConnectionError("There is no association.")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _store(association: Association, path: Path) -> bool:
    """Send one file; one that is refused does not hold up the next."""
    try:
        status = association.send_c_store(dcmread(path))
    except ValueError:
        # The peer does not take its kind.
        return False
    code = status.get("Status", None)
    return code == 0 or (code is not None and code & 0xF000 == _WARNING)


def _kind(path: Path) -> tuple[str, str]:
    """Read SOP class and transfer syntax of a file."""
    meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)


def _names(path: Path) -> tuple[str, str]:
    """Read instance and SOP class of a file."""
    meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
    return str(meta.MediaStorageSOPInstanceUID), str(meta.MediaStorageSOPClassUID)
