"""The command `iris`: exit 0 on success, 1 on failure with a line that says what to do, 2 on wrong usage."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gateway.commands.actions import (
    cancel,
    complete,
    drop,
    priority,
    redirect,
    release,
    reprocess,
    resend,
    retry,
)
from gateway.commands.backfill import backfill
from gateway.commands.console import out
from gateway.commands.converter import convert, decode, encode
from gateway.commands.corrections import corrections_commands
from gateway.commands.ledger import ledger_commands
from gateway.commands.listing import studies
from gateway.commands.notify import notify_commands
from gateway.commands.quarantine import quarantine_commands
from gateway.commands.sending import send
from gateway.commands.serve import serve
from gateway.commands.studies import forget, study, use
from gateway.commands.tokens import token_commands
from gateway.commands.upkeep import config_commands, doctor, mirror_commands
from gateway.commands.volumes import volumes
from gateway.demo.command import demo
from gateway.prove.command import prove
from gateway.standard_streams import open_closed_streams


class _Commands(TyperGroup):
    """What says in our words which value an option cannot have."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as refused:
            from pydantic import ValidationError

            from batch_job.contract import what_is_wrong

            if isinstance(refused.__cause__, ValidationError):
                refused.message = "; ".join(what_is_wrong(dict(each)) for each in refused.__cause__.errors())
            raise


app = typer.Typer(
    name="iris",
    cls=_Commands,
    help="An event-driven DICOM gateway: every suitable study in the PACS gets a segmentation, unasked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"iris {version('iris-gateway')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    open_closed_streams()
    app()


for command in (
    *(
        serve,
        demo,
        send,
        studies,
        study,
        retry,
        use,
        cancel,
        priority,
        reprocess,
        release,
        complete,
        drop,
        resend,
        redirect,
    ),
    forget,
    *(backfill, prove, doctor, volumes, convert, encode, decode),
):
    app.command()(command)
for commands in (
    *(quarantine_commands, ledger_commands, token_commands, mirror_commands, config_commands),
    *(corrections_commands, notify_commands),
):
    app.add_typer(commands)

if __name__ == "__main__":
    main()
