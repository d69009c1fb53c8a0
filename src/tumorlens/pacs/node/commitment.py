"""Storage Commitment (DICOM PS3.4, annex J): what is asked, and what is answered.

Tested in `tests/pacs/node/test_commitment.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom import Dataset

from tumorlens.errors import InputError

ASK, COMMITTED, SOME_FAILED = 1, 1, 2
"""Action Type of a request; Event Types of a report (PS3.4, J.3.2 and J.3.3)."""

NO_SUCH_INSTANCE, CLASS_CONFLICT, NOT_SUPPORTED = 0x0112, 0x0119, 0x0122
"""Reasons for a failure (PS3.3, C.14.1.1)."""

MOST_INSTANCES = 20_000
"""Instances of one request."""

_LONGEST_UID = 64


@dataclass(frozen=True)
class CommitmentRequest:
    """Instances that somebody asks to be committed.

    Parameters
    ----------
    transaction
        UID of the request.
    instances
        SOP class by SOP instance UID.
    """

    transaction: str
    instances: Mapping[str, str]


@dataclass(frozen=True)
class CommitmentReport:
    """What is committed of a request, and what is not.

    Parameters
    ----------
    transaction
        UID of the request.
    committed
        SOP class by SOP instance UID.
    failed
        SOP class and reason by SOP instance UID.
    """

    transaction: str
    committed: Mapping[str, str]
    failed: Mapping[str, tuple[str, int]]


def write_request(request: CommitmentRequest) -> Dataset:
    """Make the action information of a request."""
    item = Dataset()
    item.TransactionUID = request.transaction
    item.ReferencedSOPSequence = [
        _reference(instance, kind) for instance, kind in request.instances.items()
    ]
    return item


def read_request(item: Dataset) -> CommitmentRequest:
    """Read the action information of a request.

    Raises
    ------
    InputError
        It breaks the rules, or names more than `MOST_INSTANCES`.
    """
    try:
        references = list(item.ReferencedSOPSequence)
        if not 0 < len(references) <= MOST_INSTANCES:
            raise InputError(
                f"A commitment of {len(references)} instances is asked for.",
                f"Ask for 1 to {MOST_INSTANCES} at a time.",
            )
        return CommitmentRequest(
            _uid(item.TransactionUID), dict(map(_read, references))
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            "A request for commitment breaks the rules.",
            "Name the transaction, and class and instance of each image.",
        ) from error


def write_report(report: CommitmentReport) -> Dataset:
    """Make the event information of a report."""
    item = Dataset()
    item.TransactionUID = report.transaction
    if report.committed:
        item.ReferencedSOPSequence = [
            _reference(instance, kind) for instance, kind in report.committed.items()
        ]
    if report.failed:
        item.FailedSOPSequence = []
        for instance, (kind, reason) in report.failed.items():
            reference = _reference(instance, kind)
            reference.FailureReason = reason
            item.FailedSOPSequence.append(reference)
    return item


def read_report(item: Dataset) -> CommitmentReport:
    """Read the event information of a report.

    Raises
    ------
    InputError
        It breaks the rules.
    """
    try:
        return CommitmentReport(
            _uid(item.TransactionUID),
            dict(map(_read, item.get("ReferencedSOPSequence") or ())),
            {
                _uid(each.ReferencedSOPInstanceUID): (
                    _uid(each.ReferencedSOPClassUID),
                    int(each.get("FailureReason") or 0),
                )
                for each in item.get("FailedSOPSequence") or ()
            },
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError("A report of commitment breaks the rules.") from error


def _read(reference: Dataset) -> tuple[str, str]:
    return (
        _uid(reference.ReferencedSOPInstanceUID),
        _uid(reference.ReferencedSOPClassUID),
    )


def _reference(instance: str, kind: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = kind, instance
    return item


def _uid(value: object) -> str:
    text = str(value)
    if not 0 < len(text) <= _LONGEST_UID or text.strip("0123456789."):
        raise ValueError("It is no UID.")
    return text
