"""The cloud's own jobs: one upload x one task, kept in the mirror's table in the mirror's shape.

A job and its study stand under keys that follow from each other, so that both are read consistently by the
job's key alone. Each change is one transaction with its lines of the timeline, written only over the version
that was read.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from batch_job.contract import LABELS_NAME, PREVIEW_NAME, STATISTICS_NAME
from gateway.adapters.errors import Retriable
from gateway.adapters.mirror import Counting, Item, ItemKey, ItemKind, MirrorItem, Value, counter_name
from gateway.ledger.outbox import EPOCH_FACTOR, EPOCHS_BEGIN
from gateway.ledger.records import utc_now, utc_time
from gateway.ledger.states import JobState, StudyState
from gateway.mirror.details import ConfiguredNames, mirrored_details

if TYPE_CHECKING:
    from gateway.adapters.aws.dynamodb_own import OwnItems

RULE: Final = "upload"
"""Stands in the place of a rule's name: a person chose the task."""
PLANNED_LIVES: Final = timedelta(days=1)
"""How long an upload is kept that nobody starts."""
TRIES: Final = 8
_OPEN: Final = counter_name("study", StudyState.PROCESSING)
_OUTPUTS: Final = (LABELS_NAME, STATISTICS_NAME, PREVIEW_NAME)
_DONE: Final = {JobState.DELIVERED: "label_map_ready", JobState.CANCELLED: "cancelled"}


@dataclass(frozen=True)
class Line:
    """A line of the timeline; of its details those are kept that the mirror takes."""

    event: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UploadJob:
    """One job, as it stands in the table."""

    job_key: str
    task: str
    engine: str
    options: str
    """Canonical, as JSON."""
    sha256: str
    """Of the image's file, in hex."""
    size_bytes: int
    created_at: str
    changed_at: str
    state: JobState = JobState.PLANNED
    reason: str = ""
    """A code, as the mirror's are."""
    run: int = 0
    attempt: int = 0
    rank: int = 0
    queue_id: str = ""
    submitted_at: str = ""
    completed_at: str = ""
    segmented_at: str = ""
    version: int = 0

    @property
    def study_key(self) -> str:
        """The study of its own."""
        return study_key_of(self.job_key)

    @property
    def decoded_options(self) -> dict[str, Any]:
        """The options, canonical."""
        options: dict[str, Any] = json.loads(self.options)
        return options

    @property
    def order(self) -> tuple[int, int, int]:
        """How far the news of it are."""
        return self.run, self.attempt, self.rank

    @property
    def study_state(self) -> tuple[StudyState, str]:
        """Where its study is, and why, in a code."""
        if self.state is JobState.PLANNED:
            return StudyState.RECEIVING, ""
        if self.state is JobState.FAILED:
            return StudyState.FAILED, f"job_{self.reason}"
        if self.state in _DONE:
            return StudyState.DONE, _DONE[self.state]
        return StudyState.PROCESSING, f"job_{self.reason}" if self.reason else ""


_KEPT: Final = tuple(
    name for name in UploadJob.__dataclass_fields__ if name not in ("state", "version", "completed_at")
)


def study_key_of(job_key: str) -> str:
    """The key of the study that an upload's job belongs to."""
    return hashlib.sha256(f"study of upload {job_key}".encode()).hexdigest()


Decision = tuple[UploadJob, tuple[Line, ...]]
"""A job as it is to be, and the lines that say why."""


