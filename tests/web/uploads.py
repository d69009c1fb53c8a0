"""Forms that tests send."""

from __future__ import annotations

import io
from typing import Any

from werkzeug.test import encode_multipart


def form(*files: tuple[str, bytes], **fields: str) -> dict[str, Any]:
    """The arguments of a request that sends these files and fields."""
    return {
        "data": {"file": [(io.BytesIO(data), name) for name, data in files], **fields},
        "content_type": "multipart/form-data",
    }


def large_form(name: str, data: bytes) -> dict[str, Any]:
    """Do the same for one large file: the test client would leave a file open."""
    boundary, body = encode_multipart({"file": (io.BytesIO(data), name)})
    return {
        "data": body,
        "content_type": f"multipart/form-data; boundary={boundary}",
    }
