"""What lies on a disk or in memory becomes a Study: formats are told by content."""

from __future__ import annotations

import io
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tumorlens.errors import (
    DamagedFileError,
    EmptyFileError,
    InputError,
    MissingFileError,
    TooLargeError,
    TooManyBrokenError,
    UnknownFormatError,
    UnreadableFileError,
)
from tumorlens.imaging.archive import archive_contents
from tumorlens.imaging.bids import (
    GIVE_A_SCAN,
    MAX_SIDECAR_BYTES,
    described,
    inherited_sidecar,
    reason_aside,
    sidecar_names,
)
from tumorlens.imaging.formats import (
    GZIP_START,
    START_BYTES,
    Format,
    display_name,
    format_of,
    is_archive,
    is_dicom,
    is_dicomdir,
    is_named_archive,
    is_nifti,
    is_packed_file,
    is_raster,
    natural_order,
    unknown_format,
    unpacked_start,
)
from tumorlens.imaging.limits import (
    FREE_UNPACKED_BYTES,
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    MAX_RATIO,
    MAX_STUDY_PIXELS,
    BrokenFiles,
    check_file_size,
    check_unpacked,
)
from tumorlens.imaging.readers.detached import (
    HEADER_SUFFIXES,
    data_file_names,
    is_detached_header,
    joined,
    loose_pairs,
)
from tumorlens.imaging.readers.metaimage import read_metaimage
from tumorlens.imaging.readers.mgh import read_mgh
from tumorlens.imaging.readers.nifti import read_nifti
from tumorlens.imaging.readers.nrrd import read_nrrd
from tumorlens.imaging.readers.raster import has_pages, read_raster
from tumorlens.imaging.readers.volume_file import LABELLED, holds_labels
from tumorlens.imaging.study import Series, Study, left_out, to_slice

_ONE_SLICE_BYTES = 4 * 2**20
"""A DICOM file of at most so many bytes is most often one slice."""


def holds_many_pages(data: bytes) -> bool:
    """Tell whether a file may take long to read, without reading it.

    Parameters
    ----------
    data
        The whole file.

    Returns
    -------
    bool
        False for a picture of one page, and for a DICOM file as large as one slice.
    """
    kind = format_of(data)
    if kind is Format.RASTER:
        return has_pages(data)
    return kind is not Format.DICOM or len(data) > _ONE_SLICE_BYTES


def read_archive(data: bytes, name: str) -> Study:
    """Read an archive of slices or series.

    Parameters
    ----------
    data
        The whole archive.
    name
        Name for messages, and the start of `Slice.source`.

    Raises
    ------
    InputError
        Whatever `archive_contents` and `read_collection` raise it.
    """
    failures: list[tuple[str, InputError]] = []
    sidecars: dict[str, bytes] = {}
    contents = archive_contents(data, name, failures, sidecars)
    return read_collection(contents, name, failures, sidecars)


def _read_dicom(data: bytes, name: str) -> Study:
    # What reads DICOM loads slowly, and a picture's answer does not wait for it.
    from tumorlens.imaging.dicom.grouping import read_dicom

    return read_dicom(data, name)


_READERS: dict[Format, Callable[[bytes, str], Study]] = {
    Format.RASTER: read_raster,
    Format.DICOM: _read_dicom,
    Format.NIFTI: read_nifti,
    Format.NRRD: read_nrrd,
    Format.METAIMAGE: read_metaimage,
    Format.MGH: read_mgh,
}
"""What turns the bytes of a file, and its name for messages, into a study."""


