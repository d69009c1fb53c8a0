"""Every error that TumorLens raises on purpose, as one tree.

Each carries a code for machines, a message that names what is wrong, a hint
that says what to do, and the HTTP status that fits.

Tested in `tests/contracts/test_python_api.py` and `tests/cli/test_hostile.py`.
"""

from __future__ import annotations

import warnings


def warn_of_old_name(old: str, new: str) -> None:
    """Tell a caller two frames up that a public name has changed.

    Parameters
    ----------
    old
        The name that was used; it works for one release.
    new
        The name that takes its place.
    """
    warnings.warn(
        f"{old} is now called {new}; the old name goes with the next release.",
        DeprecationWarning,
        stacklevel=3,
    )


class TumorLensError(Exception):
    """Base of the tree.

    Parameters
    ----------
    message
        Description of the error, naming the file and the value.
    hint
        Advice what the reader can do about it.
    """

    code = "error"
    http_status = 500
    default_hint = ""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint or self.default_hint
        super().__init__(message)

    @property
    def mend(self) -> str:
        """Old name of `hint`; it goes with the next release."""
        warn_of_old_name("mend", "hint")
        return self.hint

    def __str__(self) -> str:
        """Message and hint in one line."""
        return f"{self.message} {self.hint}".strip()


class InputError(TumorLensError):
    """The file that was given cannot be used."""

    code = "bad_input"
    http_status = 422


class MissingFileError(InputError):
    """A path leads nowhere, or holds nothing to read."""

    code = "not_found"
    http_status = 404
    default_hint = "Check the path."


class EmptyFileError(InputError):
    """The file has no bytes."""

    code = "empty_file"
    default_hint = "Export the picture again: the file holds nothing."


class UnknownFormatError(InputError):
    """The bytes are in no format that is read."""

    code = "unknown_format"
    http_status = 415


class DamagedFileError(InputError):
    """The format is known, the content is broken."""

    code = "damaged_file"
    default_hint = "Copy or export the file again."


class FatalFileError(DamagedFileError):
    """The content ends the process that decodes it, or outruns its time."""

    default_hint = "Export the file again, uncompressed."


class TooManyBrokenError(InputError):
    """A study's broken files cost more than its good ones could be worth."""

    code = "too_many_broken"


class TooLargeError(InputError):
    """A limit on size is passed."""

    code = "too_large"
    http_status = 413


class TooSmallError(InputError):
    """The picture is too small to hold a slice."""

    code = "too_small"
    default_hint = "Give the slice at its original size."


class SeveralPeopleError(InputError):
    """What was given as one study is of several people, or of several visits."""

    code = "several_people"
    default_hint = "Give the series of one study at a time."


class UnreadableFileError(InputError):
    """The system refuses to hand the file over."""

    code = "unreadable"
    http_status = 403
    default_hint = "Check the file's permissions."


class NotReadyError(TumorLensError):
    """The result that is asked for is still being computed."""

    code = "not_ready"
    http_status = 409
    default_hint = "Ask again once the status says 'done'."


class BusyError(TumorLensError):
    """The queue is full: no more work can be kept waiting.

    Attributes
    ----------
    retry_seconds
        Seconds after which to try again.
    """

    code = "busy"
    http_status = 503
    default_hint = "Try again in a few minutes."

    def __init__(self, message: str, hint: str = "", retry_seconds: int = 30) -> None:
        super().__init__(message, hint)
        self.retry_seconds = retry_seconds


class QuotaError(BusyError):
    """One client has as much under way as it may have."""

    code = "quota"
    http_status = 429
    default_hint = "Wait until what was sent before is done."


class TooSlowError(TumorLensError):
    """Work was ended because it took longer than it may."""

    code = "too_slow"
    http_status = 503
    default_hint = "Send less at a time."


class IdempotencyError(TumorLensError):
    """An Idempotency-Key stands for another request, or is none."""

    code = "idempotency_key"
    http_status = 422
    default_hint = "Send a new key with each new request."


class BundleError(TumorLensError):
    """The model bundle is missing, foreign or damaged."""

    code = "bad_bundle"
    http_status = 503
    default_hint = "Install TumorLens again, or export the bundle again."


class SettingError(TumorLensError):
    """A setting or option has a value that cannot be."""

    code = "bad_setting"
    http_status = 400


class OutputError(TumorLensError):
    """A result cannot be written where it was asked to go."""

    code = "cannot_write"
    default_hint = "Choose a folder that you may write to."


class DiskFullError(OutputError):
    """The disk under the store has no room left."""

    code = "disk_full"
    http_status = 507
    default_hint = "Try again later; whoever runs the server has to make room."


class ArchiveError(TumorLensError):
    """A DICOMweb server does not do, or answers something else than, it should."""

    code = "bad_archive"
    http_status = 502


class ArchiveDownError(ArchiveError):
    """A DICOMweb server cannot be reached or is busy; later it may do."""

    code = "archive_down"
    http_status = 503
    default_hint = "Check --url and whether the server runs."


class ArchiveAccessError(ArchiveError):
    """A DICOMweb server lets nobody in with these credentials, or is not trusted."""

    code = "archive_access"


class SourceDownError(TumorLensError):
    """An object store that holds the input does not answer; later it may do."""

    code = "source_down"
    http_status = 503
    default_hint = "Check the address, then run the same command again: it goes on."


def install_command(extra: str) -> str:
    """Say what can be typed to install an extra: from the clone, until a release."""
    return f"pip install '.[{extra}]', in the folder of the clone"


class MissingExtraError(TumorLensError):
    """A part is asked for that this installation leaves out."""

    code = "missing_extra"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the extra '{extra}', which is not installed.",
            f"Run: {install_command(extra)}",
        )


class MissingLibraryError(TumorLensError):
    """A library that is no part of TumorLens is needed, and not installed."""

    code = "missing_library"

    def __init__(self, what: str, library: str) -> None:
        super().__init__(
            f"{what} needs {library}, which is not installed.",
            f"Run: pip install {library}",
        )


class DatasetError(TumorLensError):
    """A data set, its manifest or its split cannot be used as it stands."""

    code = "bad_dataset"
    http_status = 400


class TrainingError(TumorLensError):
    """A training run cannot start, go on or be exported."""

    code = "bad_run"
    http_status = 400


class DivergedError(TrainingError):
    """The loss of a training run is no longer a number."""

    def __init__(self) -> None:
        super().__init__("The loss is no longer a number.", "Lower the learning rate.")
