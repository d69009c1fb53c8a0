"""Forms that tests send."""

from __future__ import annotations

import io
from typing import Any


def form(*files: tuple[str, bytes], **fields: str) -> dict[str, Any]:
    """The arguments of a request that sends these files and fields."""
    return {
        "data": {"file": [(io.BytesIO(data), name) for name, data in files], **fields},
        "content_type": "multipart/form-data",
    }
