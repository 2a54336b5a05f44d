"""`python -m benchmarks.receive`: how many images a second the listener takes, beside others, in one run.

Receivers take turns in every round, each on a fresh folder; medians count. The sender's processes share the
machine's cores with the receiver.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.measuring import ROOT
from benchmarks.outcome import machine
from benchmarks.programs import ProgramFailed

from .receivers import RECEIVERS, Receiver, listening
from .sending import Load, made, send

LOADS = (
    Load(512, 1, 300),
    Load(512, 8, 320),
    Load(256, 1, 600),
    Load(256, 8, 640),
    Load(512, 32, 320),
    Load(50, 1, 600),
    Load(50, 1, 600, holds_back=True),
)
WARM_UP = Load(512, 8, 400)
"""Long enough for the gateway's second process to be there."""
BESIDE = "pynetdicom"

out = Console(highlight=False, markup=False, width=160)


@dataclass(frozen=True)
class Taken:
    """What one receiver did with one load."""

    images_a_second: float
    cpu_ms: float
    """Of the receiver, an image."""
    peak_mb: float


def receive(
    names: Annotated[list[str] | None, typer.Argument(help="Receivers; all when left out")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    page: Annotated[Path | None, typer.Option(help="Write what was found as Markdown")] = None,
) -> None:
    """Measure the listener beside a plain pynetdicom handler and dcmtk's storescp."""
    chosen = [receiver for receiver in RECEIVERS if not names or receiver.name in names]
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    found: dict[tuple[str, Load], list[Taken]] = {}
    with tempfile.TemporaryDirectory(dir=build) as folder:
        for load in LOADS:
            for number in range(rounds):
                out.print(f"{load}: round {number + 1} of {rounds} ...")
                for receiver in chosen:
                    try:
                        taken = _taken(receiver, load, Path(folder))
                    except ProgramFailed as failure:
                        out.print(f"{receiver.name}: {failure}")
                        continue
                    found.setdefault((receiver.name, load), []).append(taken)
    text = "\n".join(_page({key: _middle(of) for key, of in found.items()})) + "\n"
    out.print(text)
    if page is not None:
        page.write_text(text, encoding="utf-8")


def _taken(receiver: Receiver, load: Load, folder: Path) -> Taken:
    try:
        with listening(receiver, folder / "received") as receiving:
            send(made(WARM_UP, folder / "warm-up"), receiving)
            folders = made(load, folder / "images")
            before = receiving.usage()
            seconds = send(folders, receiving, holds_back=load.holds_back)
            after = receiving.usage()
    finally:
        for name in ("received", "warm-up", "images"):
            shutil.rmtree(folder / name, ignore_errors=True)
    return Taken(load.images / seconds, 1000 * (after.cpu_s - before.cpu_s) / load.images, after.peak_mb)


def _middle(of: Sequence[Taken]) -> Taken:
    return Taken(
        median(taken.images_a_second for taken in of),
        median(taken.cpu_ms for taken in of),
        median(taken.peak_mb for taken in of),
    )


def _page(found: dict[tuple[str, Load], Taken]) -> Iterator[str]:
    on = machine()
    yield "# Receiving"
    yield ""
    yield (
        f"Made by `python -m benchmarks.receive` on {datetime.now(UTC).date()}: {on['cpus']} cores "
        f"({on['processor']}, {on['system']}, Python {on['python']}), which the sender shares: storescu with "
        f"TCP_NODELAY, a process an association. Only ours is durable: file, names and ledger are synced "
        f"before the answer. The ratio is that of images a second to those of the plain handler."
    )
    yield ""
    yield "| load | receiver | images/s | ratio | CPU ms an image | peak MB |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for (name, load), taken in found.items():
        beside = found.get((BESIDE, load))
        ratio = f"{taken.images_a_second / beside.images_a_second:.2f}" if beside else ""
        yield (
            f"| {load} | {name} | {taken.images_a_second:.0f} | {ratio} | {taken.cpu_ms:.1f} "
            f"| {taken.peak_mb:.0f} |"
        )


if __name__ == "__main__":
    typer.run(receive)
