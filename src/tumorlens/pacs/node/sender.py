"""The calling half of the node: results go out by C-STORE, questions by C-FIND.

Tested in `tests/pacs/node/test_node.py` and `tests/pacs/node/test_wholeness.py`.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from tumorlens.pacs.node.peers import Peer

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 30.0
_WARNING = 0xB000
"""Statuses 0xB000 to 0xBFFF: stored, with a remark (DICOM PS3.4, annex B.2.3)."""
_PENDING = (0xFF00, 0xFF01)
"""Statuses of an answer to a query that is not the last (PS3.4, annex C.4.1.1.4)."""


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


def find(
    title: str, peer: Peer, wanted: Dataset, tls: ssl.SSLContext | None = None
) -> list[Dataset]:
    """Ask a peer by C-FIND, in the study root information model.

    Parameters
    ----------
    title, tls
        The same as for `send_files`.
    peer
        Peer that is asked; it has a port.
    wanted
        Identifier of the query.

    Raises
    ------
    ConnectionError
        It is not there, or does not answer.
    """
    model = StudyRootQueryRetrieveInformationModelFind
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


@contextmanager
def _association(
    title: str,
    peer: Peer,
    kinds: Iterable[tuple[str, str | None]],
    tls: ssl.SSLContext | None,
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
    meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
