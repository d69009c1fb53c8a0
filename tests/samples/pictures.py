"""Pictures drawn for the tests that no picture program writes."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

OWN_SCANS = 6
"""Of a grey progressive JPEG that Pillow writes."""


def blank_png(side: int, colour: int = 0, bits: int = 8) -> bytes:
    """Make a black PNG; colour 0 is grey, 6 is RGBA."""
    channels = {0: 1, 6: 4}[colour]
    row = b"\0" + bytes(side * channels * bits // 8)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    return chunks_of((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))


def chunks_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """Put kinds and contents of chunks together as a PNG."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def deep_png(pixels: NDArray[np.uint16], clear: int) -> bytes:
    """Write grey values of 16 bits, shape (H, W), of which one is transparent."""
    rows, columns = pixels.shape
    head = struct.pack(">IIBBBBB", columns, rows, 16, 0, 0, 0, 0)
    body = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return chunks_of(
        (b"IHDR", head),
        (b"tRNS", struct.pack(">H", clear)),
        (b"IDAT", zlib.compress(body)),
        (b"IEND", b""),
    )


def swelling_profile(megabytes: int = 600) -> bytes:
    """Make a PNG whose colour profile inflates a thousandfold."""
    packer = zlib.compressobj(9)
    profile = b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes))
    head = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    return chunks_of(
        (b"IHDR", head),
        (b"iCCP", b"x\0\0" + profile + packer.flush()),
        (b"IDAT", zlib.compress(bytes(65 * 64))),
        (b"IEND", b""),
    )


def many_scans(scans: int = 3000, side: int = 3400) -> bytes:
    """Make a progressive JPEG of 120 KB that goes over its pixels 3,000 times."""
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + data[-2:]


def big_tiff(pixels: NDArray[np.uint8]) -> bytes:
    """Write a grey picture, shape (H, W), as TIFF with addresses of 64 bits."""
    rows, columns = pixels.shape
    entries = (
        *((256, columns), (257, rows), (258, 8), (259, 1), (262, 1)),
        *((273, 16), (277, 1), (278, rows), (279, pixels.size)),
    )
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16 + pixels.size)
    listed = (struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in entries)
    count = struct.pack("<Q", len(entries))
    return b"".join((head, pixels.tobytes(), count, *listed, bytes(8)))


def one_strip_for_all_pages(
    pages: int = 900, side: int = 330, previews: bool = False, endless: bool = False
) -> bytes:
    """Make a TIFF whose pages all show the same bytes: 900 times 100 KB.

    All can be marked as previews, and the first can follow the last.
    """
    strip = bytes(side * side)
    first = 8 + len(strip)
    size = 2 + 9 * 12 + 4
    found = [b"II*\0", first.to_bytes(4, "little"), strip]
    for page in range(pages):
        entries = (
            *((254, int(previews)), (256, side), (257, side), (258, 8), (259, 1)),
            *((262, 1), (273, 8), (278, side), (279, len(strip))),
        )
        following = first + (page + 1) * size
        if page == pages - 1:
            following = first if endless else 0
        found.append(len(entries).to_bytes(2, "little"))
        found += [struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries]
        found.append(following.to_bytes(4, "little"))
    return b"".join(found)


def drawn_heic() -> bytes:
    """Decode a drawn head of 64 x 64 pixels: nothing here writes HEIC."""
    return base64.b64decode(_DRAWN_HEIC)


_DRAWN_HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0"
    "AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAATYAAAAjaWluZgAAAAAA"
    "AQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmND"
    "AQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEB"
    "A3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xy"
    "bmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAA"
    "AAABAAEEgQIDBAAAAT5tZGF0AAABMigBrwng43qxALv+q3vtX6d8Cm7kH5eVrXZ2l1gBKOklNCZ242F7"
    "cyOyc3m44BfGwQKlJZqAioxSuRn6qjFsvTIhezgRFmQ9EkxGuuE3hRl5sqBx3KRausx8HLMrndZlpDS+"
    "bD749fANb6n5ilutH1q5iGSnCBX+1XmtFF3hlHDIaSmNpg+mXYMO9XDAM63uRwN7uSQuXfeIVobNwRJc"
    "BQ2HobC0svWqwKlgpMf56CPHrhrU4IoqGiU8JwNMng+p4crLTqwLFsvr6nakMfaVhoQUShhkQ4QBEg7q"
    "hm0m5ZpHW5c914//9j9+NmZ1D2r8+QuMfdofvsajJTItjQzDRGN/tMEZSleUtP8+Ktpow4o6xjFD7MZq"
    "LL09OTzYsUgBYSf+CD5mPTYs35YDfE6loheA0w=="
)
