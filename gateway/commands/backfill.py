"""The command `iris backfill`: fetches what the PACS has and this gateway has not."""

import fcntl
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import ConfigOption, JsonOption, err, fail, out, plain_errors, print_json, progress_of_parts

if TYPE_CHECKING:
    from gateway.adapters.dicom.peer import Peer
    from gateway.backfill.missing import Inquiry, MissingStudy, Wanted
    from gateway.backfill.pace import Limits
    from gateway.config import Config

_STUDY = "study"
_DAY = "YYYY-MM-DD"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day; write one as 2026-11-30") from None


def backfill(
    since: Annotated[date, typer.Option(parser=_day, metavar=_DAY, help="First study date")],
    until: Annotated[
        date | None, typer.Option(parser=_day, metavar=_DAY, help="Last study date; today")
    ] = None,
    modality: Annotated[str, typer.Option(help="Only series of this modality: CT")] = "",
    limit_per_hour: Annotated[int, typer.Option(min=0, help="So many studies in an hour; 0: no limit")] = 0,
    between: Annotated[str, typer.Option(metavar="HH:MM-HH:MM", help="Only at this time of the day")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is missing")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Fetch from the PACS of study.find what it has and this gateway has not; live studies come first."""
    from gateway.backfill.missing import Wanted
    from gateway.backfill.pace import Limits, Window
    from gateway.config import load_config

    try:
        window = Window.parse(between) if between else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--between") from None
    last = until or datetime.now().astimezone().date()
    if last < since:
        if until is None:
            raise typer.BadParameter("that day is still to come", param_hint="--since")
        raise typer.BadParameter("it is before --since", param_hint="--until")
    with plain_errors():
        settings = load_config(config)
        wanted, limits = Wanted(since, last, modality.upper()), Limits(limit_per_hour, window)
        _backfill(settings, wanted, limits, dry_run=dry_run, as_json=as_json)


def _backfill(config: "Config", wanted: "Wanted", limits: "Limits", *, dry_run: bool, as_json: bool) -> None:
    from gateway.backfill.missing import Inquiry
    from gateway.backfill.plan import plan
    from gateway.files.names import LEDGER_NAME
    from gateway.ledger.backfill import usd_of_a_job
    from gateway.ledger.store import Ledger

    peer = _pacs(config)
    warnings.simplefilter("ignore")  # pydicom's quote what a PACS answers
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing is left lying about
    with (
        nullcontext() if dry_run else _alone(config.data_dir) as folder,
        Ledger(config.data_dir / LEDGER_NAME, read_only=True) as ledger,
        progress_of_parts() as tell,
    ):
        inquiry = Inquiry(peer, config.dicom.ae_title, ledger, wanted.modality)
        try:
            missing = inquiry.of_days(wanted, lambda day: tell(f"asking {peer}", day, wanted.days))
        except KeyboardInterrupt:
            if as_json:
                print_json({"stopped": True})
            fail("stopped before anything was fetched")
        at_batch, now = config.queue.backend == "batch", config.site.local(datetime.now(UTC))
        planned = plan(
            missing,
            limits,
            now,
            jobs_per_hour=config.queue.max_jobs_per_hour,
            usd_of_a_job=usd_of_a_job(ledger) if at_batch else None,
        )
        if not as_json:
            out.print(planned.sentence(limits, now, at_batch=at_batch))
        done: dict[str, Any] = {}
        if folder is not None and missing:
            done = _fetch(config, inquiry, folder, limits, missing, tell)
    if as_json:
        print_json({**vars(planned), **done})
    of_all = f"of {planned.studies} studies"
    if done.get("stopped"):
        fail(f"stopped: {done['fetched']} {of_all} were fetched; the same command goes on")
    if done.get("failed"):
        fail(f"{done['failed']} {of_all} could not be fetched; the same command tries again")


def _fetch(
    config: "Config",
    inquiry: "Inquiry",
    folder: Path,
    limits: "Limits",
    missing: "list[MissingStudy]",
    tell: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Fetch all of it; how many were, and were not."""
    from gateway.backfill.course import Course
    from gateway.backfill.fetching import Fetching
    from gateway.backfill.handing import GatewayDoor
    from gateway.backfill.pace import Pace

    def say(sentence: str) -> None:
        err.print(sentence)

    door = GatewayDoor(config.data_dir)
    fetching = Fetching(_pacs(config), config.dicom.ae_title, inquiry, door, folder / _STUDY, say)
    pace = Pace(limits, lambda: config.site.local(datetime.now(UTC)))
    course = Course(fetching.fetch, pace, say, lambda done: tell("fetching studies", done, len(missing)))
    tell("fetching studies", 0, len(missing))
    is_stopped = False
    try:
        course.run(missing)
    except KeyboardInterrupt:
        is_stopped = True
    else:
        say(f"{course.fetched} of {len(missing)} studies were fetched")
    return {"fetched": course.fetched, "failed": course.failed, "stopped": is_stopped}


def _pacs(config: "Config") -> "Peer":
    from gateway.backends.pacs import pacs_peer

    peer = pacs_peer(config)
    if peer is None:
        fail("study.find names no PACS: give its ae_title, host and port in the configuration")
    return peer


@contextmanager
def _alone(data_dir: Path) -> Iterator[Path]:
    """The folder for what is on its way, which one process has at a time."""
    from gateway.files.names import BACKFILL_FOLDER

    folder = data_dir / BACKFILL_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fail("another `iris backfill` runs on this data directory; let it end, or end it")
        shutil.rmtree(folder / _STUDY, ignore_errors=True)  # one that was killed may have left some
        yield folder
