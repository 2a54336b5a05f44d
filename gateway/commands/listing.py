"""The command that lists: `iris studies`."""

import time
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from gateway.ledger.ordering import Sort
from gateway.ledger.states import StudyState

from .console import (
    ConfigOption,
    JsonOption,
    client_of,
    clock,
    one_of,
    out,
    plain_errors,
    print_json,
    say_table,
)
from .meaning import OfStudies, in_zone, narrowed_by_studies
from .studies import where_in_words

LOOK_EVERY_S: Final = 2.0
"""How often `iris studies --watch` asks."""

WIDE: Final = 150
"""Columns of a terminal that has room for what happened last."""

Limit = Annotated[int, typer.Option(min=1, max=500)]


@narrowed_by_studies
def studies(
    *,
    of: OfStudies,
    config: ConfigOption = None,
    state: Annotated[
        str, typer.Option(help="receiving, processing, failed, held or done", callback=one_of(*StudyState))
    ] = "",
    destination: Annotated[
        str, typer.Option(help="Only those of which a result is there, or is to go there")
    ] = "",
    since: Annotated[
        datetime | None, typer.Option(help="Only those received since then, by the clock on the wall")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Only those received before that, by the clock on the wall")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(help=f"By what they stand in order: {', '.join(Sort)}", callback=one_of(*Sort)),
    ] = Sort.RECEIVED,
    limit: Limit = 50,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again whenever something changes, until Ctrl-C")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the latest studies, or those that options name."""
    if watch and as_json:
        raise typer.BadParameter("--watch is for people; leave out --json, or ask again and again")
    from gateway.api.studies.study_filter import (
        StudyQuery,
    )  # late: `iris serve` loads no ledger before its port is open

    said = {
        **of,
        **{"state": state, "destination": destination, "since": in_zone(since), "until": in_zone(until)},
    }
    narrowed = {name: value for name, value in said.items() if value}
    with plain_errors(), suppress(KeyboardInterrupt):  # which ends --watch
        query = StudyQuery.model_validate({**narrowed, "sort": sort, "limit": limit})
        client = client_of(config)
        before = None
        while True:
            items = client.studies(query)
            if as_json:
                print_json({"items": items})
            elif items != before:
                if before is not None:
                    out.clear()  # nothing where nobody looks
                _say_studies(items, is_narrowed=bool(narrowed))
            if not watch:
                return
            before = items
            time.sleep(LOOK_EVERY_S)


def _say_studies(items: list[dict[str, Any]], *, is_narrowed: bool) -> None:
    if not items:
        none_yet = "no studies yet; point a PACS at the gateway, or use `iris send`"
        out.print("no study is like that" if is_narrowed else none_yet)
        return
    columns = {
        "study": [item["study_uid"] for item in items],
        "patient": [item["patient_id"] for item in items],
        "accession": [item["accession_number"] for item in items],
        "state": [item["state"] for item in items],
        "received": [clock(item["received"]) for item in items],
        "where": [where_in_words(item["whereabouts"]) for item in items],
    }
    if any(item["flags"] for item in items):
        columns["flags"] = [", ".join(item["flags"]) for item in items]
    if out.width >= WIDE or not out.is_terminal:
        columns["last step"] = [_last_step(item["last_step"]) for item in items]
    say_table([*columns], [*zip(*columns.values(), strict=True)])


def _last_step(step: dict[str, str] | None) -> str:
    return f"{clock(step['at'])} {step['sentence']}" if step is not None else ""
