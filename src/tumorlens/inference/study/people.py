"""Whether series are of one person and one visit, as headers and file names say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tumorlens.errors import SeveralPeopleError
from tumorlens.imaging.dicom.header import patient_of, text
from tumorlens.imaging.study import Series

_BIDS = {
    "person": re.compile(r"(?<![a-z0-9])sub-([a-z0-9]+)"),
    "visit": re.compile(r"(?<![a-z0-9])ses-([a-z0-9]+)"),
}
_NAMED_PERSON = re.compile(
    r"(?<![a-z0-9])(?:subject|subj|patient|pat|case|person)[-_ ]?(\d+)"
)
_NUMBER = re.compile(r"(?<![a-z0-9])([a-z]*\d{3,})(?![a-z0-9])")
_SETTING = re.compile(r"(?:tr|te|ti|fa|b|fov|s|se|p|e)?\d+")
"""Settings of a scan and numbers of series look like numbers of people."""
_SHORT = 4
"""Digits below which a bare number counts as that of a series."""

DICOM_PEOPLE = "The DICOM files are of {count} patients."
DICOM_VISITS = "The DICOM files are of {count} studies of one patient."
FILE_PEOPLE = "{one} and {other} look like files of two people."
FILE_VISITS = "{one} and {other} are of two visits."
ONE_STUDY = "Give the series of one study at a time."
BY_NAME = (
    "Give the files of one person at a time; if the names mislead, say that all are of "
    "one person."
)
MIXED = (
    "DICOM and other files were given, and nothing says that they are of one person."
)


def check_one_person(series: Sequence[Series], trust_names: bool = True) -> None:
    """Make sure that series are of one person and one visit.

    DICOM headers say so. Of other files the names are looked at: the words ``sub-``
    and ``ses-`` of BIDS, a number after a word such as patient or case, or any long
    number; files whose names hold none are taken to be of the same person.

    Parameters
    ----------
    series
        At least one.
    trust_names
        Whether the names of files that are no DICOM count; without them the caller
        vouches that all are of one person.

    Raises
    ------
    SeveralPeopleError
        They are of several people or visits. The message names files at most, never
        what a header says of the patient.
    """
    dicom = [item for item in series if item.headers]
    files = [item for item in series if not item.headers]
    _check_dicom(dicom)
    if not trust_names:
        return
    if dicom and files:
        raise SeveralPeopleError(MIXED, BY_NAME)
    _check_names([item.slices[0].source for item in files])


def _check_dicom(series: Iterable[Series]) -> None:
    people, visits = set(), set()
    for item in series:
        for header in item.headers:
            people.add(patient_of(header))
            visits.add(text(header, "StudyInstanceUID"))
    # A header that says nothing contradicts nobody.
    for found, words in ((people, DICOM_PEOPLE), (visits, DICOM_VISITS)):
        count = len(found - {""})
        if count > 1:
            raise SeveralPeopleError(words.format(count=count), ONE_STUDY)


def _check_names(names: Sequence[str]) -> None:
    for what, words in (("person", FILE_PEOPLE), ("visit", FILE_VISITS)):
        said = {name: _said(name, what) for name in names}
        known = [name for name in names if said[name]]
        for name in known[1:]:
            if said[name] != said[known[0]]:
                raise SeveralPeopleError(
                    words.format(one=known[0], other=name), BY_NAME
                )


def _said(name: str, what: str) -> frozenset[str]:
    """Take out of a path what names a person, or a visit."""
    lowered = name.lower()
    named = _BIDS[what].findall(lowered)
    if named or what == "visit":
        return frozenset(named)
    found = _NAMED_PERSON.findall(lowered) or [
        word for word in _NUMBER.findall(lowered) if not _is_setting(word)
    ]
    return frozenset(found)


def _is_setting(word: str) -> bool:
    if word.isdecimal():
        return len(word) < _SHORT
    return _SETTING.fullmatch(word) is not None
