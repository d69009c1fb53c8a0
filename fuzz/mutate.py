"""Damage to files: drawn from a seed, so that each can be made again."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

_NUMBERS = (0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 1000, 4096, 32767, 32768, 65535)
_WIDE = (2**31 - 1, 2**31, 2**32 - 1, 10**6, 10**9, 2**24)
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_MOST_BYTES = 2**21
_GZIPPED = ("nifti-gz", "gzip")


def damaged(name: str, seeds: list[bytes], seed: int, index: int) -> bytes:
    """Make one damaged file.

    Parameters
    ----------
    name
        Of the format.
    seeds
        Good files of it.
    seed, index
        The same two numbers make the same file.
    """
    rng = random.Random(f"{name} {seed} {index}")
    data = rng.choice(seeds)
    if rng.random() < 0.6:
        return _INSIDE.get(name, _changed)(data, seeds, rng)
    return _changed(data, seeds, rng)


def dressed(name: str, data: bytes) -> bytes:
    """Put right what would hide the damage: a wrong checksum ends all reading."""
    if name == "png":
        return _with_checksums(data)
    if name == "tar":
        return _with_tar_checksums(data)
    return gzip.compress(data, 1, mtime=0) if name in _GZIPPED else data


def undressed(name: str, data: bytes) -> bytes:
    """Return what `dressed` takes."""
    is_packed = name in _GZIPPED or (name == "tar" and data.startswith(b"\x1f\x8b"))
    return gzip.decompress(data) if is_packed else data


def _changed(data: bytes, seeds: list[bytes], rng: random.Random) -> bytes:
    """Apply one to eight changes."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4, 8))):
        change = rng.choice(_CHANGES)
        change(found, _place(len(found), rng), seeds, rng)
        del found[_MOST_BYTES:]
    return bytes(found)


def _place(size: int, rng: random.Random) -> int:
    """Headers lie at the start, tables of contents at the end."""
    low, high = 0, max(1, size)
    where = rng.random()
    if where < 0.5:
        high = min(high, 1024)
    elif where < 0.65:
        low = max(0, high - 512)
    return rng.randrange(low, high)


def _flip(data: bytearray, at: int, _: list[bytes], rng: random.Random) -> None:
    if data:
        data[at] ^= 1 << rng.randrange(8)


def _set(data: bytearray, at: int, _: list[bytes], rng: random.Random) -> None:
    if data:
        data[at] = rng.randrange(256)


def _number(data: bytearray, at: int, _: list[bytes], rng: random.Random) -> None:
    form = rng.choice("<>") + rng.choice("HHIII")
    value = rng.choice(_NUMBERS if form[1] == "H" else _NUMBERS + _WIDE)
    packed = struct.pack(form, value)
    data[at : at + len(packed)] = packed


def _float(data: bytearray, at: int, _: list[bytes], rng: random.Random) -> None:
    value = rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf"), 1e-30))
    data[at : at + 4] = struct.pack(rng.choice("<>") + "f", value)


def _cut(data: bytearray, at: int, _: list[bytes], rng: random.Random) -> None:
    del data[at : at + rng.choice((1, 2, 4, 16, 256, 4096))]


def _end(data: bytearray, at: int, _: list[bytes], rng: random.Random) -> None:
    del data[at:]


def _double(data: bytearray, at: int, _: list[bytes], rng: random.Random) -> None:
    data[at:at] = data[at : at + rng.choice((1, 2, 8, 64, 1024))] * rng.choice(
        (1, 1, 9)
    )


def _insert(data: bytearray, at: int, _: list[bytes], rng: random.Random) -> None:
    data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 64)))


def _fill(data: bytearray, at: int, _: list[bytes], rng: random.Random) -> None:
    size = min(rng.choice((2, 8, 64, 1024)), len(data) - at)
    data[at : at + size] = bytes([rng.choice((0, 255, 32, 48))]) * size


def _splice(data: bytearray, at: int, seeds: list[bytes], rng: random.Random) -> None:
    other = rng.choice(seeds)
    start = rng.randrange(len(other))
    size = rng.choice((4, 32, 256, 4096))
    data[at : at + size] = other[start : start + size]


_CHANGES = (
    *(_flip, _set, _set, _number, _number, _float, _cut, _end),
    *(_double, _insert, _fill, _splice),
)


def _in_gzip(data: bytes, seeds: list[bytes], rng: random.Random) -> bytes:
    plain = [gzip.decompress(item) for item in seeds]
    return gzip.compress(_changed(gzip.decompress(data), plain, rng), 1, mtime=0)


def _in_zip(data: bytes, seeds: list[bytes], rng: random.Random) -> bytes:
    """Damage one member, and pack it as if it were whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(item.filename, archive.read(item)) for item in archive.infolist()]
    number = rng.randrange(len(members))
    name, content = members[number]
    members[number] = (name, _changed(content, [item for _, item in members], rng))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _in_tar(data: bytes, seeds: list[bytes], rng: random.Random) -> bytes:
    """Damage headers and members, and put the checksums of headers right."""
    plain = [undressed("tar", item) for item in seeds]
    changed = _with_tar_checksums(_changed(undressed("tar", data), plain, rng))
    packed = data.startswith(b"\x1f\x8b")
    return gzip.compress(changed, 1, mtime=0) if packed else changed


def _in_nrrd(data: bytes, seeds: list[bytes], rng: random.Random) -> bytes:
    """Damage the lines of the header."""
    end = data.index(b"\n\n")
    return _changed(data[:end], [item[:end] for item in seeds], rng) + data[end:]


def _in_dicom(data: bytes, seeds: list[bytes], rng: random.Random) -> bytes:
    """Damage what stands from the pixel data on: the compressed code."""
    start = max(132, data.rfind(b"\xe0\x7f\x10\x00"))
    others = [item[-len(item) // 2 :] for item in seeds]
    return data[:start] + _changed(data[start:], others, rng)


def _in_png(data: bytes, seeds: list[bytes], rng: random.Random) -> bytes:
    return _with_checksums(_changed(data, seeds, rng))


_INSIDE: dict[str, Callable[[bytes, list[bytes], random.Random], bytes]] = {
    "nifti-gz": _in_gzip,
    "gzip": _in_gzip,
    "png": _in_png,
    "zip": _in_zip,
    "tar": _in_tar,
    "nrrd": _in_nrrd,
    "dicom": _in_dicom,
}


def _with_checksums(data: bytes) -> bytes:
    """Write the right checksum behind each chunk of a PNG, as far as they go."""
    found = bytearray(data)
    at = len(_PNG_HEAD)
    while at + 12 <= len(found):
        size = int.from_bytes(found[at : at + 4], "big")
        end = at + 8 + size
        if end + 4 > len(found):
            break
        found[end : end + 4] = zlib.crc32(found[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(found)


def _with_tar_checksums(data: bytes) -> bytes:
    """Write the right checksum into each header of a tar archive, as far as they go."""
    found = bytearray(data)
    at = 0
    while at + 512 <= len(found) and any(found[at : at + 512]):
        found[at + 148 : at + 156] = b" " * 8
        found[at + 148 : at + 156] = b"%06o\0 " % sum(found[at : at + 512])
        try:
            size = int(found[at + 124 : at + 135].strip(b" \0") or b"0", 8)
        except ValueError:
            break
        at += 512 + size + -size % 512
    return bytes(found)
