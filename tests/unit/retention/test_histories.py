"""Whatever happens in whatever order, killed at any instant: nothing that anybody waits for is removed.

What must be there is said by a model of its own, from what happened and never from what the ledger thinks of
it: of each study what was received since it was done for the last time, and of each result who has it.
"""

import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.ledger.erasing import request_forget
from gateway.ledger.instances import bring_back, current_instance
from gateway.ledger.states import DeliveryEvent, DeliveryState, JobEvent, JobState, StudyState
from gateway.ledger.store import Ledger
from gateway.ledger.work import cancel
from gateway.retention.worker import Retention
from tests.place import Place, open_place

STUDIES = ("1.1", "1.2")
DESTINATIONS = st.sampled_from([("pacs",), ("pacs", "archive"), ()])
DAYS = st.sampled_from([0, 1, 3])


@cache
def _empty_ledger() -> bytes:
    """Its migrations would take longer than a history."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        Ledger(path).close()
        return path.read_bytes()


class Killed(BaseException):
    """The process ends here, as by SIGKILL."""


@dataclass
class Known:
    """What happened to a study."""

    images: set[int] = field(default_factory=set)
    job: str = ""
    results: dict[str, bool] = field(default_factory=dict)
    """Each file with whether everybody who is to have it has it."""


class Histories(RuleBasedStateMachine):
    """Two studies that are received, segmented, delivered; looks of retention, kills, time that passes."""

    def __init__(self) -> None:
        super().__init__()
        in_memory = Path("/dev/shm")  # tens of thousands of commits, each flushed
        self.folder = Path(tempfile.mkdtemp(dir=in_memory if in_memory.is_dir() else None))
        (self.folder / "ledger.sqlite").write_bytes(_empty_ledger())
        self.place: Place = open_place(self.folder)
        self.known: dict[str, Known] = {}
        self.settings: dict[str, float] = {}
        self.forgotten: set[str] = set()

    def teardown(self) -> None:
        self.place.ledger.close()
        shutil.rmtree(self.folder)

    # -- what happens -------------------------------------------------------------------------------------

    @initialize(images=DAYS, results=DAYS, rows=DAYS, free=st.booleans(), begin=st.integers(0, 3))
    def begin(self, images: int, results: int, rows: int, free: bool, begin: int) -> None:
        """How it is configured, and a first study so far on its way that every corner can be reached."""
        self.settings = {"images_days": images, "results_days": results, "ledger_days": rows}
        self.place.free_mb = 1000 if free else 5000
        self.settings["min_free_mb"] = 2000
        if begin:
            self.receive("1.1", 0)
            self.complete("1.1", ("pacs",), "")
        if begin > 1:
            self.segment("1.1")
            self.encode("1.1")
        if begin > 2:
            self.answer("1.1", DeliveryEvent.SENT)

    @rule(study=st.sampled_from(STUDIES), number=st.integers(0, 3))
    def receive(self, study: str, number: int) -> None:
        """As intake does: what came is compared with what is known, then moved to its place and recorded."""
        known = current_instance(self.place.ledger, f"{study}.1.{number}")
        if known is not None and known.removed_at is None:
            return  # the same bytes, and its file is there
        if known is not None and self.place.study(study).state is StudyState.DONE:
            return  # acknowledged: it did its part
        if known is None:
            self.place.store(study, number)
        else:
            arrived = self.place.arrived(study, number)
            self.place.write(arrived.path)
            with self.place.ledger.transaction() as transaction:
                assert bring_back(transaction, known, arrived, 1)
        self.known.setdefault(study, Known()).images.add(number)

    @rule(study=st.sampled_from(STUDIES), send_to=DESTINATIONS, hold=st.sampled_from(["", "", "a gap"]))
    def complete(self, study: str, send_to: tuple[str, ...], hold: str) -> None:
        if self._state(study) is not StudyState.RECEIVING:
            return
        known = self.known[study]
        if not known.job:
            known.job = self.place.complete(study, send_to=send_to, hold=hold)
        else:  # the same volume keeps its job
            self.place.complete(study, send_to=send_to)

    @rule(study=st.sampled_from(STUDIES))
    def segment(self, study: str) -> None:
        if self._job_state(study) is JobState.PLANNED:
            self.place.segment(study)

    @rule(study=st.sampled_from(STUDIES))
    def encode(self, study: str) -> None:
        if self._job_state(study) is not JobState.SEGMENTED:
            return
        known = self.known[study]
        self.place.encode(study)
        known.results = {f"results/{known.job}/{study}.1.dcm": False}

    @rule(
        study=st.sampled_from(STUDIES),
        event=st.sampled_from(
            [DeliveryEvent.SENT, DeliveryEvent.SENT, DeliveryEvent.SENT, DeliveryEvent.FAILED]
        ),
    )
    def answer(self, study: str, event: DeliveryEvent) -> None:
        """Of the first destination that waits."""
        pending = [d for d in self._deliveries(study) if d.state is DeliveryState.PENDING]
        if not pending:
            return
        with self.place.ledger.transaction() as transaction:
            transaction.move_delivery(pending[0].key, event)
        arrived = [d.state is DeliveryState.SENT for d in self._deliveries(study)]
        if all(arrived):
            self.known[study].results = dict.fromkeys(self.known[study].results, True)

    @rule(study=st.sampled_from(STUDIES))
    def retry_delivery(self, study: str) -> None:
        for delivery in self._deliveries(study):
            if delivery.state is DeliveryState.FAILED:
                with self.place.ledger.transaction() as transaction:
                    transaction.move_delivery(delivery.key, DeliveryEvent.RETRIED)

    @rule(study=st.sampled_from(STUDIES))
    def fail(self, study: str) -> None:
        if self._job_state(study) in (JobState.PLANNED, JobState.SEGMENTED):
            self.place.move(self.known[study].job, JobEvent.FAILED)

    @rule(study=st.sampled_from(STUDIES))
    def take_up(self, study: str) -> None:
        state = self._job_state(study)
        if state is JobState.FAILED:
            self.place.move(self.known[study].job, JobEvent.RETRIED)
        elif state is JobState.QUARANTINED:
            self.place.move(self.known[study].job, JobEvent.RELEASED)

    @rule(study=st.sampled_from(STUDIES))
    def call_off(self, study: str) -> None:
        """A person cancels the job: nobody waits for its results any more."""
        if self._job_state(study) not in (JobState.PLANNED, JobState.SEGMENTED, JobState.ENCODED):
            return
        with self.place.ledger.transaction() as transaction:
            cancel(transaction, self.known[study].job)
        self.known[study].results = dict.fromkeys(self.known[study].results, True)

    @rule(study=st.sampled_from(STUDIES), days=st.sampled_from([0.5, 1.5, 4.0]))
    def time_passes(self, study: str, days: float) -> None:
        self.place.age(study, days)

    @rule(short=st.booleans())
    def disk_changes(self, short: bool) -> None:
        self.place.free_mb = 1000 if short else 5000

    # -- retention, and kills -----------------------------------------------------------------------------

    @rule()
    def look(self) -> None:
        self._look(self._worker())

    @rule(files=st.integers(0, 6))
    def look_and_be_killed(self, files: int) -> None:
        """Between the commit that says that files are gone and the last of them; then a start."""
        worker = self._worker()
        left = files

        def dying() -> bool:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return False

        remove = worker._remover.remove
        worker._remover.remove = lambda _: remove(dying)
        self._look(worker)
        self._restart()

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        study = data.draw(st.sampled_from(sorted(self.known)))
        if self._state(study) is None:
            return
        with self.place.ledger.transaction() as transaction:
            request_forget(transaction, study)
        self._look(self._worker())
        self._look(self._worker())  # what was called off in the first look is gone in the next
        assert self._state(study) is None
        self.forgotten.add(study)

    @rule()
    def restart(self) -> None:
        self._restart()

    # -- what must hold -----------------------------------------------------------------------------------

    @invariant()
    def what_somebody_waits_for_is_there(self) -> None:
        files = self.place.files()
        for study, known in self.known.items():
            state = self._state(study)
            if state is None:
                continue
            if state is not StudyState.DONE:
                self._require_images(study, known)
            if "study.images_removed" not in self.place.events(study):  # never yet
                assert {f"instances/{study}/{number}-h.dcm" for number in known.images} <= files
            assert {path for path, is_delivered in known.results.items() if not is_delivered} <= files
            if self._job_state(study) in (JobState.SEGMENTED, JobState.ENCODED):
                assert f"objects/jobs/{known.job}/labels.nii.gz" in files

    def _require_images(self, study: str, known: Known) -> None:
        """Each that is not said to be gone is there."""
        for number in known.images:
            row = current_instance(self.place.ledger, f"{study}.1.{number}")
            assert row is not None
            assert row.removed_at is not None or (self.folder / row.path).is_file()

    @invariant()
    def every_file_is_known_or_to_be_removed(self) -> None:
        """Else it would be adopted at a start, or lie there for ever."""
        read = self.place.ledger.read
        present = {row["path"] for row in read("SELECT path FROM instances WHERE removed_at IS NULL")}
        doomed = {row["name"] for row in read("SELECT name FROM removals WHERE kind = 'file'")}
        assert self.place.files("instances") <= present | doomed
        assert not present & doomed

    @invariant()
    def what_is_left_of_a_study_that_is_gone_is_a_tombstone(self) -> None:
        keys = {row["study_key"] for row in self.place.ledger.read("SELECT study_key FROM tombstones")}
        assert all(self._state(study) is not None or f"key-{study}" in keys for study in self.known)

    # -- parts --------------------------------------------------------------------------------------------

    def _worker(self) -> Retention:
        return self.place.worker(**self.settings)

    def _look(self, worker: Retention) -> None:
        worker._stopping.wait = lambda *_: False  # nobody else is there who wants his turn
        with suppress(Killed):
            worker.work()
        for study in list(self.known):
            if self._state(study) is None:  # gone by its age, or forgotten: what comes of it is new
                assert self._may_be_gone(study)
                self.known[study] = Known()

    def _may_be_gone(self, study: str) -> bool:
        known = self.known[study]
        is_asked = f"key-{study}" in {
            row["study_key"]
            for row in self.place.ledger.read("SELECT study_key FROM tombstones WHERE why = 'forgotten'")
        }
        return is_asked or all(known.results.values())

    def _restart(self) -> None:
        """What a process has in memory is gone; that the ledger's file outlives it is tested elsewhere."""
        place = self.place
        self.place = Place(place.ledger, place.bus, place.data_dir, place.objects, free_mb=place.free_mb)

    def _state(self, study: str) -> StudyState | None:
        rows = self.place.ledger.read("SELECT state FROM studies WHERE study_uid = ?", (study,))
        return StudyState(rows[0]["state"]) if rows else None

    def _job_state(self, study: str) -> JobState | None:
        key = self.known[study].job if study in self.known else ""
        rows = self.place.ledger.read("SELECT state FROM jobs WHERE job_key = ?", (key,))
        return JobState(rows[0]["state"]) if rows else None

    def _deliveries(self, study: str):
        return self.place.deliveries(study)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=100 if settings.default.max_examples <= 100 else 10 * settings.default.max_examples,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
