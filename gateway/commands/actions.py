"""What a person asks of a running gateway: `iris cancel`, `release`, `complete`, `drop`, `redirect`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import ConfigOption, out, plain_errors


def cancel(
    key: Annotated[str, typer.Argument(help="Key of a job that is not over")], config: ConfigOption = None
) -> None:
    """Stop a job and what it has not delivered."""
    _ask(config, f"jobs/{key}/cancel")
    out.print("it is cancelled; `iris retry` takes it up again")


def release(
    key: Annotated[str, typer.Argument(help="Key of a job that is held")], config: ConfigOption = None
) -> None:
    """Let a held job go on."""
    _ask(config, f"quarantine/{key}/release")
    out.print("it goes on")


def complete(
    uid: Annotated[str, typer.Argument(metavar="STUDY", help="Study Instance UID, or the study's key")],
    config: ConfigOption = None,
) -> None:
    """Say that a study has arrived: it is not waited for any longer."""
    _ask(config, f"studies/{uid}/complete")
    out.print("it counts as complete")


def drop(
    key: Annotated[str, typer.Argument(help="Key of a delivery that failed or waits")],
    config: ConfigOption = None,
) -> None:
    """Do not send a result there any more."""
    _ask(config, f"deliveries/{key}/drop")
    out.print("it is not sent any more")


def redirect(
    key: Annotated[str, typer.Argument(help="Key of a delivery that failed or waits")],
    to: Annotated[str, typer.Option(help="Name of a configured destination")],
    config: ConfigOption = None,
) -> None:
    """Send a result to another destination instead."""
    _ask(config, f"deliveries/{key}/redirect", {"to": to})
    out.print(f"it goes to {to} instead")


def _ask(config: Path | None, path: str, body: dict[str, Any] | None = None) -> None:
    from gateway.config import load_config

    from .status_client import StatusClient

    with plain_errors():
        StatusClient(load_config(config).data_dir).act(path, body)
