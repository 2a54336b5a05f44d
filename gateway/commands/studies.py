"""The commands that ask and tell the gateway something about studies: `iris studies`, `study`, `retry`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from .console import ConfigOption, JsonOption, out, plain_errors, print_json


def studies(
    config: ConfigOption = None,
    state: Annotated[str | None, typer.Option(help="receiving, processing, failed, held or done")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the latest studies."""
    with plain_errors():
        items = _status_client(config).studies(state=state, limit=limit)
    if as_json:
        print_json({"items": items})
        return
    widest = max((len(item["study_uid"]) for item in items), default=0)
    table = Table(Column("study", min_width=widest), "state", "received", "reason", box=None, pad_edge=False)
    for item in items:
        table.add_row(item["study_uid"], item["state"], _short(item["received"]), item["reason"])
    out.print(table if items else "no studies yet; point a PACS at the gateway, or use `iris send`")


def study(
    uid: Annotated[str, typer.Argument(help="Study Instance UID, or the study's key")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one study: where it is, and everything that happened to it."""
    with plain_errors():
        item = _status_client(config).study(uid)
    if as_json:
        print_json(item)
        return
    reason = f" ({item['reason']})" if item["reason"] else ""
    out.print(f"{item['study_uid']}: {item['state']}{reason}, received {_short(item['received'])}")
    for job in item["jobs"]:
        out.print(f"  job {job['job_key'][:16]}  {job['task']}: {job['state']}  {job['reason']}")
    for delivery in item["deliveries"]:
        out.print(f"  to {delivery['destination']}: {delivery['state']}  {delivery['reason']}")
    for line in item["timeline"]:
        detail = ", ".join(f"{key}: {value}" for key, value in line["detail"].items())
        out.print(f"  {_short(line['at'])}  {line['event']:<24}{detail}")


def retry(
    key: Annotated[str, typer.Argument(help="Key of a failed job or delivery")], config: ConfigOption = None
) -> None:
    """Take up what failed under this key."""
    with plain_errors():
        _status_client(config).retry(key)
    out.print("it is taken up again")


def _status_client(config: Path | None) -> Any:
    from gateway.commands.status_client import StatusClient
    from gateway.config import load_config

    return StatusClient(load_config(config).data_dir)


def _short(at: str) -> str:
    return at[:19].replace("T", " ")
