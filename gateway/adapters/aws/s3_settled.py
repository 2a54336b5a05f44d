"""What was settled in a bucket by this process: whoever settles it again need not read it first."""

from collections import OrderedDict
from threading import Lock
from typing import Final

MOST_REMEMBERED: Final = 10_000


class Settled:
    """The last contents that were settled, each with the ETag that S3 gave it; several threads may ask."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self._lock = Lock()

    def etag(self, key: str, content: bytes) -> str | None:
        """The ETag of an object that was settled with this content."""
        with self._lock:
            known, etag = self._known.get(key, (None, None))
        return etag if known == content else None

    def remember(self, key: str, content: bytes, etag: str) -> None:
        """Remember it in the place of what was known of the key; the oldest of too many is forgotten."""
        with self._lock:
            self._known[key] = content, etag
            self._known.move_to_end(key)
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)

    def forget(self, key: str) -> None:
        """It is not known any more what stands there."""
        with self._lock:
            self._known.pop(key, None)
