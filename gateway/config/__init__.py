"""The configuration: what can be set, section by section, and the catalogues that its keys name.

What is imported from here is loaded when it is asked for: pydantic takes a quarter of a second, and a command
that only wants `roles` or `outputs` does without. `configuration` has the whole.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .configuration import UPLOAD_RULE, Config, ConfigError, load_config, read_config
    from .destinations import DESTINATION_KINDS, Destination
    from .engine import Engine
    from .notify import Notify
    from .sections import (
        AllowedSender,
        Api,
        Aws,
        Dicom,
        Fallback,
        Find,
        ListenerTls,
        Mirror,
        News,
        Objects,
        Overlay,
        PeerTls,
        Queue,
        Retention,
        Rule,
        Seg,
        Site,
        StudyTimes,
        Traces,
        Urgent,
        Watch,
    )

__all__ = [
    "DESTINATION_KINDS",
    "UPLOAD_RULE",
    "AllowedSender",
    "Api",
    "Aws",
    "Config",
    "ConfigError",
    "Destination",
    "Dicom",
    "Engine",
    "Fallback",
    "Find",
    "ListenerTls",
    "Mirror",
    "News",
    "Notify",
    "Objects",
    "Overlay",
    "PeerTls",
    "Queue",
    "Retention",
    "Rule",
    "Seg",
    "Site",
    "StudyTimes",
    "Traces",
    "Urgent",
    "Watch",
    "load_config",
    "read_config",
]


_MODULES = {
    "DESTINATION_KINDS": "destinations",
    "UPLOAD_RULE": "configuration",
    "Config": "configuration",
    "ConfigError": "configuration",
    "Destination": "destinations",
    "Engine": "engine",
    "Notify": "notify",
    "load_config": "configuration",
    "read_config": "configuration",
}
"""Where what is no section comes from."""


def _load(name: str) -> object:
    """What stands behind a name, which is kept (PEP 562).

    Raises
    ------
    AttributeError
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f".{_MODULES.get(name, 'sections')}", __name__), name)
    globals()[name] = found
    return found


if not TYPE_CHECKING:
    __getattr__ = _load  # a type checker goes by the imports above, and knows what is not there
