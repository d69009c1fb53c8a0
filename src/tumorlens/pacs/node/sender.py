"""The calling half of the node: results go to their destination by C-STORE.

Tested in `tests/pacs/node/test_node.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.association import Association

from tumorlens.pacs.node.peers import Peer

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 30.0
_WARNING = 0xB000
"""Statuses 0xB000 to 0xBFFF: stored, with a remark (DICOM PS3.4, annex B.2.3)."""


def send_files(
    title: str,
    destination: Peer,
    files: Sequence[Path],
    sent: Callable[[Path], None],
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

    Returns
    -------
    bool
        Whether all arrived.
    """
    entity = AE(ae_title=title)
    entity.network_timeout = entity.dimse_timeout = _TIMEOUT_SECONDS
    entity.acse_timeout = entity.connection_timeout = _TIMEOUT_SECONDS
    kinds = {_kind(path) for path in files}
    for class_uid, syntax in sorted(kinds):
        entity.add_requested_context(class_uid, syntax)
    association = entity.associate(
        destination.host, destination.port or 0, ae_title=destination.title
    )
    if not association.is_established:
        return False
    arrived = 0
    try:
        for path in files:
            if _store(association, path):
                sent(path)
                arrived += 1
    except RuntimeError:
        # The association broke.
        pass
    finally:
        if association.is_established:
            association.release()
    if arrived < len(files):
        logger.warning("The destination took %d of %d files.", arrived, len(files))
    return arrived == len(files)


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
