"""Checksums as S3 keeps them: of a whole object, or of the checksums of its parts ("COMPOSITE")."""

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.adapters.errors import Retriable


class _Sum(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    """CRC-32 with the interface of hashlib; boto3's own default for what it stores."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_KNOWN: Final[Mapping[str, Callable[[], _Sum]]] = {"ChecksumSHA256": hashlib.sha256, "ChecksumCRC32": _Crc32}


def base64_text(digest: bytes) -> str:
    """A digest as S3 writes it."""
    return base64.b64encode(digest).decode()


def sha256_text(content: bytes) -> str:
    """The SHA-256 of some bytes as S3 writes it."""
    return base64_text(hashlib.sha256(content).digest())


def require_same(answer: Mapping[str, Any], checksum: str, resource: str) -> None:
    """Compare what S3 says that it stored with what was sent.

    Raises
    ------
    Retriable
        They differ. An answer without a checksum is none against us: S3 itself refuses content that
        differs from the checksum sent with it.
    """
    if answer.get("ChecksumSHA256", checksum) != checksum:
        raise Retriable(f"{resource} holds something else than what was sent; look at what lies between")


def part_digests(source: Path, part_bytes: int) -> list[bytes]:
    """The SHA-256 of each part of a file."""
    with source.open("rb") as stream:
        return [hashlib.sha256(part).digest() for part in iter(lambda: stream.read(part_bytes), b"")]


def composite_text(digests: list[bytes]) -> str:
    """The checksum that S3 gives an object of these parts: `base64-parts`."""
    return f"{sha256_text(b''.join(digests))}-{len(digests)}"


@dataclass(frozen=True)
class Checksum:
    """What S3 says that an object's checksum is."""

    name: str
    digest: bytes
    parts: int
    """0: the digest is that of the whole object."""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Checksum | None":
        """The checksum in an answer of S3; None where it has none, or one that we do not know."""
        for name in _KNOWN:
            value, _, parts = str(answer.get(name, "")).partition("-")
            if value:
                return cls(name, base64.b64decode(value), int(parts or 0))
        return None


class Comparison:
    """Takes an object's bytes in their order, and says at the end whether its checksum is that of them.

    Parameters
    ----------
    part_bytes
        The size of each part but the last, where the checksum is one of parts.
    """

    def __init__(self, wanted: Checksum, part_bytes: int) -> None:
        self._wanted = wanted
        self._part_bytes = part_bytes
        self._whole = _KNOWN[wanted.name]()
        self._part = _KNOWN[wanted.name]()
        self._room = part_bytes

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if not self._wanted.parts:
            self._whole.update(chunk)
            return
        while chunk:
            if not self._room:
                self._end_part()
            taken, chunk = chunk[: self._room], chunk[self._room :]
            self._part.update(taken)
            self._room -= len(taken)

    def agrees(self) -> bool:
        """Whether these were the bytes; to be asked once, at the end."""
        if self._wanted.parts:
            self._end_part()
        return self._whole.digest() == self._wanted.digest

    def _end_part(self) -> None:
        self._whole.update(self._part.digest())
        self._part, self._room = _KNOWN[self._wanted.name](), self._part_bytes
