"""The command `iris demo`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gateway.commands.console import one_of, plain_errors


def demo(
    folder: Annotated[Path, typer.Option(help="Working folder, made anew")] = Path("iris-demo"),
    study: Annotated[Path | None, typer.Option(help="Folder with your own study")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running to look around")] = False,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with lines of your own: an engine, outputs, rules")
    ] = None,
    pacs: Annotated[
        str, typer.Option(help="auto, orthanc or builtin", callback=one_of("auto", "orthanc", "builtin"))
    ] = "auto",
) -> None:
    """Send a real study through the whole gateway and show its segmentation."""
    from gateway.demo.run import run_demo

    with plain_errors():
        raise typer.Exit(
            run_demo(
                folder=folder,
                study=study,
                keep=keep,
                pacs=pacs,
                config=config,
                console=Console(highlight=False, soft_wrap=True),
            )
        )
