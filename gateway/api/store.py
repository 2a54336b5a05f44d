"""What the API needs of whoever knows the studies, as protocols: the ledger here, another store elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from gateway.ledger.bulk import Action
from gateway.ledger.finding import StudyFilter
from gateway.ledger.ordering import Order
from gateway.ledger.transaction import NotPossible

Json = dict[str, Any]
"""A dictionary of the shape that `gateway.api.models` describes."""


class NotFound(Exception):
    """There is nothing under that key; the text says what was looked for, without the key."""


class TooLarge(NotPossible):
    """A file is larger than is taken; the text says what is."""


NO_ROOM: Final = "the disk has no room for this file above its low-water mark; make room, then send it again"


class NoRoom(NotPossible):
    """The disk has no room for a file."""


class NotHere(Exception):
    """Another app than this one does that; the text names it."""


@dataclass(frozen=True)
class Cut:
    """Which part of a list is wanted: at most `limit` items, after the one that `cursor` names."""

    limit: int
    cursor: str | None = None


@dataclass(frozen=True)
class WhichQuarantined:
    """Which of those that wait for a person; what is empty is any."""

    reason: str = ""
    """Its code; of held jobs `held`."""
    sender: str = ""
    is_dismissed: bool = False
    """Not those that wait, but those that were dismissed."""


@dataclass(frozen=True)
class Counts:
    """What is counted at a scrape; every state is a key, also where its count is 0."""

    studies: Mapping[str, int]
    jobs: Mapping[str, int]
    deliveries: Mapping[str, int]
    flags: Mapping[str, int]
    """By code."""
    corrections: Mapping[str, int]
    quarantined_objects: int
    instances_stored: int
    oldest_open_study_age_s: float
    disk_free_bytes: int | None
    """None where the store is not on a disk of this machine."""
    mirror_waiting: int | None = None
    """Changes that the mirror does not have yet; None where nothing is mirrored."""
    mirror_lag_s: float = 0.0


class StatusStore(Protocol):
    """What is known of studies, jobs and deliveries."""

    def studies(
        self, wanted: StudyFilter, order: Order | None, cut: Cut, *, is_counted: bool = False
    ) -> Json:
        """One page of studies, without an order as it is usual; a bad cursor raises BadCursor.

        NotHere where it goes by what only a gateway knows.
        """

    def traits(self) -> Json:
        """What studies can be found by; the shape of `models.StudyTraits`."""

    def study(self, study: str) -> Json | None:
        """One study by its key or its Study Instance UID, or None."""

    def job(self, job_key: str) -> Json | None:
        """One job, or None."""

    def quarantine(self, which: WhichQuarantined, cut: Cut) -> Json:
        """One page of quarantined objects and held jobs, the latest first; a bad cursor raises BadCursor."""

    def quarantined(self, key: str) -> Json | None:
        """One of those by its key, or how that begins, also one that was dismissed; or None."""

    def counts(self) -> Counts:
        """What the metrics say."""


@dataclass(frozen=True)
class BulkWish:
    """What is asked of many things: see `models.BulkAction`; what is empty is any."""

    action: Action
    key: str
    state: str
    destination: str
    output: str
    since: datetime | None
    until: datetime | None
    reason: str
    object_sender: str
    studies: StudyFilter
    to: str
    is_dry_run: bool


class Actions(Protocol):
    """What a person may ask for; each answers with the shape of `models.Outcome` unless it says another.

    Each raises NotFound where nothing stands under the key, `gateway.ledger.work.NotPossible` where the
    present state does not allow it, and NotHere where a gateway elsewhere has the study.
    """

    def destination_list(self) -> list[Json]:
        """Where results go, and what waits there; the shape of `models.DestinationName`."""

    def retry(self, key: str) -> Json:
        """Take up a failed or cancelled job, or a failed delivery; what waits is tried at once."""

    def redirect(self, key: str, to: str) -> Json:
        """Send a delivery that failed or waits to another destination instead."""

    def resend(self, key: str, to: str) -> Json:
        """Send a delivery that arrived again, or to another destination as well where `to` names one."""

    def drop(self, key: str) -> Json:
        """Do not send a delivery that failed or waits any more."""

    def in_bulk(self, wish: BulkWish) -> Json:
        """Do something to many things, or to all of one key; the shape of `models.BulkOutcome`."""

    def cancel(self, job_key: str) -> Json:
        """Stop a job and what it has not delivered."""

    def set_priority(self, job_key: str, priority: int | None) -> Json:
        """Let a job have its turn sooner or later, by None before all that wait."""

    def reprocess(self, job_key: str, task: str, options: Json) -> Json:
        """Run another task on the volume of a job; what is answered is of the job that does so."""

    def complete(self, study: str) -> Json:
        """Say that a study, by its key or its Study Instance UID, has arrived."""

    def use(self, study: str, series_uid: str, number: int) -> Json:
        """Use this volume of a study, by its number in its series, in the place of the others of its scan."""

    def forget(self, study: str) -> Json:
        """Erase a study, by its key or its Study Instance UID, but for keys and times."""

    def release(self, key: str) -> Json:
        """Let a held job, or a quarantined object, go on."""

    def dismiss(self, key: str) -> Json:
        """Say that nobody has to look at a quarantined object any more."""


@dataclass(frozen=True)
class UploadWish:
    """What is asked of an image: as it stands in the form, not checked yet."""

    task: str
    options: str
    """JSON."""
    sha256: str | None
    size_bytes: int | None


class Uploads(Protocol):
    """Images that come as NIfTI files, with the shapes of `models.TaskList`, `Upload` and `Outcome`.

    Each raises `NotPossible` where the wish or the file cannot be used, with a sentence that says why; of a
    file that is too large, or has no room, `TooLarge` or `NoRoom`.
    """

    def tasks(self) -> Json:
        """What the engine can be asked for."""

    def take(self, wish: UploadWish, file: BinaryIO) -> Json:
        """Take a file in; in the cloud it is refused with the way out."""

    def offer(self, wish: UploadWish) -> Json:
        """Say where a file is to be put; at a gateway it is refused with the way out."""

    def start(self, job_key: str) -> Json | None:
        """Begin with a file that was put; None where there is no such upload."""


class PutAside(Protocol):
    """Objects in quarantine, where they lie. Each raises `NotPossible` where the file is gone."""

    def file(self, key: str) -> Path | None:
        """The object as it came; None where there is none under that whole key."""

    def header(self, key: str) -> Json | None:
        """What its header says, in the shape of `quarantine_models.PutAsideHeader`; None as `file`."""


class MirrorControl(Protocol):
    """The mirror, to look at and to make anew; both answer with the shape of `models.Mirror`."""

    def state(self) -> Json:
        """How far it is."""

    def rebuild(self) -> Json:
        """Write everything into it anew; NotPossible where nothing is mirrored, NotHere in the cloud."""


class JobFiles(Protocol):
    """Where the files of a job folder are."""

    def located(self, job_key: str, name: str) -> Path | str | None:
        """The file, or a URL that is good for minutes; None where it is not there (yet).

        Raises `OutsideError` where the store cannot be asked.
        """
