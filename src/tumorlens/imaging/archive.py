"""Zip and tar archives are read in memory: nothing is ever unpacked onto the disk.

A tar archive, plain or packed by gzip, is packed again as zip, member by member: the
limits of one kind are then those of the other.
"""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from tumorlens.errors import (
    DamagedFileError,
    EmptyFileError,
    InputError,
    TooLargeError,
)
from tumorlens.imaging.bids import (
    MAX_SIDECAR_BYTES,
    inherited_sidecar,
    sidecar_names,
)
from tumorlens.imaging.formats import (
    GZIP_START,
    START_BYTES,
    display_name,
    format_of,
    is_archive,
    is_dicom,
    is_dicomdir,
    is_named_archive,
    is_tar,
    natural_order,
    unknown_format,
)
from tumorlens.imaging.limits import (
    FREE_UNPACKED_BYTES,
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    MAX_RATIO,
    MAX_UNPACKED_BYTES,
)
from tumorlens.imaging.readers.detached import data_file_names, joined
from tumorlens.imaging.readers.volume_file import unpacked_chunks

_END = b"PK\5\6"
_MAX_DIRECTORY_BYTES = 8 * 2**20
_SMALL_BYTES = 2**20
_LOCATOR_BYTES = 20
_WIDE_END_BYTES = 56
_HEADER_BYTES = 30
_UTF_8 = 0x800

_MAX_TAR_TEXT = 2**14
"""Bytes of a header that holds a long name."""

_PLAIN_BYTES = 96 * 2**20
"""Bytes of a tar archive that are held as they are; the rest is packed, which takes
longer."""

_MAX_INNER_BYTES = 64 * 2**20
"""Bytes of an archive inside another, which both lie in memory."""


