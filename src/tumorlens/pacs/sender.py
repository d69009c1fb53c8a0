"""The calling half of the node: results go to their destination by C-STORE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE

from tumorlens.pacs.peers import Peer

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
        What the node is called.
    destination
        With its port.
    files
        DICOM files.
    sent
        Told of each that arrived, at once.

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
            status = association.send_c_store(dcmread(path))
            code = status.get("Status", None)
            if code != 0 and (code is None or code & 0xF000 != _WARNING):
                break
            sent(path)
            arrived += 1
    except (ValueError, RuntimeError):
        # The peer took none of our kinds, or the association broke.
        pass
    finally:
        if association.is_established:
            association.release()
    return arrived == len(files)


def _kind(path: Path) -> tuple[str, str]:
    meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
