"""The command `iris send`: DICOM files by C-STORE, without a gateway."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from .console import err, fail, out, plain_errors


def send(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders", exists=True)],
    to: Annotated[str, typer.Option(help="AE@HOST:PORT")],
    calling: Annotated[str, typer.Option(help="This side's AE title")] = "IRIS-SEND",
) -> None:
    """Send DICOM files by C-STORE, as they are stored."""
    from gateway.adapters.dicom.peer import parse_peer
    from gateway.delivery.sending import dicom_files, send_files
    from gateway.delivery.statuses import Answer, understand

    try:
        peer = parse_peer(to)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--to") from None
    with plain_errors():
        files = dicom_files(paths)
        if not files:
            fail("there is no DICOM file there")
        with Progress(console=err, transient=True) as progress:
            task = progress.add_task(f"sending to {peer}", total=len(files))
            results = send_files(files, peer, calling, on_sent=lambda *_: progress.advance(task))
    bad = [result for result in results if understand(result.status) is not Answer.STORED]
    for result in bad:
        err.print(f"{result.path.name}: {result.meaning}")
    stored = len(results) - len(bad)
    out.print(f"{stored} of {len(files)} files stored at {peer}")
    if stored < len(files):
        raise typer.Exit(1)
