"""Forms that tests send, and the text of the pages that come back."""

from __future__ import annotations

import html
import io
import re
from typing import Any

from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import encode_multipart


def form(*files: tuple[str, bytes], **fields: str) -> dict[str, Any]:
    """The arguments of a request that sends these files and fields.

    Encoded here: the test client would leave a temporary file open with large ones.
    """
    values: MultiDict[str, Any] = MultiDict(fields)
    for name, data in files:
        values.add("file", FileStorage(io.BytesIO(data), name))
    boundary, body = encode_multipart(values)
    return {
        "data": body,
        "content_type": f"multipart/form-data; boundary={boundary}",
    }


def text_of(page: str) -> str:
    """What a reader of a page sees: its HTML without tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
