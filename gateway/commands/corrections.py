"""The command `iris corrections`: results that somebody edited, as a list and for training."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import (
    ConfigOption,
    JsonOption,
    clock,
    err,
    fail,
    out,
    plain_errors,
    print_json,
    progress_bar,
    say_table,
)

if TYPE_CHECKING:
    from gateway.ledger.records import CorrectionRow
    from gateway.ledger.store import Ledger

corrections_commands = typer.Typer(
    name="corrections", help="Results that somebody edited and that came back.", invoke_without_command=True
)


@corrections_commands.callback()
def list_corrections(
    context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the results that somebody edited and that came back, the latest first."""
    if context.invoked_subcommand is not None:
        return
    from gateway.api.studies.corrections import shown
    from gateway.config import load_config
    from gateway.files.names import LEDGER_NAME
    from gateway.ledger.store import Ledger

    with plain_errors(), Ledger(load_config(config).data_dir / LEDGER_NAME, read_only=True) as ledger:
        items = [{**shown(row), "job_key": row.job_key, "study_uid": row.study_uid} for row in _known(ledger)]
    if as_json:
        print_json({"items": items})
        return
    if not items:
        out.print("no corrections yet; have edited segmentations routed to the gateway")
        return
    rows = []
    for item in items:
        differs = item["reason"] or in_short(item["structures"])
        rows.append((item["key"][:16], clock(item["received"]), item["job_key"][:16], item["state"], differs))
    say_table(("correction", "received", "job", "state", "what differs"), rows)


@corrections_commands.command("export")
def export(
    target: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Made where it is missing")],
    config: ConfigOption = None,
) -> None:
    """Write image, our labels and the corrected ones of each, a folder a correction, for training."""
    from converter.errors import ConverterError
    from gateway.config import load_config
    from gateway.corrections.exporting import export_correction
    from gateway.files.names import LEDGER_NAME
    from gateway.ledger.states import CorrectionState
    from gateway.ledger.store import Ledger
    from gateway.logs import silence_logging
    from gateway.workers.attempts import CannotGoOn

    silence_logging()
    written = there = left_out = 0
    with plain_errors():
        data_dir = load_config(config).data_dir.absolute()
        with (
            Ledger(data_dir / LEDGER_NAME, read_only=True) as ledger,
            _temporary_files_in(target.absolute() / ".temporary"),
            progress_bar("writing") as tell,
        ):
            rows = [row for row in _known(ledger) if row.state is CorrectionState.COMPARED]
            for done, row in enumerate(rows):
                tell(done, len(rows))
                try:
                    is_new = export_correction(row, ledger, data_dir, target.absolute())
                except (CannotGoOn, ConverterError) as error:
                    err.print(f"left out: {str(row.key)[:16]}: {error}")
                    left_out += 1
                    continue
                written, there = written + is_new, there + (not is_new)
    out.print(f"{target}: {written} written, {there} there already, {left_out} left out")
    if left_out and not written and not there:
        fail("nothing could be written; the lines above say why")


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Images on their way are patients' too: a kill must not leave them elsewhere."""
    from gateway.adapters.durable import make_folder, remove_folder

    make_folder(folder)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        remove_folder(folder)


def _known(ledger: "Ledger") -> "list[CorrectionRow]":
    """Every segmentation that is known to be a correction, the latest first."""
    from gateway.ledger.records import CorrectionRow

    rows = ledger.read("SELECT * FROM corrections WHERE job_key IS NOT NULL ORDER BY received_at DESC")
    return [CorrectionRow.of(row) for row in rows]


def in_short(structures: Sequence[Mapping[str, Any]]) -> str:
    """What differs, in a line."""
    said = []
    for one in structures:
        if one["is_new"]:
            said.append(f"{one['structure']} added ({one['corrected_ml']} ml)")
        elif one["corrected_ml"] is None:
            said.append(f"{one['structure']} left out")
        elif one["dice"] != 1.0:
            said.append(f"{one['structure']} Dice {one['dice']} ({one['change_ml']:+} ml)")
    return "; ".join(said) or "nothing"
