"""Opens the object store that the configuration names; the catalogue (`gateway.config.stores`) says which."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module

from gateway.adapters.objects import ObjectStore
from gateway.config import Config
from gateway.config.stores import STORES


@dataclass(frozen=True)
class OpenedStore:
    """A store, and what follows from its kind for the parts that use it.

    Parameters
    ----------
    job_variables
        What a job on this machine needs to reach it, beside the environment of this process.
    origin
        Gives the origin of the URLs that `located` gives; empty: it gives files.
    sweep
        Clears away what uploads left that nobody will complete; None: nothing is left.
    """

    objects: ObjectStore
    job_variables: Mapping[str, str] = field(default_factory=dict)
    origin: Callable[[], str] = str
    sweep: Callable[[], None] | None = None


def open_store(config: Config) -> OpenedStore:
    """Open it.

    Raises
    ------
    ConfigError
        What it needs is not installed, or the configuration does not suffice.
    """
    module, _, attribute = STORES[config.objects.backend].opener.partition(":")
    opener: Callable[[Config], OpenedStore] = getattr(import_module(module), attribute)
    return opener(config)