def read_study(
    source: str | Path | bytes, name: str | None = None, volume: int | None = None
) -> Study:
    """Read a file, whatever its format, or a folder of a study.

    Parameters
    ----------
    source
        A path to a file or folder, or the bytes of a file.
    name
        Name for messages; by default the path, or ``picture``.
    volume
        Number of the volume in a NIfTI file that holds several (4-D), from 0.

    Returns
    -------
    Study
        At least one slice.

    Raises
    ------
    InputError
        One of its kinds: the file is missing, empty, not readable, in an
        unknown format, damaged, or passes a limit on size; a volume is given
        where there is none to choose. The message names the file.
    """
    sidecar = None
    if isinstance(source, bytes):
        label = display_name(name) if name else "picture"
        check_file_size(len(source), label)
        data = _unpacked(source, label)
    else:
        label = display_name(name or source)
        path = Path(source)
        if _is_folder(path):
            if volume is not None:
                raise _nothing_to_choose(label)
            return read_folder(path, label)
        data = _unpacked(_read_bytes(path, label), label)
        if not is_raster(data):
            if is_dicomdir(data):
                return _read_disc(path, data, label)
            is_voxels = path.name.lower().endswith((".img", ".img.gz"))
            if is_voxels and format_of(data) is None:
                path, data = _header_beside(path, data)
            data = _with_second_file(path, data, label)
            sidecar = _sidecar_of(path)
    if not data:
        raise EmptyFileError(f"{label} is empty.")
    if volume is not None:
        if not is_nifti(data):
            raise _nothing_to_choose(label)
        return described(read_nifti(data, label, volume), label, sidecar)
    if is_raster(data):
        return read_raster(data, label)
    if is_archive(data):
        return read_archive(data, label)
    study = described(_read_one(data, label), label, sidecar)
    is_volume = study.series[0].grid is not None
    if is_volume and holds_labels(study.slices) and not _says_labels(study):
        study = Study(study.series, (*study.notes, _LABELS))
    reason = reason_aside(label)
    if reason:
        note = f"By its name the file {reason}; give the scan itself."
        study = Study(study.series, (*study.notes, note))
    return study


_LABELS = (
    f"The volume holds very few different values, as labels do {LABELLED}: where it is "
    "one, give the series itself."
)


def _says_labels(study: Study) -> bool:
    return any(LABELLED in note for note in study.notes)


def _unpacked(data: bytes, name: str) -> bytes:
    """Unpack a DICOM file or a picture that gzip packed.

    Raises
    ------
    TooLargeError
        Where it inflates to more than a file of its size may.
    DamagedFileError
        Where it is cut off or broken.
    """
    if not is_packed_file(data):
        return data
    most = min(MAX_FILE_BYTES, max(FREE_UNPACKED_BYTES, MAX_RATIO * len(data)))
    if unpacked_start(data, 2) == GZIP_START:
        # What is packed already hardly shrinks, and is unpacked once more.
        most = min(most, 2 * len(data) + START_BYTES)
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = unpacker.decompress(data, most)
    except zlib.error as error:
        raise DamagedFileError(f"{name} has a broken packed part.") from error
    if unpacker.unconsumed_tail:
        raise TooLargeError(
            f"{name} inflates from {len(data) / 2**20:.1f} MB to over "
            f"{most / 2**20:.0f} MB.",
            "Give it unpacked.",
        )
    if not unpacker.eof:
        raise DamagedFileError(f"{name} is cut off inside its packed part.")
    return content


