"""What the table has of open studies, as far as this process wrote it: the same is not written once more.

An event says that something may have changed, not what. A study's item costs three writes (docs/aws.md), and
most steps of its jobs leave it as it is.
"""

import json
from typing import Final

from gateway.adapters.mirror import ItemKey, ItemKind, MirrorItem
from gateway.ledger.outbox import EPOCH_FACTOR

MOST: Final = 20_000
"""So many items are remembered; then all are forgotten, which costs a further write of each at most."""

Content = tuple[int, str]


class Written:
    """Remembers the items of studies and jobs that are not over; called from several threads."""

    def __init__(self) -> None:
        self._contents: dict[ItemKey, Content] = {}

    def has(self, item: MirrorItem) -> bool:
        """Whether the table holds just this already, written since the last start or rebuild."""
        return self._contents.get(item.key) == _content_of(item)

    def note(self, item: MirrorItem) -> None:
        """Remember that the table holds this now; what is over is not expected to change again."""
        if item.key.kind is ItemKind.EVENT:
            return
        if item.expires_at is not None:
            self._contents.pop(item.key, None)
            return
        if len(self._contents) >= MOST:
            self._contents.clear()
        self._contents[item.key] = _content_of(item)

    def forget(self, key: ItemKey) -> None:
        """Nobody knows any more what the table holds there."""
        self._contents.pop(key, None)


def _content_of(item: MirrorItem) -> Content:
    """Everything but the number of the change; a later epoch is a rebuild, which writes all of it anew."""
    return item.version // EPOCH_FACTOR, json.dumps(item.attributes, sort_keys=True)
