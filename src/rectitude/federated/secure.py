"""Secure aggregation by pairwise masks: the server learns a sum and none of its terms.

Every pair of clients agrees on a secret (X25519) and stretches it to a stream of 64-bit words (SHAKE-256). Of the two,
the one with the lower number adds the stream to its reply and the other subtracts it, modulo 2⁶⁴, so that the sum over
all clients of a round is what it would be without masks, exactly, while each reply alone is uniformly random.

Whom it protects from whom: it keeps terms from a server that is curious and follows the protocol, and from an observer.
It is not for a server that hands out forged keys or pretends that clients have left, nor for all other clients
conspiring with the server against one. A client that drops out after masking makes the round invalid; it is then asked
again, with new masks, of those that are left.

Source: Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal and Seth, "Practical Secure Aggregation for
Privacy-Preserving Machine Learning", CCS 2017, doi:10.1145/3133956.3133982, section 4.0.1 (the masks). Departure: no
secret shares for the masks of those who drop out; the round is repeated instead, which costs one exchange and suits
federations of tens of organisations rather than of millions of phones.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping
from hashlib import sha256, shake_256

import numpy as np
import numpy.typing as npt

from rectitude.core.errors import MissingExtraError
from rectitude.federated.contracts import Array, FederationError

Words = npt.NDArray[np.uint64]

KEY_BYTES = 32
_LIMIT = 2.0**62


def new_private_key() -> bytes:
    """32 random bytes: a client's private key."""
    return _x25519().X25519PrivateKey.generate().private_bytes_raw()  # type: ignore[attr-defined, no-any-return]


def public_key(private: bytes) -> bytes:
    """The 32 bytes that may be shown to everybody."""
    key = _x25519().X25519PrivateKey.from_private_bytes(private)  # type: ignore[attr-defined]
    return key.public_key().public_bytes_raw()  # type: ignore[no-any-return]


def shared_secret(private: bytes, public: bytes, run: str) -> bytes:
    """What two clients know and nobody else does, different for every run."""
    curve = _x25519()
    key = curve.X25519PrivateKey.from_private_bytes(private)  # type: ignore[attr-defined]
    agreed = key.exchange(curve.X25519PublicKey.from_public_bytes(public))  # type: ignore[attr-defined]
    return sha256(b"rectitude pairwise mask\x00" + run.encode() + b"\x00" + agreed).digest()


def mask(secrets: Mapping[int, bytes], me: int, clients: Iterable[int], occasion: str, n_words: int) -> Words:
    """The sum of a client's pairwise masks; over all ``clients`` these sums add up to zero.

    Args:
        secrets: Of every other client, by its number.
        me: The client's own number.
        clients: Who takes part.
        occasion: What is masked, never used twice: run, exchanges, attempt and length.
        n_words: Length.

    Returns:
        uint64 [n_words].
    """
    others = sorted([other for other in clients if other != me])
    said = occasion.encode()
    streams = b"".join([shake_256(secrets[other] + said).digest(8 * n_words) for other in others])
    words = np.frombuffer(streams, "<u8").reshape(len(others), n_words)
    below = bisect(others, me)
    return np.asarray(np.add.reduce(words[below:]) - np.add.reduce(words[:below]))  # modulo 2⁶⁴


def encode(values: Array, scale: float, name: str = "") -> Words:
    """Fixed-point numbers modulo 2⁶⁴.

    Args:
        values: Of any shape.
        scale: Units per 1.0.
        name: Of the fields, for the error.

    Raises:
        FederationError: A value is not finite or too large to be summed.
    """
    scaled = np.asarray(values, np.float64) * scale
    if not (np.abs(scaled) <= _LIMIT).all():  # nor is NaN
        of = f"'{name}'" if name else "A reply"
        raise FederationError(f"{of} holds values that are not finite or too large to be masked")
    return np.rint(scaled).astype(np.int64).view(np.uint64)


def decode(words: Words, scale: float) -> Array:
    """What a sum of :func:`encode` results stands for: int64 where the scale is 1, float64 otherwise."""
    signed = words.view(np.int64)
    return signed.copy() if scale == 1 else signed / scale


def _x25519() -> object:
    try:
        from cryptography.hazmat.primitives.asymmetric import x25519
    except ImportError as error:
        raise MissingExtraError("cryptography", "fed", "Secure aggregation") from error
    return x25519
