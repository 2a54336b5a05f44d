"""The options that say which studies are meant, alike in `iris studies` and with `--all`."""

import inspect
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Annotated, Any, Final

import typer

from gateway.ledger.waiting import Waits

from .console import one_of

OfStudies = Mapping[str, str]
"""What is said of studies, by the names of the API; only what is said."""

_OPTIONS: Final = {
    "q": typer.Option(
        "--q",
        metavar="TEXT",
        help="Only studies whose Patient ID, accession number, UID or key begins so, or the key"
        " of one of their jobs or deliveries",
    ),
    "waits": typer.Option(
        "--waits", help=f"Only studies that wait for this: {', '.join(Waits)}", callback=one_of(*Waits)
    ),
    "modality": typer.Option("--modality", help="Only studies with images of it: CT, MR, ..."),
    "sender": typer.Option("--sender", help="Only studies with images from this AE title"),
    "rule": typer.Option("--rule", help="Only studies with a job of this rule"),
    "flag": typer.Option("--flag", metavar="CODE", help="Only studies with a result that has this flag"),
}


def narrowed_by_studies(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; what they say it gets as its parameter `of`."""
    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=Annotated[str, option])
        for name, option in _OPTIONS.items()
    ]

    @wraps(command)
    def narrowed(**given: Any) -> None:
        said = {name: given.pop(name).strip() for name in _OPTIONS}
        command(**given, of={name: text for name, text in said.items() if text})

    kept = [one.replace(kind=one.kind.KEYWORD_ONLY) for one in own.parameters.values() if one.name != "of"]
    narrowed.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    narrowed.__annotations__ = {one.name: one.annotation for one in (*kept, *added)}
    return narrowed


def in_zone(at: datetime | None) -> str:
    """A time by the clock on the wall, as the API takes it; empty for None.

    Raises
    ------
    typer.BadParameter
        It is of a year that the API does not take.
    """
    from gateway.api.studies.study_filter import FIRST_YEAR, LAST_YEAR  # late: most commands need no API

    if at is None:
        return ""
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise typer.BadParameter(f"a time is to be of the years {FIRST_YEAR} to {LAST_YEAR}, not {at.year}")
    return at.astimezone().isoformat()
