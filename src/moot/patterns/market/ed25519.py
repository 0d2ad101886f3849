"""Ed25519 signatures: whoever has the public key can verify a transcript, and only the auctioneer can sign it.

Needs the extra: ``pip install 'moot[signing]'``. Source: RFC 8032.
"""

from __future__ import annotations

from typing import ClassVar

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
except ImportError as error:
    raise ImportError("Ed25519 needs the extra 'signing': pip install 'moot[signing]'") from error

__all__ = ["Ed25519Signer", "Ed25519Verifier"]


class Ed25519Verifier:
    """Verifies with a public key of 32 bytes."""

    scheme: ClassVar[str] = "ed25519"

    def __init__(self, public_key: bytes) -> None:
        self._public = Ed25519PublicKey.from_public_bytes(public_key)

    def verifies(self, text: bytes, signature: bytes) -> bool:
        try:
            self._public.verify(signature, text)
        except InvalidSignature:
            return False
        return True


class Ed25519Signer(Ed25519Verifier):
    """Signs with a private key of 32 random bytes; ``public_key`` is for those who verify."""

    def __init__(self, private_key: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(private_key)
        self.public_key = self._private.public_key().public_bytes_raw()
        super().__init__(self.public_key)

    def sign(self, text: bytes) -> bytes:
        return self._private.sign(text)
