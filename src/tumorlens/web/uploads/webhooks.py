"""Webhooks: who sent a scan is told at an address of theirs that it is over.

The message holds the scan's id and state alone, and is signed. It goes only to hosts
that whoever runs the server has named, and is tried again until it arrives.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from tumorlens.errors import SettingError
from tumorlens.jobs.database import Job, JobState
from tumorlens.jobs.queue import JobLostError, JobQueue, RetryPolicy
from tumorlens.settings import SETTINGS

WEBHOOK = "webhook"
"""Kind and stage of the jobs that deliver messages."""

SECRET = "TUMORLENS_WEBHOOK_SECRET"
"""Variable with the key of the signatures."""

SIGNATURE = "TumorLens-Signature"
ATTEMPTS = RetryPolicy(10, first_seconds=5.0, longest_seconds=3600.0)

_LEAST_SECRET = 16
_LONGEST_URL = 2000
_SECONDS = 10.0
logger = logging.getLogger(__name__)


class _NoRedirects(HTTPRedirectHandler):
    """Goes nowhere else than it was told to."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = build_opener(_NoRedirects, ProxyHandler({}))


class Webhooks:
    """Delivers messages.

    Parameters
    ----------
    queue
        Queue of the messages.
    hosts
        Names of the hosts that they may go to, with a port where that is unusual,
        separated by commas; None for none.
    secret
        Key of the signatures.

    Raises
    ------
    SettingError
        There are hosts, and the key is missing or short.
    """

    def __init__(self, queue: JobQueue, hosts: str | None, secret: str | None) -> None:
        self._queue = queue
        self._hosts = {host.strip().lower() for host in (hosts or "").split(",")} - {""}
        if self._hosts and len(secret or "") < _LEAST_SECRET:
            raise SettingError(
                f"{SETTINGS['webhook_hosts'].option} is given, and {SECRET} has "
                f"{len(secret or '')} characters.",
                f"Give at least {_LEAST_SECRET} random ones: they sign the messages.",
            )
        self._secret = (secret or "").encode()

    def check(self, url: str) -> str:
        """Return an address that messages may go to.

        Raises
        ------
        SettingError
            They may not (400).
        """
        try:
            parts = urlsplit(url)
            place = parts.netloc.lower()
            known = parts.scheme in {"http", "https"} and place in self._hosts
        except ValueError:
            known = False
        if not known or len(url) > _LONGEST_URL or not url.isprintable():
            raise SettingError(
                "The field 'callback' is no address that messages may go to.",
                "Whoever runs the server names the hosts with "
                f"{SETTINGS['webhook_hosts'].option}.",
            )
        return url

    def deliver_next(self, worker: str) -> bool:
        """Deliver a message, if one is due; tell whether there was one."""
        job = self._queue.claim(WEBHOOK, worker)
        if job is None:
            return False
        try:
            reason = self._send(job)
            if reason is None:
                self._queue.finish(job, JobState.DONE)
                return True
            wait = self._queue.retry(job)
            logger.warning("A webhook is tried again in %.0f s: %s.", wait, reason)
        except JobLostError:
            # Its scan was removed.
            pass
        return True

    def _send(self, job: Job) -> str | None:
        """Send a message; say why it did not arrive."""
        document = job.document
        message = {"scan": document["scan"], "state": document["state"]}
        body = json.dumps(message).encode()
        headers = {
            "Content-Type": "application/json",
            SIGNATURE: sign(self._secret, body, int(time.time())),
        }
        try:
            url = self.check(document["url"])
            request = Request(url, body, headers, method="POST")
            with _OPENER.open(request, timeout=_SECONDS):
                return None
        except HTTPError as error:
            error.close()
            return f"status {error.code}"
        except (SettingError, URLError, OSError, HTTPException, ValueError) as error:
            return type(error).__name__


def message_job(scan: Job, state: JobState) -> dict[str, Any] | None:
    """Return the document of a scan's message; None where nobody wants one."""
    url = scan.document.get("callback")
    return url and {"url": url, "scan": scan.id, "state": state.value}


def sign(secret: bytes, body: bytes, now: int) -> str:
    """Sign a message, so that its receiver knows who sent it, and when.

    Returns
    -------
    str
        ``t=<seconds since 1970>,v1=<HMAC-SHA256 of "seconds.body" in hexadecimal>``.
    """
    signed = hmac.new(secret, f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={signed}"
