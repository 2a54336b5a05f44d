"""The catalogue of object stores: where job folders may lie, and where what opens it is loaded from.

One line a store: configuration, the gateway's parts, the operator's guide and tests read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class StoreFacts:
    """One store.

    Parameters
    ----------
    about
        Where job folders lie then, for the operator's guide.
    opener
        `module:attribute` of what makes a `gateway.backends.stores.OpenedStore` of the configuration.
    needs
        The keys of `[objects]` without which it cannot be opened.
    leaves_site
        Whether job folders, with the images in them, lie outside this machine.
    is_bucket
        Whether it is one of S3, which jobs of AWS Batch read.
    """

    name: str
    about: str
    opener: str
    needs: tuple[str, ...] = ()
    leaves_site: bool = True
    is_bucket: bool = False


_STORES: Final = (
    StoreFacts(
        name="local",
        about="in the data directory",
        opener="gateway.backends.stores.local:open_local",
        leaves_site=False,
    ),
    StoreFacts(
        name="s3",
        about="in a bucket of S3",
        opener="gateway.backends.stores.s3:open_s3",
        needs=("bucket",),
        is_bucket=True,
    ),
)
STORES: Final[Mapping[str, StoreFacts]] = MappingProxyType({each.name: each for each in _STORES})


def require_store(name: str) -> str:
    """Give the name of a store that there is; `ValueError` says which ones there are."""
    if name not in STORES:
        raise ValueError(f'there is no object store "{name}"; known: {", ".join(STORES)}')
    return name


def buckets() -> str:
    """The stores that are buckets, as a setting: "'s3'"."""
    return " or ".join(f"'{facts.name}'" for facts in STORES.values() if facts.is_bucket)
