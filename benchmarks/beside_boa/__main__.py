"""`python -m benchmarks.beside_boa CHECKOUT --side iris|boa`: one side, as JSON."""

import json
import tempfile
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .boa import Boa, Installed
from .counting import FOUND
from .course import run
from .orthancs import pacs
from .ours import Iris, a_port
from .sides import Side
from .studies import made


class Which(StrEnum):
    """Who takes the studies."""

    IRIS = "iris"
    BOA = "boa"


def main(
    checkout: Annotated[Path, typer.Argument(help="A checkout of UMEssen/Body-and-Organ-Analysis")],
    side: Which,
    count: Annotated[int, typer.Option(help="How many studies; no mishaps up to 20")] = 60,
    worker_python: Annotated[Path, typer.Option(help="A Python 3.12 with what BOA's lock names")] = Path(
        "build/beside/worker/bin/python"
    ),
    for_orthanc: Annotated[Path, typer.Option(help="A folder with Celery for Orthanc's plugin")] = Path(
        "build/beside/for-orthanc"
    ),
    as_locked: Annotated[bool, typer.Option("--as-locked", help="BOA with pydicom-seg as it comes")] = False,
    destination: Annotated[str, typer.Option(help="Further keys of our destination, as TOML")] = "",
    engine_s: float = 4.0,
    keep: Annotated[Path | None, typer.Option(help="Keep everything in this folder")] = None,
) -> None:
    """Let one side take the studies, and print what the PACS has in the end."""
    folder = (keep or Path(tempfile.mkdtemp(prefix="iris-beside-"))).absolute()
    (folder / "work").mkdir(parents=True)
    studies = made(folder / "studies", count)
    port = a_port()
    hospital = pacs(folder, port)
    taker: Side
    if side is Which.IRIS:
        taker = Iris(folder / "work", port, hospital, engine_s, destination)
    else:
        # The link of a virtual environment is its name: it is not followed.
        python = worker_python.absolute()
        installed = Installed(checkout.resolve(), python, for_orthanc.resolve(), not as_locked)
        taker = Boa(folder / "work", installed, hospital, engine_s)
    found = run(taker, hospital, studies, folder / "results", lambda text: typer.echo(text, err=True))
    numbers = {what: sum(one.found == what for one in found) for what in FOUND}
    typer.echo(
        json.dumps({"side": taker.name, "counts": numbers, "studies": [*map(asdict, found)]}, indent=1)
    )


if __name__ == "__main__":
    typer.run(main)
