"""Pictures drawn for the tests that no picture program writes."""

from __future__ import annotations

import struct
import zlib


def blank_png(side: int, colour: int = 0, bits: int = 8) -> bytes:
    """Make a black PNG; colour 0 is grey, 6 is RGBA."""
    channels = {0: 1, 6: 4}[colour]
    row = b"\0" + bytes(side * channels * bits // 8)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def one_strip_for_all_pages(pages: int = 900, side: int = 330) -> bytes:
    """Make a TIFF whose pages all show the same bytes: 900 times 100 KB."""
    strip = bytes(side * side)
    first = 8 + len(strip)
    size = 2 + 8 * 12 + 4
    found = [b"II*\0", first.to_bytes(4, "little"), strip]
    for page in range(pages):
        entries = (
            *((256, side), (257, side), (258, 8), (259, 1), (262, 1)),
            *((273, 8), (278, side), (279, len(strip))),
        )
        following = first + (page + 1) * size if page < pages - 1 else 0
        found.append(len(entries).to_bytes(2, "little"))
        found += [struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries]
        found.append(following.to_bytes(4, "little"))
    return b"".join(found)
