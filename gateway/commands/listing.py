"""The commands that list: `iris studies`, `iris quarantine`."""

import time
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from gateway.ledger.states import StudyState

from .console import ConfigOption, JsonOption, clock, one_of, out, plain_errors, print_json, say_table
from .studies import client_of

LOOK_EVERY_S: Final = 2.0
"""How often `iris studies --watch` asks."""

Limit = Annotated[int, typer.Option(min=1, max=500)]


def studies(
    config: ConfigOption = None,
    sought: Annotated[
        str,
        typer.Option(
            "--q",
            metavar="TEXT",
            help="Only those whose Patient ID, accession number, UID or key begins so, or the key"
            " of one of their jobs or deliveries",
        ),
    ] = "",
    state: Annotated[
        str, typer.Option(help="receiving, processing, failed, held or done", callback=one_of(*StudyState))
    ] = "",
    since: Annotated[
        datetime | None, typer.Option(help="Only those received since then, by the clock on the wall")
    ] = None,
    limit: Limit = 50,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again whenever something changes, until Ctrl-C")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the latest studies."""
    if watch and as_json:
        raise typer.BadParameter("--watch is for people; leave out --json, or ask again and again")
    at = since.astimezone() if since is not None else None
    is_narrowed = bool(sought or state or since)
    with plain_errors(), suppress(KeyboardInterrupt):  # which ends --watch
        client = client_of(config)
        before = None
        while True:
            items = client.studies(limit=limit, state=state or None, since=at, sought=sought.strip())
            if as_json:
                print_json({"items": items})
            elif items != before:
                if before is not None:
                    out.clear()  # nothing where nobody looks
                _say_studies(items, is_narrowed=is_narrowed)
            if not watch:
                return
            before = items
            time.sleep(LOOK_EVERY_S)


def _say_studies(items: list[dict[str, Any]], *, is_narrowed: bool) -> None:
    if not items:
        none_yet = "no studies yet; point a PACS at the gateway, or use `iris send`"
        out.print("no study is like that" if is_narrowed else none_yet)
        return
    names = ("study", "patient", "accession", "state", "received", "reason")
    rows = [
        (
            item["study_uid"],
            item["patient_id"],
            item["accession_number"],
            item["state"],
            clock(item["received"]),
            item["reason"],
        )
        for item in items
    ]
    say_table(names, rows)


def quarantine(config: ConfigOption = None, limit: Limit = 50, as_json: JsonOption = False) -> None:
    """List what waits for a person: held jobs, and objects that were put aside, with the reason."""
    with plain_errors():
        items = client_of(config).quarantine(limit)
    if as_json:
        print_json({"items": items})
        return
    if not items:
        out.print("nothing waits for a person")
        return
    rows = [
        (
            item["key"][:16],
            item["kind"] if item["task"] is None else f"job, {item['task']}",
            clock(item["last"]),
            item["sender"] or "",
            item["study_uid"] or "",
            item["sentence"],
        )
        for item in items
    ]
    say_table(("key", "what", "since", "sender", "study", "why"), rows)
    if any(item["kind"] == "job" for item in items):
        out.print("`iris release KEY` lets a held job go on, `iris cancel KEY` ends it")
