"""The commands that look after the ledger: `iris ledger check`, `rebuild`, `backup`, `accept-secret`."""

from pathlib import Path
from typing import Annotated

import typer

from .console import (
    ConfigOption,
    JsonOption,
    fail,
    out,
    plain_errors,
    progress_bar,
    progress_of_parts,
    say_checks,
)

ledger_commands = typer.Typer(name="ledger", help="The file that knows every study.", no_args_is_help=True)

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask")]


@ledger_commands.command("check")
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look at all of the ledger's file, and whether what it says holds, with the gateway running or not."""
    from gateway.commands.ledger_check import check_ledger
    from gateway.config import load_config
    from gateway.logs import silence_logging

    silence_logging()
    with plain_errors():
        with progress_bar("looking at the ledger") as tell:
            checks = list(check_ledger(load_config(config), tell))
        say_checks(checks, as_json=as_json)


@ledger_commands.command("rebuild")
def rebuild(
    config: ConfigOption = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Take rows of this backup, not of the present ledger"),
    ] = None,
) -> None:
    """Make the ledger anew of what can be read of it and of what is kept; the old one is set aside."""
    from gateway.commands.ledger_rebuild import rebuild_ledger
    from gateway.config import load_config
    from gateway.logs import silence_logging

    silence_logging()
    with plain_errors():
        settings = load_config(config)
        with progress_of_parts() as tell:
            rebuilt = rebuild_ledger(settings, tell, source)
    for line in rebuilt.lines():
        out.print(line)


@ledger_commands.command("backup")
def backup(
    config: ConfigOption = None,
    target: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="A new file; else a dated one in data_dir/backups"),
    ] = None,
) -> None:
    """Copy the ledger as it is at this moment, with the gateway running or not."""
    from gateway.config import load_config
    from gateway.files.names import LEDGER_NAME
    from gateway.ledger.backup import FOLDER, back_up, dated

    with plain_errors():
        data_dir = load_config(config).data_dir
        if not (data_dir / LEDGER_NAME).exists():
            fail(f"there is no ledger in {data_dir}; look at site.data_dir")
        if target is not None and not target.absolute().parent.is_dir():
            fail(f"there is no folder {target.absolute().parent}; mount it, or make it")
        target = target or data_dir / FOLDER / f"ledger-{dated()}.sqlite"
        with progress_bar(f"copying to {target}") as tell:
            back_up(data_dir / LEDGER_NAME, target, tell)
    out.print(
        f"{target} holds the ledger as it was when the copy began; `site-secret` is not in it: copy it, too"
    )


@ledger_commands.command("accept-secret")
def accept(config: ConfigOption = None, yes: YesOption = False) -> None:
    """Go on with another site secret, because the one before is lost: every key and UID will be another."""
    from gateway.config import load_config
    from gateway.files.names import LEDGER_NAME
    from gateway.files.site_secret import accept_secret
    from gateway.ledger.store import Ledger
    from gateway.logs import silence_logging

    silence_logging()
    with plain_errors():
        settings = load_config(config)
        if not yes:
            typer.confirm(
                "Studies that come in again will be segmented and delivered once more, under other UIDs, and"
                " gateways that shared the old secret will not know their keys. Go on?",
                abort=True,
            )
        with Ledger(settings.data_dir / LEDGER_NAME) as ledger:
            accept_secret(ledger, settings.secret_path)
    out.print(f"{settings.secret_path} is the site secret from now on; keep a copy of it in a safe place")
