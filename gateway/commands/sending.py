"""The command `iris send`: DICOM files by C-STORE, without a gateway."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from .console import err, fail, out, plain_errors, progress_bar


def send(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders", exists=True)],
    to: Annotated[str, typer.Option(help="AE@HOST:PORT")],
    calling: Annotated[str, typer.Option(help="This side's AE title")] = "IRIS-SEND",
) -> None:
    """Send DICOM files by C-STORE, as they are stored."""
    from gateway.adapters.dicom.peer import parse_peer
    from gateway.delivery.sending import Sent, dicom_files, each_sent
    from gateway.delivery.statuses import DOES_NOT_MATCH, Answer, understand

    try:
        peer = parse_peer(to)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--to") from None
    said: dict[str, list[Sent]] = {}
    stored = put_aside = 0
    with plain_errors():
        files = dicom_files(paths)
        if not files:
            fail("there is no DICOM file there")
        with progress_bar(f"sending to {peer}") as told, closing(each_sent(files, peer, calling)) as course:
            for number, sent in enumerate(course, start=1):
                told(number, len(files))
                is_stored = sent.why_not is None and understand(sent.status) is Answer.STORED
                stored += is_stored
                put_aside += sent.status == DOES_NOT_MATCH
                if not is_stored or sent.status == DOES_NOT_MATCH:
                    said.setdefault(sent.meaning, []).append(sent)
    for meaning, alike in said.items():
        others = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        err.print(f"{alike[0].path.name}{others}: {meaning}")
    aside = (
        f", {put_aside} of them put aside there (a gateway says why: `iris quarantine`)" if put_aside else ""
    )
    out.print(f"{stored} of {len(files)} files stored at {peer}{aside}")
    if stored < len(files):
        raise typer.Exit(1)
