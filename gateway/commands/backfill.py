"""The command `iris backfill`: fetches what the PACS has and this gateway has not."""

import fcntl
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import ConfigOption, JsonOption, err, fail, out, plain_errors, print_json, progress_of_parts

if TYPE_CHECKING:
    from gateway.adapters.dicom.peer import Peer
    from gateway.backfill.missing import Inquiry, MissingStudy, Wanted
    from gateway.backfill.pace import Limits
    from gateway.config import Config
    from gateway.ledger.store import Ledger

_DATES = ["%Y-%m-%d"]
_STUDY = "study"


def backfill(
    since: Annotated[datetime, typer.Option(formats=_DATES, help="First study date")],
    until: Annotated[datetime | None, typer.Option(formats=_DATES, help="Last study date; today")] = None,
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
    last = (until or datetime.now().astimezone()).date()
    if last < since.date():
        if until is None:
            raise typer.BadParameter("that day is still to come", param_hint="--since")
        raise typer.BadParameter("it is before --since", param_hint="--until")
    with plain_errors():
        settings = load_config(config)
        wanted, limits = Wanted(since.date(), last, modality.upper()), Limits(limit_per_hour, window)
        _backfill(settings, wanted, limits, dry_run=dry_run, as_json=as_json)


@dataclass(frozen=True)
class _Sums:
    """What is missing, and what it takes.

    Parameters
    ----------
    per_hour
        So many studies are fetched and segmented in an hour; None: as many as can be.
    """

    studies: int
    images: int
    per_hour: int | None
    hours: float | None
    usd: float | None

    def sentence(self, limits: "Limits", *, at_batch: bool) -> str:
        """For a person."""
        said = f"{self.studies} studies with {self.images} images are missing here"
        if not self.studies:
            return f"{said}: nothing is to be done"
        if self.hours is not None:
            said += f"; at {self.per_hour} an hour that is {self.hours:.1f} hours"
        if limits.window is not None:
            said += f", {limits.window.length_h:g} hours a day"
        if at_batch:
            cost = "not known: no run at AWS Batch was priced yet" if self.usd is None else f"{self.usd:.2f}"
            said += f"; about so many dollars, at one job a study: {cost}"
        return said


def _backfill(config: "Config", wanted: "Wanted", limits: "Limits", *, dry_run: bool, as_json: bool) -> None:
    from gateway.backfill.missing import Inquiry
    from gateway.files.names import LEDGER_NAME
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
            fail("stopped before anything was fetched")
        sums = _sums(ledger, missing, limits, config)
        if not as_json:
            out.print(sums.sentence(limits, at_batch=config.queue.backend == "batch"))
        done: dict[str, Any] = {}
        if folder is not None and missing:
            done = _fetch(config, inquiry, folder, limits, missing, tell)
    if as_json:
        print_json({**vars(sums), **done})
    if done.get("failed"):
        fail(f"{done['failed']} of {sums.studies} studies could not be fetched; the same command tries again")


def _sums(ledger: "Ledger", missing: "list[MissingStudy]", limits: "Limits", config: "Config") -> _Sums:
    from gateway.ledger.backfill import usd_of_a_job

    usd = usd_of_a_job(ledger) if config.queue.backend == "batch" else None
    allowed = [limit for limit in (limits.per_hour, config.queue.max_jobs_per_hour) if limit]
    per_hour = min(allowed, default=None)
    return _Sums(
        len(missing),
        sum(study.missing for study in missing),
        per_hour,
        None if per_hour is None else len(missing) / per_hour,
        None if usd is None else usd * len(missing),
    )


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
    try:
        course.run(missing)
    except KeyboardInterrupt:
        fail(f"stopped: {course.fetched} of {len(missing)} studies were fetched; the same command goes on")
    say(f"{course.fetched} of {len(missing)} studies were fetched")
    return {"fetched": course.fetched, "failed": course.failed}


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