class UploadJobs:
    """The table of the cloud's own jobs.

    Parameters
    ----------
    site
        The name that stands in every item, by which they are told from those of gateways.
    keep_days
        How long the table keeps what is done, and each line of a timeline.
    """

    def __init__(self, items: "OwnItems", site: str, names: ConfiguredNames, keep_days: int) -> None:
        self.site = site
        self._items = items
        self._names = names
        self._keep = timedelta(days=keep_days)

    def get(self, job_key: str) -> UploadJob | None:
        """One job, as the last write left it; None where the cloud has none of this key."""
        found = self._items.get(ItemKey(study_key_of(job_key), ItemKind.JOB, job_key))
        return None if found is None or found["site"] != self.site else _job_of(found)

    def change(
        self, job_key: str, decide: Callable[[UploadJob], Decision | None]
    ) -> tuple[UploadJob | None, bool]:
        """Change a job by what it is now; the job, and whether it was changed.

        Parameters
        ----------
        decide
            Asked again where another was quicker; None: it stays as it is.

        Raises
        ------
        Retriable, Permanent
        """
        for _ in range(TRIES):
            job = self.get(job_key)
            wanted = decide(job) if job is not None else None
            if job is None or wanted is None:
                return job, False
            written = self.write(job, *wanted)
            if written is not None:
                return written, True
        raise Retriable("the job changes all the time; it is tried again")

    def write(self, before: UploadJob | None, after: UploadJob, lines: tuple[Line, ...]) -> UploadJob | None:
        """Write a job as it follows from what was read; None where another has written it meanwhile.

        Parameters
        ----------
        before
            What was read; None: there was none.

        Raises
        ------
        Retriable, Permanent
        """
        first = before.version if before is not None else _new_epoch()
        after = replace(after, changed_at=utc_now(), version=first + max(1, len(lines)))
        items = [*self._lines(after, lines, first), self._job(after), self._study(after)]
        read = before.version if before is not None else None
        return after if self._items.write(items, read, self._counting(before, after)) else None

    def _counting(self, before: UploadJob | None, after: UploadJob | None) -> Counting | None:
        """What the change does to the counts: an upload counts from its start until it is erased."""
        was, now = _counted(before), _counted(after)
        by = {name: now[name] - was[name] for name in now.keys() | was.keys() if now[name] != was[name]}
        job = after or before
        if not by or job is None:
            return None
        moves, at = by.get(_OPEN, 0), job.created_at
        return Counting(self.site, by, opened=at if moves > 0 else "", closed=at if moves < 0 else "")

    def erase(self, study_key: str, job_keys: Iterable[str]) -> int:
        """Erase a study with its jobs, its own item the last, and take them out of the counts.

        Returns
        -------
        How many items there were.

        Raises
        ------
        Retriable, Permanent
        """
        return sum(map(self._erase_job, job_keys)) + self._items.erase(study_key)

    def _erase_job(self, job_key: str) -> int:
        for _ in range(TRIES):
            job = self.get(job_key)
            if job is None:
                return 0
            key = ItemKey(job.study_key, ItemKind.JOB, job_key)
            if self._items.remove(key, job.version, self._counting(job, None)):
                return 1
        raise Retriable("the job changes all the time; it is tried again")

    # -- items --------------------------------------------------------------------------------------------

    def _study(self, job: UploadJob) -> MirrorItem:
        state, reason = job.study_state
        images = 1 if job.completed_at else 0
        content: dict[str, Value] = {
            "site": self.site,
            "study_key": job.study_key,
            "state": state.value,
            "reason": reason,
            "received_at": job.created_at,
            "updated_at": job.changed_at,
            **({"completed_at": job.completed_at} if job.completed_at else {}),
            "series": images,
            "instances": images,
            "jobs": 1,
        }
        return MirrorItem(ItemKey(job.study_key, ItemKind.STUDY), job.version, content, self._expires(job))

    def _job(self, job: UploadJob) -> MirrorItem:
        is_done = job.state is JobState.DELIVERED
        content: dict[str, Value] = {
            "site": self.site,
            "study_key": job.study_key,
            **{name: getattr(job, name) for name in _KEPT},
            "state": job.state.value,
            "rule": RULE,
            "priority": 0,
            "lane": "main",
            "stage": "",
            "fraction": 1.0 if is_done else 0.0,
            **({"completed_at": job.completed_at} if job.completed_at else {}),
            "outputs": list(_OUTPUTS) if is_done else [],
            "deliveries": [],
        }
        key = ItemKey(job.study_key, ItemKind.JOB, job.job_key)
        return MirrorItem(key, job.version, content, self._expires(job))

    def _lines(self, job: UploadJob, lines: tuple[Line, ...], first: int) -> list[MirrorItem]:
        over = int((utc_time(job.changed_at) + self._keep).timestamp())
        items = []
        for version, line in enumerate(lines, first + 1):
            details = mirrored_details(line.event, line.detail, self._names)
            content: dict[str, Value] = {
                "site": self.site,
                "event": line.event,
                "at": job.changed_at,
                **({"job": job.job_key} if line.event.startswith("job.") else {}),
                **({"details": details} if details else {}),
            }
            key = ItemKey(job.study_key, ItemKind.EVENT, str(version % EPOCH_FACTOR))
            items.append(MirrorItem(key, version, content, over))
        return items

    def _expires(self, job: UploadJob) -> int | None:
        """What is open or failed waits for a person, and does not expire."""
        lives = PLANNED_LIVES if job.state is JobState.PLANNED else self._keep if job.state in _DONE else None
        return None if lives is None else int((utc_time(job.changed_at) + lives).timestamp())


def _counted(job: UploadJob | None) -> Counter[str]:
    """What a job adds to the counts of its site."""
    if job is None or job.state is JobState.PLANNED:
        return Counter()
    study, _ = job.study_state
    names = [counter_name("study", study), counter_name("job", job.state)]
    return Counter([*names, counter_name("instance", "")])


def _job_of(item: Item) -> UploadJob:
    known = {name: item[name] for name in _KEPT}
    return UploadJob(
        **known,
        state=JobState(item["state"]),
        completed_at=item.get("completed_at", ""),
        version=item["version"],
    )


def _new_epoch() -> int:
    return (datetime.now(UTC) - EPOCHS_BEGIN) // timedelta(milliseconds=1) * EPOCH_FACTOR
