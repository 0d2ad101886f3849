"""Signers: who vouches for a transcript.

A signature with a shared key (HMAC) shows those who have the key that one of them made it. To show it to others, who
shall be able to verify and not to sign, there is `moot.patterns.market.ed25519`.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import ClassVar, Protocol

__all__ = ["HmacSigner", "Signer", "Verifier"]

SHORTEST_KEY = 16


class Verifier(Protocol):
    """Tells true signatures from others."""

    scheme: ClassVar[str]
    """The name of the way of signing; it stands in what is signed."""

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is one of ``text``."""
        ...


class Signer(Verifier, Protocol):
    """Makes signatures, too."""

    def sign(self, text: bytes) -> bytes:
        """A signature of ``text``; the same each time, so that a turn that is run again makes no other one."""
        ...


class HmacSigner:
    """HMAC-SHA256 with a key of at least 16 bytes, which is the same in every life of a system.

    Source: RFC 2104.
    """

    scheme: ClassVar[str] = "hmac-sha256"

    def __init__(self, key: bytes) -> None:
        if len(key) < SHORTEST_KEY:
            raise ValueError(f"a key of {len(key)} bytes can be guessed; give it {SHORTEST_KEY} random ones or more")
        self._key = key

    def sign(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, hashlib.sha256)

    def verifies(self, text: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self.sign(text), signature)