def _header_beside(path: Path, data: bytes) -> tuple[Path, bytes]:
    """Take the header of a volume where the file of its voxels was given."""
    stem = re.sub(r"\.img(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    for end in (".hdr", ".HDR", ".hdr.gz", ".HDR.GZ"):
        header = path.with_name(f"{stem}{end}")
        if header.is_file() and not header.is_symlink():
            start = _read_bytes(header, display_name(header))
            if path.name in data_file_names(start, header.name):
                return header, start
    return path, data


def _with_second_file(path: Path, data: bytes, label: str) -> bytes:
    """Join the header of a volume with the file of its voxels, which lies beside it."""
    if len(data) > START_BYTES:
        return data
    for name in data_file_names(data, path.name):
        second = path.with_name(name)
        if second.is_file() and not second.is_symlink():
            return joined(data, _read_bytes(second, display_name(second)), label)
    return data


def _read_disc(path: Path, data: bytes, label: str) -> Study:
    """Read the files that a DICOMDIR lists."""
    from tumorlens.imaging.dicom.header import listed_files

    listed_images = listed_files(data, label)[:MAX_ENTRIES]
    present_files = [
        file for parts in listed_images if (file := _below(path.parent, parts))
    ]
    if not present_files:
        raise MissingFileError(
            f"{label} is a DICOMDIR, the table of contents of a disc; it lists "
            f"{len(listed_images)} images, none of which lies beside it.",
            "Give the folder that holds the whole disc.",
        )
    notes: tuple[str, ...] = ()
    if len(present_files) < len(listed_images):
        notes = (
            f"{len(listed_images) - len(present_files)} of {len(listed_images)} "
            "images that the DICOMDIR lists are missing.",
        )

    def contents() -> Iterator[tuple[str, bytes]]:
        for number, file in enumerate(present_files, 1):
            yield f"{label}#{number}", _read_bytes(file, f"{label}#{number}")

    study = read_collection(contents(), label)
    return Study(study.series, (*notes, *study.notes))


def _below(folder: Path, parts: tuple[str, ...]) -> Path | None:
    """Find a file below a folder, whatever the case of its name."""
    for part in parts:
        name = part.strip()
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            return None
        exact = folder / name
        try:
            if not exact.exists():
                same_names = (name.casefold(), f"{name};1".casefold())
                exact = next(
                    x for x in folder.iterdir() if x.name.casefold() in same_names
                )
        except (OSError, StopIteration):
            return None
        folder = exact
    return folder if folder.is_file() and not folder.is_symlink() else None


def _nothing_to_choose(label: str) -> InputError:
    return InputError(
        f"{label} is no NIfTI file, so there is no volume to choose.",
        "Leave the volume out.",
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except ValueError:
        return False


def _read_bytes(path: Path, label: str) -> bytes:
    try:
        status = path.stat()
        # A pipe or a device could keep the reader waiting for ever.
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFileError(
                f"{label} is no ordinary file.", "Copy its content into a file."
            )
        check_file_size(status.st_size, label)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        if _is_link(path):
            raise _missing_target(label) from error
        raise MissingFileError(f"{label} does not exist.") from error
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise UnreadableFileError(f"{label} cannot be read: {reason}.") from error


def read_folder(path: Path, label: str) -> Study:
    """Read all files of a folder and of those inside it, by content.

    Links to files are followed, links to folders are not. Hidden files and what is no
    ordinary file are skipped.

    Parameters
    ----------
    path
        The folder.
    label
        Name for messages and for `Slice.source`.

    Raises
    ------
    InputError
        Where no file in it can be used, or a limit is passed.
    """
    failures: list[tuple[str, InputError]] = []
    sidecars: dict[str, bytes] = {}
    contents = _folder_contents(path, label, failures, sidecars)
    return read_collection(contents, label, failures, sidecars)


def _folder_contents(
    folder: Path,
    label: str,
    failures: list[tuple[str, InputError]],
    sidecars: dict[str, bytes],
) -> Iterator[tuple[str, bytes]]:
    count = 0
    for place, inside, names in os.walk(folder, onerror=_refuse(label)):
        inside[:] = sorted(
            (item for item in inside if not item.startswith(".")), key=natural_order
        )
        belonging = belonging_files(Path(place), names)
        for name in sorted(names, key=natural_order):
            file = Path(place, name)
            if name.startswith(".") or name in belonging:
                continue
            status = file.lstat()
            if stat.S_ISLNK(status.st_mode):
                # Data sets under version control (DataLad) are folders of links.
                try:
                    status = file.stat()
                except OSError:
                    shown = f"{label}/{display_name(file.relative_to(folder))}"
                    failures.append((shown, _missing_target(shown)))
                    continue
            if not stat.S_ISREG(status.st_mode):
                continue
            count += 1
            if count > MAX_ENTRIES:
                raise TooLargeError(
                    f"{label} holds more than {MAX_ENTRIES:,} files.",
                    "Give one study at a time.",
                )
            shown = f"{label}/{display_name(file.relative_to(folder))}"
            if not status.st_size:
                failures.append((shown, EmptyFileError(f"{shown} is empty.")))
                continue
            start = _start_of(file, shown)
            if is_dicomdir(start):
                continue
            seconds = data_file_names(start, name)
            if is_named_archive(start, name):
                try:
                    content = _read_bytes(file, shown)
                except TooLargeError as error:
                    # An installer beside the pictures.
                    failures.append((shown, error))
                else:
                    yield shown, content
                continue
            if format_of(start) is None and not seconds:
                failures.append((shown, unknown_format(start, shown)))
                continue
            content = _with_second_file(file, _read_bytes(file, shown), shown)
            sidecar = _sidecar_of(file, folder)
            if sidecar is not None:
                sidecars[shown] = sidecar
            yield shown, content


def _missing_target(name: str) -> MissingFileError:
    return MissingFileError(
        f"{name} is a link to a file that is not there.",
        "Fetch its content first (`datalad get` or `git annex get`).",
    )


def belonging_files(folder: Path, names: Iterable[str]) -> set[str]:
    """Find the files of a folder that are read with another file of it.

    These are sidecars of volumes, and files of voxels that a header beside them names.

    Parameters
    ----------
    folder
        The folder.
    names
        Names of its files.
    """
    there = set(names)
    companions = {x for name in there for x in sidecar_names(name)} & there
    for name in there:
        if not name.lower().endswith(HEADER_SUFFIXES):
            continue
        path = folder / name
        try:
            if stat.S_ISREG(path.lstat().st_mode):
                seconds = data_file_names(_start_of(path, name), name)
                companions.update([x for x in seconds if x in there][:1])
        except (OSError, InputError):
            # It is told of when the file itself is read.
            continue
    return companions


def _sidecar_of(file: Path, top: Path | None = None) -> bytes | None:
    """Read the sidecar of a volume: its own, or that of a folder up to the top one."""
    places = [file.with_name(name) for name in sidecar_names(file.name)]
    inherited = inherited_sidecar(file.name)
    if inherited and top is not None:
        inside = file.relative_to(top).parents
        places += [top / folder / inherited for folder in inside]
    for place in places:
        try:
            status = place.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_SIDECAR_BYTES:
                return place.read_bytes()
        except OSError:
            continue
    return None


def _start_of(file: Path, label: str) -> bytes:
    """Read the first bytes of a file, which tell its format."""
    try:
        with file.open("rb") as opened:
            return opened.read(START_BYTES)
    except OSError as error:
        raise _unreadable(label, error) from error


def _unreadable(label: str, error: OSError) -> UnreadableFileError:
    reason = (error.strerror or "unknown reason").lower()
    return UnreadableFileError(f"{label} cannot be read: {reason}.")


def _refuse(label: str) -> Callable[[OSError], None]:
    def refuse(error: OSError) -> None:
        raise _unreadable(label, error) from error

    return refuse


def read_collection(
    files: Iterable[tuple[str, bytes]],
    label: str,
    failures: list[tuple[str, InputError]] | None = None,
    sidecars: dict[str, bytes] | None = None,
) -> Study:
    """Read the files of a folder or an archive together.

    DICOM files are sorted into series; each other file is a series of its own.
    Files that cannot be used are left out, with a note.

    Parameters
    ----------
    files
        Name and bytes of each; taken one by one.
    label
        Name of the whole, for messages.
    failures
        Names and errors of skipped files, filled as `files` are taken.
    sidecars
        Sidecars of volumes by their name, filled as `files` are taken.

    Raises
    ------
    InputError
        Where no file can be used: the first one's reason, of those that are
        pictures if any is.
    TooManyBrokenError
        Where the files that cannot be read cost too much (see `BrokenFiles`).
    """
    from tumorlens.imaging.dicom.grouping import gather_series

    failures = [] if failures is None else failures
    sidecars = {} if sidecars is None else sidecars
    others: list[Study] = []
    loose = _LooseFiles()
    broken = BrokenFiles(label)
    pixels = size = 0

    def dicom_only() -> Iterator[tuple[str, bytes]]:
        nonlocal pixels, size
        every_file = chain(files, loose.volumes(failures))
        for name, data in _without_archives(every_file, failures, sidecars):
            if not data:
                failures.append((name, EmptyFileError(f"{name} is empty.")))
                continue
            if is_packed_file(data):
                content = None
                with broken.passing_over(name, failures):
                    content = _unpacked(data, name)
                if content is None:
                    continue
                data = content
            if is_dicom(data) and not is_dicomdir(data):
                yield name, data
                continue
            if loose.take(name, data):
                continue
            size += len(data)
            study = None
            reason = reason_aside(name)
            if reason:
                failures.append((name, InputError(f"{name} {reason}.", GIVE_A_SCAN)))
                continue
            with broken.passing_over(name, failures):
                sidecar = sidecars.get(name)
                study = described(_read_one(data, name), name, sidecar)
            if study is None:
                continue
            others.append(study)
            pixels += sum(item.pixels.size for item in study.slices)
            if pixels > MAX_STUDY_PIXELS:
                raise TooLargeError(
                    f"{label} holds more than {MAX_STUDY_PIXELS // 10**6} million "
                    "pixels.",
                    "Give one series at a time.",
                )
            check_unpacked(pixels, 4, size, label)

    series: tuple[Series, ...] = ()
    notes: tuple[str, ...] = ()
    first: InputError | None = None
    try:
        study, _ = gather_series(dicom_only(), broken)
        series, notes = study.series, study.notes
    except (TooLargeError, TooManyBrokenError):
        raise
    except MissingFileError:
        pass
    except InputError as error:
        first = error
    for item in _without_labels(others, failures):
        series += item.series
        notes += item.notes
    if not series:
        if first is not None:
            raise first
        if failures:
            raise min(failures, key=_is_unknown)[1]
        raise MissingFileError(f"{label} holds no file that can be read.")
    if first is not None:
        notes += ("Its DICOM files could not be used.",)
    patients = {item.patient for item in series if item.patient}
    if len(patients) > 1:
        notes += (
            f"The files are of {len(patients)} patients; each series is judged by "
            "itself.",
        )
    notes += loose.notes
    return Study(series, (*notes, *left_out(failures)))


def _without_labels(
    others: list[Study], failures: list[tuple[str, InputError]]
) -> list[Study]:
    """Set volumes aside whose values are labels, where there are scans among them."""
    labelled = [
        study.series[0].grid is not None and holds_labels(study.slices)
        for study in others
    ]
    if all(labelled):
        return others
    for study, is_labelled in zip(others, labelled, strict=True):
        if is_labelled:
            name = study.slices[0].source
            reason = f"{name} holds labels {LABELLED} by its few values."
            failures.append((name, InputError(reason, GIVE_A_SCAN)))
    return [
        study
        for study, is_labelled in zip(others, labelled, strict=True)
        if not is_labelled
    ]


def _without_archives(
    files: Iterable[tuple[str, bytes]],
    failures: list[tuple[str, InputError]],
    sidecars: dict[str, bytes],
) -> Iterator[tuple[str, bytes]]:
    """Give the files of archives that came among others in their place."""
    for name, data in files:
        if not is_archive(data):
            yield name, data
            continue
        try:
            yield from archive_contents(data, name, failures, sidecars)
        except InputError as error:
            failures.append((name, error))


class _LooseFiles:
    """Headers and files of voxels that came without names, until all have come.

    Attributes
    ----------
    notes
        What was joined, as full sentences.
    """

    def __init__(self) -> None:
        self._headers: list[tuple[int, bytes]] = []
        self._others: list[tuple[int, bytes]] = []
        self._names: list[str] = []
        self._bytes = 0
        self._is_over = False
        self.notes: tuple[str, ...] = ()

    def take(self, name: str, data: bytes) -> bool:
        """Keep a header without voxels, or a file of no format that may be voxels."""
        if self._is_over:
            return False
        place = len(self._names)
        self._names.append(name)
        if len(data) <= START_BYTES and is_detached_header(data):
            self._headers.append((place, data))
            return True
        if format_of(data) is not None or self._bytes + len(data) > _MOST_LOOSE_BYTES:
            return False
        self._bytes += len(data)
        self._others.append((place, data))
        return True

    def volumes(
        self, failures: list[tuple[str, InputError]]
    ) -> Iterator[tuple[str, bytes]]:
        """Join what fits together; give the rest as it came."""
        self._is_over = True
        pairs, by_order = loose_pairs(self._headers, self._others)
        contents = dict((*self._headers, *self._others))
        for place in sorted(contents.keys() - set(pairs.values())):
            name, data = self._names[place], contents[place]
            if place in pairs:
                try:
                    data = joined(data, contents[pairs[place]], name)
                except InputError as error:
                    failures.append((name, error))
                    continue
            yield name, data
        if pairs:
            order = ", and by the order in which they came" if by_order else ""
            self.notes = (
                f"{len(pairs)} headers of volumes and the files of their voxels came "
                f"loose; they were joined by size{order}."
                if len(pairs) > 1
                else "The header of a volume and the file of its voxels came loose; "
                f"they were joined by size{order}.",
            )


_MOST_LOOSE_BYTES = 2 * MAX_FILE_BYTES


def _is_unknown(failure: tuple[str, InputError]) -> bool:
    return isinstance(failure[1], UnknownFormatError)


def _read_one(data: bytes, name: str) -> Study:
    """Read a file of any format but an archive."""
    file_format = format_of(data)
    if file_format is None and is_detached_header(data):
        raise InputError(
            f"{name} is the header of a volume whose voxels lie in a second file.",
            "Give both files, or save them as one .nii.gz file.",
        )
    if file_format is None:
        raise unknown_format(data, name)
    return _READERS[file_format](data, name)


Picture: TypeAlias = Any
"""A path, the bytes of a file, a file opened for reading bytes, an array (H, W) or
(H, W, 3), a Pillow image, a pydicom dataset, a nibabel image, or a `Study`.

It is Any, since none of these libraries is imported for its types."""

SINGLE = (str, Path, bytes, np.ndarray, Study)
"""Types of one picture, beside the objects of other libraries."""

_ANIMATION = "Of {count} frames the one at which the image stands was read."


def is_single(source: object) -> bool:
    """Tell whether an object is one picture, and no list of them."""
    # Files and datasets can be gone through, and are no lists of pictures.
    return isinstance(source, SINGLE) or _library(source) != "" or _is_file(source)


def read(source: Picture, name: str | None = None, volume: int | None = None) -> Study:
    """Read a picture or a study, in whatever form it is at hand.

    Parameters
    ----------
    source
        A path to a file or folder; the bytes of a file, or a file opened for reading
        bytes; an array of shape (H, W), or (H, W, 3) in RGB, with finite numbers; a
        Pillow image; a nibabel image; a pydicom dataset, or a list of those of one
        study; or a `Study`, which is returned as it is.
    name
        Name for messages; by default the path, or the kind of source.
    volume
        Number of the volume in a NIfTI file that holds several (4-D), from 0.

    Returns
    -------
    Study
        At least one slice.

    Raises
    ------
    InputError
        It cannot be read. The message names the source.
    """
    if isinstance(source, Study):
        return source
    if isinstance(source, str | Path | bytes):
        return read_study(source, name, volume)
    if isinstance(source, np.ndarray):
        slice_ = to_slice(source, name or "array")
        return Study((Series((slice_,)),))
    if _is_file(source):
        return read_study(_contents(source), name or _file_name(source), volume)
    library = _library(source)
    if library == "PIL":
        return _read_pillow(source, name or _file_name(source) or "image")
    if library == "nibabel":
        label = name or display_name(source.get_filename() or "image")
        return read_study(_nifti_bytes(source), label, volume)
    datasets = [source] if library == "pydicom" else source
    if _are_datasets(datasets):
        return _read_datasets(datasets, name or "dataset")
    raise InputError(
        f"A picture cannot be a {type(source).__name__}.",
        "Give a path, the bytes of a file, an open file, a NumPy array, a Pillow or "
        "nibabel image, a pydicom dataset or a Study.",
    )


def source_name(source: object) -> str:
    """Name a source that could not be read, for a message."""
    if isinstance(source, str | Path):
        return display_name(source)
    if isinstance(source, np.ndarray):
        return "array"
    return _file_name(source) or "picture"


def _library(source: object) -> str:
    """Name the library whose image or dataset an object is; empty for none."""
    for kind in type(source).__mro__:
        package = kind.__module__.partition(".")[0]
        if (package, kind.__name__) in (
            ("PIL", "Image"),
            ("pydicom", "Dataset"),
            ("nibabel", "SpatialImage"),
        ):
            return package
    return ""


def _is_file(source: object) -> bool:
    return callable(getattr(source, "read", None)) and not _library(source)


def _file_name(source: object) -> str | None:
    """Return the name of an open file or image as far as it has one."""
    for attribute in ("name", "filename"):
        name = getattr(source, attribute, None)
        if isinstance(name, str) and name:
            return display_name(name)
    return None


def _contents(file: Any) -> bytes:  # noqa: ANN401 - whatever has `read`
    data = file.read()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise InputError(
        f"{_file_name(file) or 'The file'} was opened as text.",
        "Open it for reading bytes: open(path, 'rb').",
    )


def _read_pillow(image: Any, name: str) -> Study:  # noqa: ANN401 - PIL.Image.Image
    from PIL import ImageOps

    frames = getattr(image, "n_frames", 1)
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F"):
            upright = upright.convert("F" if upright.mode[0] == "I" else "RGB")
        file = io.BytesIO()
        if upright.mode == "F":
            upright.save(file, "TIFF")
        else:
            upright.save(file, "PNG", compress_level=1)
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedFileError(f"{name} cannot be decoded.") from error
    study = read_study(file.getvalue(), name)
    if frames < 2:
        return study
    return Study(study.series, (*study.notes, _ANIMATION.format(count=frames)))


def _nifti_bytes(image: Any) -> bytes:  # noqa: ANN401 - nibabel's SpatialImage
    """Write a nibabel image of any format as a NIfTI file in memory."""
    import nibabel

    if not isinstance(image, nibabel.Nifti1Image):
        image = nibabel.Nifti1Image.from_image(image)
    data: bytes = image.to_bytes()
    return data


def _are_datasets(source: object) -> bool:
    return (
        isinstance(source, Sequence)
        and len(source) > 0
        and all(_library(item) == "pydicom" for item in source)
    )


def _read_datasets(datasets: Sequence[Any], name: str) -> Study:
    """Read DICOM datasets as the files that they would be."""
    from tumorlens.imaging.dicom.grouping import gather_series

    several = len(datasets) > 1
    files = (
        (f"{name}#{place}" if several else name, _dicom_bytes(dataset, name))
        for place, dataset in enumerate(datasets, 1)
    )
    return gather_series(files)[0]


def _dicom_bytes(dataset: Any, name: str) -> bytes:  # noqa: ANN401 - pydicom's Dataset
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

    file = io.BytesIO()
    meta = getattr(dataset, "file_meta", None)
    try:
        if meta is None or "TransferSyntaxUID" not in meta:
            # Made in memory: its pixels are as they are.
            dataset = pydicom.dataset.Dataset(dataset)
            dataset.file_meta = pydicom.dataset.FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    except (AttributeError, ValueError, TypeError, KeyError, OSError) as error:
        raise DamagedFileError(
            f"{name} is a DICOM dataset that cannot be written as a file.",
            "Give the file that it was read from.",
        ) from error
    return file.getvalue()
