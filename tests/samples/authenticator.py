"""An authenticator of passkeys in software, as a browser would speak for it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, WITH_CREDENTIAL = 1, 4, 64


class Authenticator:
    """One passkey on one page; ``flags`` and ``uses`` are what it will say next."""

    def __init__(self, origin: str = "http://localhost") -> None:
        self.origin = origin
        self.flags = PRESENT | VERIFIED
        self.uses = 0
        self._id = secrets.token_bytes(16)
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer ``navigator.credentials.create()``."""
        numbers = self._key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        key = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        credential = bytes(16) + len(self._id).to_bytes(2, "big") + self._id + key
        data = self._data(options["rp"]["id"], WITH_CREDENTIAL, credential)
        attestation = {"fmt": "none", "attStmt": {}, "authData": data}
        return self._credential(
            clientDataJSON=self._client_data("webauthn.create", options),
            attestationObject=cbor2.dumps(attestation),
        )

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """Answer ``navigator.credentials.get()``."""
        data = self._data(options["rpId"])
        client_data = self._client_data("webauthn.get", options)
        signed = data + hashlib.sha256(client_data).digest()
        return self._credential(
            clientDataJSON=client_data,
            authenticatorData=data,
            signature=self._key.sign(signed, ec.ECDSA(SHA256())),
        )

    def _data(self, host: str, more: int = 0, credential: bytes = b"") -> bytes:
        digest = hashlib.sha256(host.encode()).digest()
        flags = bytes([self.flags | more])
        return digest + flags + self.uses.to_bytes(4, "big") + credential

    def _client_data(self, kind: str, options: dict[str, Any]) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin}
        return json.dumps(said).encode()

    def _credential(self, **response: bytes) -> dict[str, Any]:
        return {
            "id": text(self._id),
            "rawId": text(self._id),
            "type": "public-key",
            "response": {name: text(data) for name, data in response.items()},
            "clientExtensionResults": {},
        }


def text(data: bytes) -> str:
    """Write bytes as base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
