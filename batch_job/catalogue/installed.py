"""Engines of other packages, by their entry points of the group `iris.engines`: NAME = "module:Class".

The class has `facts`, a dictionary with the keys of a file of the catalogue; name, loader, package and
version are its entry point's. It is imported wherever the engine is asked for by name, in the gateway too:
what is large (torch) is imported in its `segment`.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from pydantic import ValidationError

from batch_job.refusals import ContractError, reasons_in

from . import EngineFacts

GROUP: Final = "iris.engines"


def installed_engines() -> dict[str, EntryPoint]:
    """The entry points by their names."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def installed_facts(entry: EntryPoint) -> EngineFacts:
    """What is said of an engine where it is written.

    Raises
    ------
    ContractError
        It cannot be imported, or what it says is not as it must be.
    """
    where = f"the engine {entry.name} ({entry.value})"
    try:
        said = entry.load().facts
    except Exception as error:
        raise ContractError(
            f"{where} does not load: {type(error).__name__}; install its package anew"
        ) from error
    package = {"package": entry.dist.name, "version": entry.dist.version} if entry.dist else {}
    try:
        return EngineFacts.model_validate({**package, **said, "name": entry.name, "loader": entry.value})
    except (ValidationError, TypeError) as error:
        reasons = reasons_in(error) if isinstance(error, ValidationError) else "its facts are no dictionary"
        raise ContractError(f"{where}: {reasons}") from None
