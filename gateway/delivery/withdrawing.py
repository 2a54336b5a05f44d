"""Tells destinations of results that do not count any more, each in its way: by a note, by deleting, or not.

A newer result arrives first, and then the note about the older one: so a reader is never without a result. A
result that stands under another patient harms from the first minute on: it is rejected at once where the
destination has the right patient, too. Where it knows of no correction, ours may be the wrong one: it waits.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from pydicom import Dataset, config, dcmread

from converter.errors import ConverterError
from converter.results.rejection import RejectionSettings, write_rejection_note
from gateway.adapters.durable import make_folder
from gateway.adapters.errors import Away, OutsideError, Retriable
from gateway.config import Config, Destination
from gateway.config.outputs import NOTE
from gateway.events import Bus, DeliveryChanged, Event, JobChanged
from gateway.files.kept import is_whole
from gateway.ledger.records import JobRow, ResultObjectRow, utc_time
from gateway.ledger.rejected import PATIENT_SAFETY, QUALITY
from gateway.ledger.results import ResultObject, current_objects, result_object
from gateway.ledger.states import DeliveryState, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.withdrawals import (
    Told,
    Withdrawal,
    deleted_there,
    has_arrived,
    left_there,
    record_note,
    settle_withdrawals,
    successors,
    waiting_withdrawals,
)
from gateway.ledger.work import job as job_of
from gateway.workers.attempts import Backoff
from gateway.workers.waits import Rests
from gateway.workers.worker import Worker

from .carriers.carrier import Carrier, KnowsWhose, Outcome, Removes
from .whose import OF_THE_PATIENT, Whose

log = structlog.get_logger(__name__)

AWAY: Final = Backoff(2.0, 60.0)
LOOK: Final = Backoff(60.0, 600.0)
"""When what waits is looked at again while nothing happens to its study: its destination may correct it."""
_STILL_THERE: Final = "{destination} still has {number} of an earlier result of this study"
_ANOTHERS: Final = f"{_STILL_THERE} under another patient"
_OF_REJECTED: Final = f"{_STILL_THERE}, whose images were rejected"
_BY_HAND: Final = "{what}: reject or delete it there by hand"
_ABOVE_RESULTS: Final = 900
"""Notes stand behind results: so much higher are their series numbers."""


class Withdrawals(Worker):
    """Goes through all that waits, at the start and whenever a result arrives or is made.

    Parameters
    ----------
    carriers
        Of this worker alone, by the name of their destination.
    """

    def __init__(
        self, settings: Config, carriers: Sequence[tuple[Destination, Carrier]], ledger: Ledger, bus: Bus
    ) -> None:
        super().__init__("withdrawals", bus)
        self._config = settings
        self._carriers = {to.name: (to, carrier) for to, carrier in carriers}
        self._ledger = ledger
        self._rests = Rests()
        self._looks = Rests()
        """Of studies at destinations, by the UID of the one and the name of the other."""

    def is_woken_by(self, event: Event) -> bool:
        """Whether a result may have been made, an image been rejected, or a transfer come to its end."""
        if isinstance(event, DeliveryChanged) and event.state is DeliveryState.PENDING:
            return False
        if not isinstance(event, DeliveryChanged | JobChanged):
            return False
        for key in self._looks.known():
            if key.startswith(f"{event.study_uid} "):
                self._looks.try_now(key)
        return True

    def interrupt(self) -> None:
        """Break off what is asked or told."""
        for _, carrier in self._carriers.values():
            carrier.interrupt()

    def work(self) -> float | None:
        """Deal with what is due; one destination that is away keeps no other waiting.

        To look whether something is due reads files and asks destinations: of a study to which nothing
        happened it is done now and then only.
        """
        groups = defaultdict[tuple[str, str, str, str], list[Withdrawal]](list)
        for row in waiting_withdrawals(self._ledger):  # those of one time are of one patient
            groups[row.destination, row.job_key, row.code, row.since].append(row)
        seen = self._looks.left_s().keys()
        for (name, job_key, *_), rows in groups.items():
            if self.is_stopping:
                return None
            key = f"{rows[0].study_uid} {name}"
            if key not in seen and name not in self._rests.left_s():
                self._looks.put_off(key, LOOK, "")  # first: what happens meanwhile ends it
                with self.at_job(job_key):
                    self._deal_with(name, rows, key)
        self._looks.keep({f"{rows[0].study_uid} {rows[0].destination}" for rows in groups.values()})
        self._rests.keep({name for name, *_ in groups})
        self.trouble = self._rests.complaint()
        return min([*self._rests.left_s().values(), *self._looks.left_s().values()], default=None)

    def _deal_with(self, name: str, rows: Sequence[Withdrawal], key: str) -> None:
        try:
            withdrawing = _Withdrawing(self._config, self._ledger, rows)
            withdrawing.end(*self._carriers.get(name, (None, None)))
            self._rests.resume(name)
        except Away as error:
            if not self.is_stopping:
                self._rests.put_off(name, AWAY, str(error))
                self._looks.try_now(key)


@dataclass(frozen=True)
class _There:
    """As what a destination has earlier objects.

    Parameters
    ----------
    header
        With patient and study as they are there; None: nothing of them is here.
    is_anothers
        Whether that patient is another than the one of the images now.
    is_known_as_anothers
        Whether the destination has the study for the right patient as well: the correction is its own.
    """

    header: Dataset | None
    is_anothers: bool = False
    is_known_as_anothers: bool = False


class _Withdrawing:
    """What of one job is withdrawn at one destination."""

    def __init__(self, settings: Config, ledger: Ledger, rows: Sequence[Withdrawal]) -> None:
        self._config, self._ledger, self._rows = settings, ledger, rows
        job = job_of(ledger, rows[0].job_key)
        assert job is not None  # the ledger refers to it
        self._job: JobRow = job
        self._successors = successors(ledger, rows[0])
        self._files = [
            path for row in rows if (path := self._file(result_object(ledger, row.sop_instance_uid)))
        ]

    def end(self, to: Destination | None, carrier: Carrier | None) -> None:
        """Bring it to its end, where that is possible now.

        Raises
        ------
        Away
        """
        if to is None or carrier is None:
            name = self._rows[0].destination
            what = _ANOTHERS if _are_of_two_patients(*self._headers()) else _STILL_THERE
            self._leave(name, f"{what}, and is no [[destination]] any more")
            return
        is_of_rejected_images = bool(self._rows[0].code)
        there = self._how_it_is_there(carrier)
        if not (is_of_rejected_images or there.is_known_as_anothers or self._is_replaced(to.name)):
            return
        what = _ANOTHERS if there.is_anothers else _OF_REJECTED if is_of_rejected_images else ""
        if to.supersede == "add":
            self._leave(to.name, what)
        elif len(self._files) < len(self._rows) or there.header is None:
            self._leave(to.name, what or f"{_STILL_THERE}, which is not here any more")
        elif to.supersede == "iocm":
            code = self._rows[0].code or (PATIENT_SAFETY if there.is_anothers else QUALITY)
            self._note(code, there.header)
        else:
            self._delete(to.name, carrier)

    def _is_replaced(self, destination: str) -> bool:
        """Whether what takes its place is there; nothing does where nothing was found."""
        if self._successors:
            uids = [made.sop_instance_uid for made in self._successors]
            return has_arrived(self._ledger, uids, destination)
        return self._job.state is JobState.DELIVERED and not current_objects(self._ledger, self._job.job_key)

    # -- whose it is --------------------------------------------------------------------------------------

    def _how_it_is_there(self, carrier: Carrier) -> _There:
        """Find out as whose the destination has the earlier objects now.

        A PACS that corrects a patient may do so in our objects as well.
        """
        old, new = self._headers()
        if old is None or new is None or not _are_of_two_patients(old, new):
            return _There(old)
        ours, theirs = Whose.of(new), Whose.of(old)
        holders = {one.patient_id for one in self._asked(carrier)}
        is_corrected = ours.patient_id in holders
        if is_corrected and theirs.patient_id not in holders:
            return _There(new)
        return _There(old, is_anothers=True, is_known_as_anothers=is_corrected)

    def _headers(self) -> tuple[Dataset | None, Dataset | None]:
        """Those of an earlier object and of what takes its place, where they are here."""
        old = _header_of(self._files[0]) if self._files else None
        new = next((_header_of(path) for made in self._successors if (path := self._file(made))), None)
        return old, new

    def _asked(self, carrier: Carrier) -> Sequence[Whose]:
        if not isinstance(carrier, KnowsWhose):
            return ()
        try:
            return carrier.whose(self._job.study_uid, with_images=False)
        except Away:
            raise
        except OutsideError as error:
            log.info("destination_did_not_say_whose", reason=str(error))
            return ()

    # -- how it ends --------------------------------------------------------------------------------------

    def _leave(self, destination: str, what: str) -> None:
        with self._ledger.transaction() as transaction:
            if not what:  # an older revision beside the newer one, as the site wants it
                settle_withdrawals(transaction, self._rows, Told.LEFT)
                return
            number = f"{len(self._rows)} object{'' if len(self._rows) == 1 else 's'}"
            said = _BY_HAND.format(what=what.format(destination=destination, number=number))
            left_there(transaction, self._job, self._rows, said)
        log.warning("earlier_result_left", job_key=self._job.job_key, destination=destination)

    def _note(self, code: str, header: Dataset) -> None:
        made_at = self._config.site.local(utc_time(self._rows[0].since))
        number = self._config.seg.series_number + _ABOVE_RESULTS
        settings = RejectionSettings(code=code, series_number=number, made_at=made_at)
        folder = self._config.data_dir / "results" / self._job.job_key
        make_folder(folder)
        try:
            written = write_rejection_note([*map(_header_of, self._files)], header, settings, folder)
        except ConverterError as error:
            self._leave(self._rows[0].destination, f"{_STILL_THERE} ({error})")
            return
        path = str(written.path.relative_to(self._config.data_dir))
        made = ResultObject(NOTE, path, written.sha256, written.sop_class_uid, written.sop_instance_uid)
        with self._ledger.transaction() as transaction:
            record_note(transaction, self._job, made, code, self._rows)
        log.info("earlier_result_rejected", job_key=self._job.job_key, code=code)

    def _delete(self, destination: str, carrier: Carrier) -> None:
        assert isinstance(carrier, Removes)  # as the configuration has it checked
        try:
            receipts = [carrier.remove(path) for path in self._files]
        except Away:
            raise
        except Retriable as error:
            raise Away(str(error)) from None
        refused = [receipt.sentence for receipt in receipts if receipt.outcome is not Outcome.ARRIVED]
        if refused:
            self._leave(destination, f"{_STILL_THERE} ({refused[0]}; or use supersede = 'iocm')")
            return
        with self._ledger.transaction() as transaction:
            deleted_there(transaction, self._job, self._rows)
        log.info("earlier_result_deleted", job_key=self._job.job_key, destination=destination)

    def _file(self, made: ResultObjectRow | None) -> Path | None:
        """The file of an object; None where it is gone."""
        with suppress(OSError):
            if made is not None and is_whole(self._config.data_dir, made):
                return self._config.data_dir / made.path
        return None


def _are_of_two_patients(old: Dataset | None, new: Dataset | None) -> bool:
    """Whether an earlier object and what takes its place are known to be of two patients."""
    return bool(old and new and Whose.of(old).differs_from(Whose.of(new)) in OF_THE_PATIENT)


def _header_of(path: Path) -> Dataset:
    with config.disable_value_validation():  # identifiers are kept as the PACS holds them
        return dcmread(path, stop_before_pixels=True)