def archive_contents(
    data: bytes,
    name: str,
    failures: list[tuple[str, InputError]],
    sidecars: dict[str, bytes] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Unpack the pictures of an archive, one after the other.

    Of each file the first bytes tell whether it is one; what is none, however large,
    is skipped unread. An archive in the archive is unpacked too, and none in that one.

    Parameters
    ----------
    data
        The whole archive.
    name
        Name for messages, and the start of each file's name.
    failures
        List that gets the name and error of each skipped file.
    sidecars
        Gets the sidecar of each volume that has one, by the volume's name.

    Yields
    ------
    tuple of str and bytes
        Name and content of each file. Names of DICOM files are the sender's, and may
        hold the patient's: they are numbered; others keep their last part.

    Raises
    ------
    DamagedFileError
        Where it is cut off or broken, or a member is not as long as stated.
    TooLargeError
        Where it holds or inflates to more than `limits` allow.
    InputError
        Where it is encrypted, holds sparse files, or a name that leads out of it.
    """
    yield from _unpacked(data, name, failures, sidecars, _Total(len(data), name))


def _unpacked(
    data: bytes,
    name: str,
    failures: list[tuple[str, InputError]],
    sidecars: dict[str, bytes] | None,
    total: _Total,
    is_inner: bool = False,
) -> Iterator[tuple[str, bytes]]:
    if is_tar(data):
        data = _zip_of_tar(data, name, failures, total)
    _check_directory(data, name)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [item for item in archive.infolist() if not item.is_dir()]
            _check_members(archive.infolist(), name)
            total.add_entries(len(members))
            for item in members:
                item.orig_filename = _name_in_header(item, data)
            yield from _contents(
                archive, members, name, failures, sidecars, total, is_inner
            )
    except InputError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        ValueError,
        EOFError,
        IndexError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DamagedFileError(
            f"{name} starts like a zip archive, but is cut off or broken."
        ) from error


def _check_directory(data: bytes, name: str) -> None:
    """Look at the end record first: a long list of members takes much memory."""
    end = data.rfind(_END, max(0, len(data) - 2**16 - 22))
    if end < 0 or end + 22 > len(data):
        raise DamagedFileError(f"{name} starts like a zip archive, but has no end.")
    count = int.from_bytes(data[end + 10 : end + 12], "little")
    size = int.from_bytes(data[end + 12 : end + 16], "little")
    start = int.from_bytes(data[end + 16 : end + 20], "little")
    locator = data[max(0, end - _LOCATOR_BYTES) : end]
    if locator.startswith(b"PK\6\7"):
        # Some servers write the wide kind whatever the size. Which record counts, the
        # one named here or the one right before, differs between versions of Python.
        record = end - _LOCATOR_BYTES - _WIDE_END_BYTES
        wide = data[max(0, record) : record + _WIDE_END_BYTES]
        stated = int.from_bytes(locator[8:16], "little")
        if stated != record or not wide.startswith(b"PK\6\6"):
            raise DamagedFileError(f"{name} starts like a zip archive, but has no end.")
        count = int.from_bytes(wide[32:40], "little")
        size = int.from_bytes(wide[40:48], "little")
    elif start + size != end:
        # The end of an archive inside, of which the outer one is cut off.
        raise DamagedFileError(f"{name} starts like a zip archive, but has no end.")
    if count > MAX_ENTRIES or size > _MAX_DIRECTORY_BYTES:
        raise _too_many(name)


def _name_in_header(item: zipfile.ZipInfo, data: bytes) -> str:
    """Read a member's name where it starts: some writers turn its slashes round.

    `zipfile` reads no member whose names differ, and nothing is unpacked by its name.
    """
    start = item.header_offset
    length = int.from_bytes(data[start + 26 : start + 28], "little")
    raw = data[start + _HEADER_BYTES : start + _HEADER_BYTES + length]
    try:
        text = raw.decode("utf-8" if item.flag_bits & _UTF_8 else "cp437")
    except UnicodeDecodeError:
        return item.orig_filename
    same = text.replace("\\", "/") == item.orig_filename.replace("\\", "/")
    return text if same else item.orig_filename


def _too_many(name: str) -> TooLargeError:
    return TooLargeError(
        f"{name} holds more than {MAX_ENTRIES:,} files.", "Give one study at a time."
    )


def _check_members(members: list[zipfile.ZipInfo], name: str) -> None:
    if len(members) > MAX_ENTRIES:
        raise _too_many(name)
    for item in members:
        path = item.orig_filename.replace("\\", "/")
        if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/"):
            raise InputError(
                f"{name} holds a file whose name leads out of the archive.",
                "Pack the files again, without paths.",
            )
        if item.flag_bits & 0x1:
            raise InputError(
                f"{name} is encrypted.", "Pack the files again without a password."
            )


class _Total:
    """Total of what was unpacked so far, compared with the outer archive's limits."""

    def __init__(self, size: int, name: str) -> None:
        self._most = min(MAX_UNPACKED_BYTES, max(FREE_UNPACKED_BYTES, MAX_RATIO * size))
        self._size = size
        self._name = name
        self._unpacked = 0
        self._passed = 0
        self._entries = 0

    @property
    def is_exceeded(self) -> bool:
        """True where no archive inside may hold more."""
        return (
            max(self._unpacked, self._passed) > self._most
            or self._entries > MAX_ENTRIES
        )

    def add_entries(self, count: int) -> None:
        """Count the files of an archive."""
        self._entries += count
        if self._entries > MAX_ENTRIES:
            raise _too_many(self._name)

    def add(self, item: zipfile.ZipInfo) -> None:
        """Count a file that is to be read."""
        much = item.file_size > MAX_RATIO * max(1, item.compress_size)
        if item.file_size > MAX_FILE_BYTES or (much and item.file_size > _SMALL_BYTES):
            raise inflating(item, self._name)
        self._unpacked += item.file_size
        self._check(self._unpacked)

    def chunks(self, data: bytes, name: str) -> Iterator[bytes]:
        """Unpack a tar archive chunk by chunk, and count what is passed."""
        if not data.startswith(GZIP_START):
            yield data
            return
        for chunk in unpacked_chunks(data, self._most + 1, name):
            self._passed += len(chunk)
            self._check(self._passed)
            yield chunk

    def _check(self, unpacked: int) -> None:
        if unpacked > self._most:
            raise TooLargeError(
                f"{self._name} inflates from {self._size / 2**20:.1f} MB to over "
                f"{self._most / 2**20:.0f} MB.",
                "Give one series at a time.",
            )


class _TarStream:
    """Bytes of a tar archive, taken one after the other."""

    def __init__(self, chunks: Iterator[bytes], name: str) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._name = name

    def pieces(self, count: int) -> Iterator[memoryview]:
        """Give so many bytes in pieces; fewer are an error."""
        while count > 0:
            self._rest = self._rest or memoryview(next(self._chunks, b""))
            if not self._rest:
                raise DamagedFileError(
                    f"{self._name} is a tar archive that is cut off."
                )
            piece, self._rest = self._rest[:count], self._rest[count:]
            count -= len(piece)
            yield piece

    def header(self) -> tarfile.TarInfo | None:
        """Take the next header; None at the end.

        Without the empty block that ends an archive, files behind may be missing.
        """
        block = b"".join(self.pieces(tarfile.BLOCKSIZE))
        if not any(block):
            return None
        try:
            item = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
        except tarfile.HeaderError as error:
            raise DamagedFileError(f"{self._name} has a broken header.") from error
        if item.size < 0:
            raise DamagedFileError(f"{self._name} states a size below 0.")
        return item

    def content(self, item: tarfile.TarInfo) -> Iterator[memoryview]:
        """Take what follows a header, in pieces."""
        yield from self.pieces(item.size)
        self.skip(-item.size % tarfile.BLOCKSIZE)

    def skip(self, count: int) -> None:
        """Pass over so many bytes."""
        for _ in self.pieces(count):
            pass


def _zip_of_tar(
    data: bytes, name: str, failures: list[tuple[str, InputError]], total: _Total
) -> bytes:
    """Pack a tar archive again as zip, a piece of a member at a time.

    Raises
    ------
    DamagedFileError
        Where it is cut off or broken.
    TooLargeError
        Where it holds more files, or inflates to more, than `limits` allow.
    InputError
        Where it holds a sparse file.
    """
    stream = _TarStream(total.chunks(data, name), name)
    buffer = io.BytesIO()
    used: set[str] = set()
    letters = 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for path, item in _tar_members(stream, name):
            number = len(used) + 1
            letters += len(path)
            if number > MAX_ENTRIES or letters > _MAX_DIRECTORY_BYTES:
                raise _too_many(name)
            # A tar archive may hold a name twice: a file that was added again.
            while path in used:
                path = f"{number}/{path}"
            used.add(path)
            if not item.isreg():
                link = zipfile.ZipInfo(path)
                link.external_attr = (stat.S_IFLNK | 0o777) << 16
                packed.writestr(link, b"")
            elif item.size > MAX_FILE_BYTES:
                shown = f"{name}#{number}"
                error = TooLargeError(
                    f"{shown} has {item.size / 2**20:.0f} MB.",
                    "Give the files without an archive.",
                )
                failures.append((shown, error))
                packed.writestr(f"{number}/.unread", b"")
            else:
                is_much = buffer.tell() + item.size > _PLAIN_BYTES
                packed.compression = (
                    zipfile.ZIP_DEFLATED if is_much else zipfile.ZIP_STORED
                )
                with packed.open(path, "w") as file:
                    for piece in stream.content(item):
                        file.write(piece)
                continue
            for _ in stream.content(item):
                pass
    return buffer.getvalue()


def _tar_members(
    stream: _TarStream, name: str
) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Give path and header of each file and link; their content is taken in between."""
    long_name = ""
    while (item := stream.header()) is not None:
        if item.type in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            if item.size > _MAX_TAR_TEXT:
                raise DamagedFileError(f"{name} holds a name that is too long.")
            text = b"".join(stream.content(item))
            long_name = (
                text.split(b"\0")[0].decode("utf-8", "replace")
                if item.type == tarfile.GNUTYPE_LONGNAME
                else _pax_path(text, name) or long_name
            )
        elif item.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse(name)
        elif item.isreg() or item.issym() or item.islnk():
            yield (long_name or item.name).split("\0")[0] or "file", item
            long_name = ""
        else:
            # Folders, devices, and headers that say nothing of names.
            for _ in stream.content(item):
                pass
            if item.isdir() or item.isdev():
                long_name = ""


def _pax_path(text: bytes, name: str) -> str:
    """Read the path out of an extended header: records of length, key and value."""
    path = ""
    while text:
        length, space, _ = text.partition(b" ")
        is_number = bool(space) and length.isdigit() and len(length) < 9
        if not (is_number and 0 < int(length) <= len(text)):
            raise DamagedFileError(f"{name} has a broken header.")
        record, text = text[: int(length)], text[int(length) :]
        key, _, value = record.partition(b" ")[2].partition(b"=")
        if key.startswith(b"GNU.sparse"):
            raise _sparse(name)
        if key == b"path":
            path = value.rstrip(b"\n").decode("utf-8", "replace")
    return path


def _sparse(name: str) -> InputError:
    return InputError(
        f"{name} holds a sparse file.", "Pack the files again, without --sparse."
    )


def inflating(item: zipfile.ZipInfo, name: str) -> TooLargeError:
    """Refuse a file that is too large, or packed too well, for a picture."""
    return TooLargeError(
        f"{name} holds a file that inflates to {item.file_size / 2**20:.0f} MB "
        f"from {item.compress_size / 2**10:.0f} KB.",
        "Give the files without an archive.",
    )


def _contents(
    archive: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    name: str,
    failures: list[tuple[str, InputError]],
    sidecars: dict[str, bytes] | None,
    total: _Total,
    is_inner: bool,
) -> Iterator[tuple[str, bytes]]:
    by_path = {item.filename: item for item in members}
    numbers = {item.filename: number for number, item in enumerate(members, 1)}
    joined_files: set[str] = set()
    used: set[str] = set()
    own_sidecars = {x for path in by_path for x in _sidecar_paths(path)[:1]}
    for item in sorted(members, key=lambda item: natural_order(item.filename)):
        folder, _, base = item.filename.rpartition("/")
        # What systems add of their own.
        if base.startswith(".") or "__MACOSX" in item.filename:
            continue
        if item.filename in own_sidecars:
            continue
        numbered = f"{name}#{numbers[item.filename]}"
        if stat.S_ISLNK(item.external_attr >> 16):
            error = InputError(f"{numbered} is a link.", "Pack the files themselves.")
            failures.append((numbered, error))
            continue
        if not item.file_size:
            failures.append((numbered, EmptyFileError(f"{numbered} is empty.")))
            continue
        start = _start(archive, item)
        if start is None:
            error = InputError(
                f"{numbered} is packed by a method that is not read.",
                "Pack the archive again, by deflate.",
            )
            failures.append((numbered, error))
            continue
        if is_dicomdir(start) or item.filename in joined_files:
            continue
        pair = data_file_names(start, base) if item.file_size < START_BYTES else ()
        if format_of(start) is None and not pair:
            # A file that could be anything but a picture is not worth its reason.
            much = item.file_size > MAX_RATIO * max(1, item.compress_size)
            unread = much and item.file_size > _SMALL_BYTES
            if unread:
                failures.append((numbered, inflating(item, name)))
            elif not is_archive(start):
                failures.append((numbered, unknown_format(start, numbered)))
            elif not is_inner and _holds_series(item, start, base):
                total.add(item)
                inner = _content(archive, item, name)
                try:
                    yield from _unpacked(
                        inner, numbered, failures, sidecars, total, is_inner=True
                    )
                except InputError as broken:
                    if total.is_exceeded:
                        raise
                    failures.append((numbered, broken))
            else:
                error = InputError(
                    f"{numbered} is another archive.",
                    "Give the inner archive by itself.",
                )
                failures.append((numbered, error))
            continue
        total.add(item)
        content = _content(archive, item, name)
        second = next(
            (
                by_path[path]
                for path in (f"{folder}/{x}".lstrip("/") for x in pair)
                if path in by_path
            ),
            None,
        )
        if second is not None:
            total.add(second)
            joined_files.add(second.filename)
            content = joined(content, _content(archive, second, name), numbered)
        shown = numbered
        if not is_dicom(content):
            shown = f"{name}/{display_name(base)}"
            if shown in used:
                shown = f"{numbered}/{display_name(base)}"
            used.add(shown)
        sidecar = next((x for x in _sidecar_paths(item.filename) if x in by_path), None)
        if sidecars is not None and sidecar is not None:
            described_by = by_path[sidecar]
            if described_by.file_size <= MAX_SIDECAR_BYTES:
                total.add(described_by)
                sidecars[shown] = _content(archive, described_by, name)
        yield shown, content


def _holds_series(item: zipfile.ZipInfo, start: bytes, base: str) -> bool:
    """Tell whether a member is an archive of a series, and no program or document.

    Series are packed one by one and then together; nothing is packed three times.
    """
    return is_named_archive(start, base) and item.file_size <= _MAX_INNER_BYTES


def _sidecar_paths(path: str) -> list[str]:
    """Name the sidecars that a volume may have in the archive, its own first."""
    folder, _, base = path.rpartition("/")
    paths = [f"{folder}/{name}".lstrip("/") for name in sidecar_names(base)]
    inherited = inherited_sidecar(base)
    while inherited:
        paths.append(f"{folder}/{inherited}".lstrip("/"))
        if not folder:
            break
        folder = folder.rpartition("/")[0]
    return paths


def _start(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> bytes | None:
    """Unpack the first bytes of a file; None where its method is not read."""
    if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return None
    with archive.open(item) as file:
        return file.read(min(START_BYTES, item.file_size + 1))


def _content(archive: zipfile.ZipFile, item: zipfile.ZipInfo, name: str) -> bytes:
    with archive.open(item) as file:
        # One byte more than stated: a member may lie about its size.
        content = file.read(item.file_size + 1)
    if len(content) != item.file_size:
        raise DamagedFileError(f"{name} holds a file that is not as long as it states.")
    return content
