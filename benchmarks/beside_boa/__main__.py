"""`python -m benchmarks.beside_boa prepare|run|page`: see benchmarks/README.md."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from .boa import Boa, Installed
from .course import run as run_course
from .orthancs import pacs
from .ours import Iris, a_port
from .page import write
from .preparing import prepare as prepare_folder
from .sides import Side
from .studies import made

ENGINE_S: Final = 4.0
"""So long the stand-in for a network takes, on both sides."""

app = typer.Typer(add_completion=False)


class Which(StrEnum):
    """Who takes the studies."""

    IRIS = "iris"
    BOA = "boa"


@app.command()
def prepare(
    source: Annotated[str, typer.Argument(help="Address or path of UMEssen/Body-and-Organ-Analysis")],
    folder: Path,
    python: Annotated[Path, typer.Option(help="A Python 3.12")] = Path("python3.12"),
) -> None:
    """Get BOA, and install what it needs but its engine."""
    folder.mkdir(parents=True)
    prepare_folder(source, folder, python)


@app.command()
def run(
    side: Which,
    folder: Annotated[Path, typer.Argument(help="What the run leaves")],
    boa: Annotated[Path, typer.Option(help="The folder that was prepared")] = Path("build/beside-boa"),
    count: Annotated[int, typer.Option(help="How many studies; without mishaps up to 20")] = 60,
    as_locked: Annotated[bool, typer.Option("--as-locked", help="BOA with pydicom-seg as it comes")] = False,
    destination: Annotated[str, typer.Option(help="Further keys of our destination, as TOML")] = "",
) -> None:
    """Let one side take the studies, and write what the PACS has in the end to FOLDER/found.json."""
    folder = folder.absolute()
    (folder / "work").mkdir(parents=True)
    studies = made(folder / "studies", count)
    port = a_port()
    hospital = pacs(folder, port)
    taker: Side
    if side is Which.IRIS:
        taker = Iris(folder / "work", port, hospital, ENGINE_S, destination)
    else:
        # A virtual environment is known by the link that its Python is: it is not followed.
        python = boa.absolute() / "worker" / "bin" / "python"
        installed = Installed(
            (boa / "checkout").resolve(), python, (boa / "for-orthanc").resolve(), not as_locked
        )
        taker = Boa(folder / "work", installed, hospital, ENGINE_S)
    found = run_course(taker, hospital, studies, folder / "results", typer.echo)
    text = json.dumps({"side": taker.name, "studies": [asdict(one) for one in found]}, indent=1)
    (folder / "found.json").write_text(text, encoding="utf-8")


@app.command()
def page(found: Annotated[list[Path], typer.Argument(help="What runs found, one file a side")]) -> None:
    """Write the tables of docs/peers.md."""
    write([json.loads(path.read_text(encoding="utf-8")) for path in found])


if __name__ == "__main__":
    app()
