"""`python -m benchmarks.closing`: how long after its release a study is complete, with Orthanc asked or not.

Every study is sent to Orthanc first, then to the gateway, on one association each. The clock is the gateway's
own: the timeline of its ledger, from the last image and from the release of its association to the line that
says that the study is complete. No rule takes the images, so nothing is computed; their headers are read.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import typer

from benchmarks.measuring import ROOT
from benchmarks.outcome import machine
from benchmarks.ports import free_port, is_open
from benchmarks.programs import gateway_command, running
from benchmarks.receive.receivers import dcmtk
from benchmarks.receive.sending import Load, made

LOADS: Final = (Load(512, 1, 20), Load(512, 1, 300))
COMPLETE_TIMEOUT_S: Final = 60.0
QUIET_S: Final = 5.0
ORTHANC: Final = "/usr/sbin/Orthanc"
SETTINGS: Final = """
[study]
quiet_s = {quiet_s}
{find}
[[rule]]
name = "none"
when = {{ SeriesDescription = "no series has this" }}
"""


@dataclass(frozen=True)
class Closed:
    """How long it took until a study was complete."""

    after_last_image_s: float
    after_release_s: float
    evidence: str


def measure(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    page: Annotated[Path | None, typer.Option(help="Write what was found as Markdown")] = None,
) -> None:
    """Measure how soon a study is complete."""
    program = shutil.which("Orthanc") or ORTHANC
    found: dict[tuple[str, Load], list[Closed]] = {}
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as name:
        folder = Path(name)
        with _orthanc(folder, program) as pacs:
            for how, find in (("asked", _find(pacs)), ("nobody is asked", "")):
                with _gateway(folder / how.replace(" ", "-"), find) as (port, ledger):
                    for load in LOADS:
                        closed = [_closed(load, folder / "images", pacs, port, ledger) for _ in range(rounds)]
                        found[how, load] = closed
                        typer.echo(f"{load}, {how}: {closed}")
    text = "\n".join(_page(found, rounds)) + "\n"
    typer.echo(text)
    if page is not None:
        page.write_text(text, encoding="utf-8")


def _find(port: int) -> str:
    return f'find = {{ ae_title = "ORTHANC", host = "127.0.0.1", port = {port} }}'


def _closed(load: Load, folder: Path, pacs: int, gateway: int, ledger: Path) -> Closed:
    images = made(load, folder)[0]
    try:
        for ae_title, port in (("ORTHANC", pacs), ("IRIS", gateway)):
            _send(images, ae_title, port)
        return _await_completion(ledger)
    finally:
        shutil.rmtree(folder)


def _send(images: Path, ae_title: str, port: int) -> None:
    command = [dcmtk("storescu"), "-R", "+sd", "-aec", ae_title, "127.0.0.1", str(port), str(images)]
    subprocess.run(command, check=True, env={**os.environ, "TCP_NODELAY": "1"}, stdout=subprocess.DEVNULL)


def _await_completion(ledger: Path) -> Closed:
    """Of the study that came last."""
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
        give_up_at = time.monotonic() + COMPLETE_TIMEOUT_S
        while time.monotonic() < give_up_at:
            row = connection.execute(
                "SELECT s.last_instance_at, r.at, c.at, c.detail FROM studies s"
                " JOIN events r ON r.study_uid = s.study_uid AND r.event = 'association.released'"
                " JOIN events c ON c.study_uid = s.study_uid AND c.event = 'study.completed'"
                " WHERE s.received_at = (SELECT max(received_at) FROM studies)"
            ).fetchone()
            if row is not None:
                last, released, completed = (datetime.fromisoformat(text) for text in row[:3])
                evidence = json.loads(row[3])["evidence"]
                since = (completed - last).total_seconds(), (completed - released).total_seconds()
                return Closed(*since, evidence)
            time.sleep(0.05)
    raise TimeoutError("the study was not complete in time")


@contextmanager
def _orthanc(folder: Path, program: str) -> Iterator[int]:
    port = free_port()
    settings = {
        "StorageDirectory": str(folder / "orthanc"),
        "IndexDirectory": str(folder / "orthanc"),
        "HttpServerEnabled": False,
        "Plugins": [],
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "DicomAlwaysAllowStore": True,
        "DicomModalities": {"iris": ["IRIS", "127.0.0.1", 104]},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    with running([program, str(path)], folder / "orthanc.log", partial(is_open, port)):
        yield port


@contextmanager
def _gateway(folder: Path, find: str) -> Iterator[tuple[int, Path]]:
    folder.mkdir()
    port = free_port()
    command = gateway_command(folder / "data", port, SETTINGS.format(quiet_s=QUIET_S, find=find))
    with running(command, folder / "iris.log", partial(is_open, port)):
        yield port, folder / "data" / "ledger.sqlite"


def _page(found: dict[tuple[str, Load], list[Closed]], rounds: int) -> Iterator[str]:
    on = machine()
    yield "# From release to complete"
    yield ""
    yield (
        f"Made by `python -m benchmarks.closing` on {datetime.now(UTC).date()}: {on['cpus']} cores "
        f"({on['processor']}, {on['system']}, Python {on['python']}), which Orthanc, the gateway and others "
        f"share. Medians of {rounds}; `study.quiet_s` is {QUIET_S:g}. No rule takes the images; their "
        f"headers are read as ever."
    )
    yield ""
    yield "| study | the PACS | after the last image, s | after the release, s | slowest, s | evidence |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for (how, load), closed in found.items():
        last = [one.after_last_image_s for one in closed]
        released = [one.after_release_s for one in closed]
        evidence = ", ".join(sorted({one.evidence for one in closed}))
        yield (
            f"| {load.images} images of {2 * load.side**2 // 1000} kB | {how} | {median(last):.2f} "
            f"| {median(released):.2f} | {max(released):.2f} | {evidence} |"
        )


if __name__ == "__main__":
    typer.run(measure)
