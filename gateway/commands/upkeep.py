"""The commands of whoever looks after a gateway: `iris doctor`, `iris mirror`, `iris config`."""

from pathlib import Path
from typing import Annotated

import typer

from .console import ConfigOption, JsonOption, out, plain_errors, progress_bar, say_checks

mirror_commands = typer.Typer(name="mirror", help="The table that mirrors the ledger.", no_args_is_help=True)
config_commands = typer.Typer(name="config", help="The configuration file.", no_args_is_help=True)


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the configuration and everything around the gateway, and say the fix."""
    from gateway.commands.doctor import examine
    from gateway.config import load_config
    from gateway.logs import silence_logging

    silence_logging()
    with plain_errors():
        checks = list(examine(load_config(config)))
    say_checks(checks, as_json=as_json)


@mirror_commands.command("rebuild")
def rebuild(config: ConfigOption = None) -> None:
    """Write the mirror's table anew from the ledger, with the gateway running or not."""
    from gateway.commands.mirror_rebuild import rebuild_mirror
    from gateway.config import load_config
    from gateway.logs import silence_logging

    silence_logging()
    with plain_errors():
        settings = load_config(config)
        with progress_bar(f"writing {settings.mirror.table}") as tell:
            written = rebuild_mirror(settings, tell)
    out.print(f"{settings.mirror.table} has everything: {written} items written")


@config_commands.command("from-stack")
def config_from_stack(
    stack: Annotated[str, typer.Argument(help="Name of a stack that was made of infra/template.yaml")],
    region: Annotated[str, typer.Option(help="Where it is; by default the region of your AWS profile")] = "",
    second: Annotated[
        str,
        typer.Option(
            "--second", metavar="REGION/STACK", help="A stack whose machines are for what gets none here"
        ),
    ] = "",
    target: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A new file; else it is printed")
    ] = None,
) -> None:
    """Write a configuration for the gateway whose stack in AWS this is."""
    from gateway.commands.stack_config import config_of_stack

    with plain_errors():
        text = config_of_stack(stack, region, second)
        if target is None:
            typer.echo(text, nl=False)
            return
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    out.print(f"{target}; now: iris doctor --config {target}")
