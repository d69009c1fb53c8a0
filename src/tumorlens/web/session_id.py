"""Tells one browser session from another, by a signed cookie and nothing else."""

from __future__ import annotations

import secrets

from flask import session

_KEY = "visitor"


def visitor() -> str | None:
    """Return the session's random id; None where it has none yet."""
    found = session.get(_KEY)
    return found if isinstance(found, str) and found else None


def ensure_visitor() -> str:
    """Return the session's random id, and make one where it has none yet."""
    found = visitor()
    if found is None:
        found = session[_KEY] = secrets.token_urlsafe(16)
    return found
