"""Runs at the local queue, with real processes: whatever fails, none is lost and none runs twice."""

import errno
import itertools
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from batch_job.contract import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_TRANSIENT, RunExit
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object
from gateway.adapters.subprocess_queue import SubprocessQueue
from gateway.events import Bus
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.ledger.records import JobRow, utc_now
from gateway.ledger.runs import end_run, lost_runs, open_runs_of, run_of
from gateway.ledger.states import AT_THE_QUEUE, JobEvent, JobState
from gateway.ledger.store import Ledger
from gateway.ledger.work import retry
from gateway.running import local_runs
from gateway.running.complaints import Complaints
from gateway.running.costs import Costs
from gateway.running.hanging import Hanging, Limits
from gateway.running.local_runs import LocalRuns
from gateway.running.news import RunNews
from gateway.running.outcomes import POLICY, Outcomes
from gateway.running.run import Runs
from gateway.workers.attempts import Backoff, Policy
from gateway.workers.steps import StepWorker
from tests.one_job import DEADLINE_S, JOB_KEY, Site

JOB = Path(__file__).parents[2] / "doubles" / "local_job.py"
QUICK = Backoff(0.01, 0.05)


class Gateway:
    """What of a gateway deals with local runs: the step submit, the worker, the queue."""

    def __init__(self, site: Site, *, workers: int = 2, limits: Limits | None = None) -> None:
        self.site = site
        self.store = FolderStore(site.data_dir / "objects")
        results = JobResults(self.store, Workplace(site.ledger, site.data_dir))
        complaints = Complaints(site.ledger)
        outcomes = Outcomes(site.ledger, results, Costs(site.ledger, {}), complaints)
        runs = Runs(site.ledger, results, outcomes, self.store, "local")
        news = RunNews(site.ledger, results, outcomes, runs)
        self.queue = SubprocessQueue(workers, command=(sys.executable, str(JOB)))
        hanging = Hanging(site.ledger, news, limits or Limits(), complaints)
        self.worker = LocalRuns(site.ledger, site.bus, results, runs, news, self.queue, hanging, complaints)
        self.submit = self.worker.submit
        self.step = StepWorker("submit", JobState.STAGED, self.submit, site.ledger, site.bus)
        self.plan()

    def start(self) -> None:
        self.worker.begin()
        self.worker.start()
        self.step.start()

    def stop(self) -> None:
        self.worker.stop()
        self.step.stop()
        self.queue.stop()

    def plan(self, **what: Any) -> None:
        """Say what the job does: `seconds`, `exit`, `sentence`, `deaf`, `kill`, `progress`."""
        self.store.put(job_object(JOB_KEY, "plan"), json.dumps(what).encode())

    def worked(self) -> list[str]:
        """The runs that worked, in order."""
        folder = self.store.path(job_object(JOB_KEY, "worked"))
        return sorted(path.name for path in folder.glob("*"))

    def met(self) -> bool:
        """Whether two processes were in the folder at once."""
        return self.store.path(job_object(JOB_KEY, "met")).exists()

    def leave(self, run: int, code: int, sentence: str = "") -> None:
        """Leave word as a run of an earlier process did."""
        left = RunExit(run=run, code=code, sentence=sentence, at=utc_now())
        self.store.put(job_object(JOB_KEY, "exit.json"), left.to_json())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait as everywhere, but for milliseconds; tracebacks are not drawn, which takes seconds."""
    quick = Policy(failures_allowed=3, own=QUICK, machine=QUICK, outside=QUICK)
    monkeypatch.setattr("gateway.running.outcomes.POLICY", quick)
    monkeypatch.setattr("gateway.workers.attempts.POLICY", quick)
    monkeypatch.setattr("gateway.workers.worker.AFTER_A_FAILURE", QUICK)
    monkeypatch.setattr("gateway.running.local_runs.LOOK_S", 0.05)
    monkeypatch.setattr("gateway.adapters.run_process.LOOK_AT_PROGRESS_S", 0.05)
    with capture_logs():
        yield


@pytest.fixture
def make_gateway(site: Site) -> Iterator[Callable[..., Gateway]]:
    """Make a gateway on the one job, which is staged."""
    made: list[Gateway] = []

    def make(**given: Any) -> Gateway:
        if site.job().state is JobState.PLANNED:
            site.move(JobEvent.STAGED)
        made.append(Gateway(site, **given))
        return made[-1]

    yield make
    for gateway in made:
        gateway.stop()


@pytest.fixture
def gateway(make_gateway: Callable[..., Gateway]) -> Gateway:
    return make_gateway()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def happened(site: Site, name: str) -> list[dict[str, Any]]:
    rows = site.ledger.read("SELECT detail FROM events WHERE event = ? ORDER BY seq", (name,))
    return [json.loads(row["detail"]) for row in rows]


def wait_for_state(site: Site, *states: JobState) -> None:
    site.wait_for(lambda job: job.state in states)


# -- a run, from its beginning to its end -------------------------------------------------------------------


def test_job_is_run_once_and_its_path_noted(site: Site, gateway: Gateway) -> None:
    gateway.plan(progress=0.5, seconds=0.3)
    gateway.start()
    wait_for_state(site, JobState.SEGMENTED)
    assert gateway.worked() == ["1"]
    run = run_of(site.ledger, JOB_KEY, 1)
    assert run is not None
    assert (run.is_open, run.exit_code, run.sentence) == (0, 0, "")
    assert run.ended_at is not None
    names = [row["event"] for row in site.ledger.read("SELECT event FROM events WHERE job_key IS NOT NULL")]
    wanted = ["job.submitted", "job.queued", "job.started", "job.segmented"]
    assert [name for name in names if name in wanted] == wanted
    until(lambda: gateway.queue.begun() == set())


def test_run_that_fails_says_what_it_left_of_why(site: Site, gateway: Gateway) -> None:
    gateway.plan(exit=EXIT_BAD_INPUT, sentence="no Hounsfield units")
    gateway.start()
    wait_for_state(site, JobState.FAILED)
    assert site.job().reason == "no Hounsfield units"


def test_run_that_the_machine_does_not_let_end_is_run_until_it_does(site: Site, gateway: Gateway) -> None:
    gateway.plan(exit=EXIT_TRANSIENT, sentence="the disk is full")
    gateway.start()
    until(lambda: len(gateway.worked()) > 3 * POLICY.failures_allowed)
    assert "the disk is full" in happened(site, "job.run_lost")[0]["reason"]
    gateway.plan()
    wait_for_state(site, JobState.SEGMENTED)
    assert lost_runs(site.ledger, JOB_KEY) == []


# -- cancelled, retried, superseded -------------------------------------------------------------------------


def test_job_that_is_cancelled_during_its_submission_never_runs(site: Site, gateway: Gateway) -> None:
    """The ledger knows of the run, the queue does not yet."""
    gateway.worker.begin()
    gateway.submit(site.job())
    site.move(JobEvent.CANCELLED)
    gateway.worker.start()
    until(lambda: open_runs_of(site.ledger, JOB_KEY) == set())
    site.move(JobEvent.REPLANNED)
    site.move(JobEvent.STAGED)
    gateway.step.start()
    wait_for_state(site, JobState.SEGMENTED)
    assert gateway.worked() == ["2"]


def test_run_that_is_submitted_during_a_look_at_its_job_is_not_taken_for_one_that_nobody_wants(
    site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed just then, the job would wait for it for ever."""
    read = local_runs.job_of

    def read_and_submit(ledger: Ledger, job_key: str) -> JobRow | None:
        job = read(ledger, job_key)
        if site.job().state is JobState.STAGED:
            gateway.submit(site.job())
        return job

    monkeypatch.setattr(local_runs, "job_of", read_and_submit)
    gateway.worker._bring_together(JOB_KEY)
    assert site.job().state is JobState.SUBMITTED
    assert open_runs_of(site.ledger, JOB_KEY) == {1}


def test_job_that_is_cancelled_ends_its_run(site: Site, gateway: Gateway) -> None:
    gateway.plan(seconds=60)
    gateway.start()
    until(gateway.worked)
    site.move(JobEvent.CANCELLED)
    until(lambda: open_runs_of(site.ledger, JOB_KEY) == set())
    assert site.job().state is JobState.CANCELLED
    until(lambda: gateway.queue.look(JOB_KEY) == [])


@pytest.mark.parametrize("event", [JobEvent.CANCELLED, JobEvent.SUPERSEDED])
def test_job_that_is_taken_back_and_wanted_again_runs_anew_and_never_twice_at_once(
    site: Site, gateway: Gateway, event: JobEvent
) -> None:
    """Its run takes a second to end; there is a second worker that could begin at once."""
    gateway.plan(seconds=60, deaf=1.0)
    gateway.start()
    for times in range(1, 4):
        until(lambda: str(times) in gateway.worked())  # noqa: B023
        site.move(event)
        site.move(JobEvent.REPLANNED)
        if times == 3:
            gateway.plan()
        site.move(JobEvent.STAGED)
    wait_for_state(site, JobState.SEGMENTED)
    assert gateway.worked() == ["1", "2", "3", "4"]
    until(lambda: open_runs_of(site.ledger, JOB_KEY) == set())
    assert not gateway.met()
    assert gateway.worker.is_running
    assert gateway.worker.complaint() == ""


# -- after a restart ----------------------------------------------------------------------------------------


@pytest.fixture
def after_a_crash(site: Site, make_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway that finds a run of an earlier process."""
    make_gateway().submit(site.job())
    return make_gateway()


def settled(gateway: Gateway) -> None:
    """Begin, submit nothing, and end."""
    gateway.worker.begin()
    gateway.worker.start()
    gateway.site.wait_for(lambda job: job.state not in AT_THE_QUEUE)
    gateway.stop()


def test_job_at_the_queue_without_a_run_that_is_open_runs_all_the_same(
    site: Site, after_a_crash: Gateway
) -> None:
    with site.ledger.transaction() as transaction:
        end_run(transaction, JOB_KEY, 1)
    after_a_crash.worker.begin()
    after_a_crash.worker.start()
    wait_for_state(site, JobState.SEGMENTED)
    assert after_a_crash.worked() == ["1"]


def test_start_after_a_crash_takes_what_a_run_left(site: Site, after_a_crash: Gateway) -> None:
    after_a_crash.leave(1, EXIT_BAD_INPUT, "no Hounsfield units")
    settled(after_a_crash)
    assert (site.job().state, site.job().reason) == (JobState.FAILED, "no Hounsfield units")


@pytest.mark.parametrize(("run", "code"), [(1, EXIT_INTERRUPTED), (2, EXIT_BAD_INPUT)])
def test_start_after_a_crash_runs_anew_at_once_what_was_interrupted_or_left_nothing(
    site: Site, after_a_crash: Gateway, run: int, code: int
) -> None:
    after_a_crash.leave(run, code, "of another run, or interrupted")
    settled(after_a_crash)
    job = site.job()
    assert (job.state, job.reason, job.not_before) == (JobState.STAGED, "the gateway was restarted", None)


def test_start_after_a_crash_takes_the_result_that_is_there(site: Site, after_a_crash: Gateway) -> None:
    after_a_crash.plan()
    after_a_crash.queue.start(lambda: None)
    after_a_crash.queue.submit(after_a_crash.worker._runs.ticket(site.job()))
    until(lambda: any(run.is_over for run in after_a_crash.queue.look(JOB_KEY)))
    after_a_crash.queue.forget(JOB_KEY, 1)
    after_a_crash.store.path(job_object(JOB_KEY, "exit.json")).unlink()
    left = {(JOB_KEY, 1)}
    after_a_crash.worker._of_an_earlier_process = left
    after_a_crash.worker.start()
    wait_for_state(site, JobState.SEGMENTED)
    assert after_a_crash.worked() == ["1"]


def test_restarts_are_no_lost_runs_however_many(site: Site, make_gateway: Callable[..., Gateway]) -> None:
    """After as many as would fail the job, a fault of its own is the first one still."""
    for _ in range(POLICY.failures_allowed + 1):
        make_gateway().submit(site.job())
        settled(make_gateway())
        assert site.job().state is JobState.STAGED
    assert lost_runs(site.ledger, JOB_KEY) == []
    last = make_gateway()
    last.plan(kill=True)
    last.start()
    wait_for_state(site, JobState.FAILED)
    assert site.job().run == (POLICY.failures_allowed + 1) + POLICY.failures_allowed


# -- runs that hang -----------------------------------------------------------------------------------------


def test_run_that_gets_no_further_is_told_by_name_and_started_anew(
    site: Site, make_gateway: Callable[..., Gateway]
) -> None:
    gateway = make_gateway(limits=Limits(stall_s=2.0))
    gateway.plan(seconds=60, progress=0.3)
    gateway.start()
    until(lambda: happened(site, "job.stalled"))
    gateway.plan(seconds=0.4)
    until(lambda: "2" in gateway.worked())
    complaint = gateway.worker.complaint()
    assert JOB_KEY[:12] in complaint
    assert "got no further for 2 s in its stage segment" in complaint
    wait_for_state(site, JobState.SEGMENTED)
    assert gateway.worked() == ["1", "2"]
    assert happened(site, "job.stalled")[0]["run"] == 1
    assert "got no further" in happened(site, "job.run_lost")[0]["reason"]
    until(lambda: gateway.worker.complaint() == "")


def test_run_that_gets_further_takes_as_long_as_it_takes(
    site: Site, make_gateway: Callable[..., Gateway]
) -> None:
    gateway = make_gateway(limits=Limits(stall_s=6.0))
    gateway.plan(seconds=8.0, progress=0.0, further=0.1)
    gateway.start()
    wait_for_state(site, JobState.SEGMENTED)
    assert gateway.worked() == ["1"]


def test_run_that_takes_too_long_is_ended_and_held_against_its_job(
    site: Site, make_gateway: Callable[..., Gateway]
) -> None:
    gateway = make_gateway(limits=Limits(timeout_s=0.4))
    gateway.plan(seconds=60)
    gateway.start()
    wait_for_state(site, JobState.FAILED)
    assert "the run took longer than queue.local_timeout_s allows, 0.4 s (3 runs" in site.job().reason
    assert [told["run"] for told in happened(site, "job.timed_out")] == [1, 2, 3]


# -- a ledger or a disk that fails --------------------------------------------------------------------------

FULL = sqlite3.OperationalError("database or disk is full")
LOCKED = sqlite3.OperationalError("database is locked")
BAD_BLOCK = OSError(errno.EIO, "Input/output error")
FAULTS = (FULL, LOCKED, OSError(errno.ENOSPC, "No space left on device"), BAD_BLOCK)
DEFECT = sqlite3.ProgrammingError("nobody foresaw it")


class Faults:
    """Lets the ledger's transactions fail with these, one after the other, from the `first` on."""

    def __init__(self, ledger: Ledger, errors: Iterable[Exception], *, first: int, at_commit: bool) -> None:
        self._usual = ledger.transaction
        self._errors = iter(errors)
        self._first = first
        self._at_commit = at_commit
        self.count = 0

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        self.count += 1
        error = next(self._errors, None) if self.count >= self._first else None
        if error is not None and not self._at_commit:
            raise error
        with self._usual() as transaction:
            yield transaction
            if error is not None:
                raise error


@pytest.mark.parametrize("at_commit", [False, True], ids=["begin", "commit"])
@pytest.mark.parametrize("first", range(1, 7))
@pytest.mark.parametrize("errors", [FAULTS, (DEFECT,)], ids=["faults", "defect"])
def test_ledger_that_fails_at_any_moment_of_a_run_loses_nothing_and_all_goes_on_by_itself(
    site: Site,
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    errors: tuple[Exception, ...],
    first: int,
    *,
    at_commit: bool,
) -> None:
    """Submitted, queued, started, further, segmented: each of these is a transaction, and one comes after."""
    gateway.plan(progress=0.5, seconds=0.2)
    faults = Faults(site.ledger, errors, first=first, at_commit=at_commit)
    monkeypatch.setattr(site.ledger, "transaction", faults.transaction)
    gateway.start()
    wait_for_state(site, JobState.SEGMENTED)
    assert gateway.worked() == ["1"]
    assert happened(site, "job.run_lost") == []
    assert gateway.worker.is_running
    until(lambda: gateway.worker.complaint() == "")


def test_ledger_that_is_full_when_a_run_ends_is_told_of_it_once_there_is_room(
    site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.plan(seconds=0.2)
    gateway.start()
    wait_for_state(site, JobState.RUNNING)
    faults = Faults(site.ledger, itertools.repeat(FULL), first=1, at_commit=True)
    with monkeypatch.context() as patch:
        patch.setattr(site.ledger, "transaction", faults.transaction)
        until(lambda: gateway.worker.complaint())
        until(lambda: faults.count > 5)  # it tries again and again, and not all the time
        assert site.job().state is JobState.RUNNING
        assert [run.is_over for run in gateway.queue.look(JOB_KEY)] == [True]
    wait_for_state(site, JobState.SEGMENTED)
    until(lambda: gateway.worker.complaint() == "")
    assert gateway.worked() == ["1"]


def test_ledger_that_cannot_be_read_while_a_run_ends_is_told_of_it_later(
    site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.plan(seconds=0.2)
    gateway.start()
    wait_for_state(site, JobState.RUNNING)
    usual, failed = site.ledger.read, []

    def read(sql: str, parameters: tuple[Any, ...] = ()) -> Any:
        if len(failed) < 5:
            failed.append(sql)
            raise LOCKED
        return usual(sql, parameters)

    with monkeypatch.context() as patch:
        patch.setattr(site.ledger, "read", read)
        until(lambda: len(failed) == 5)
    wait_for_state(site, JobState.SEGMENTED)
    assert gateway.worked() == ["1"]


def test_result_that_cannot_be_read_is_read_later_and_never_computed_again(
    site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[str] = []
    fetch = gateway.store.fetch

    def fails_at_first(key: str, target: Path) -> bool:
        if len(failures) < 3:
            failures.append(key)
            raise BAD_BLOCK
        return fetch(key, target)

    monkeypatch.setattr(gateway.store, "fetch", fails_at_first)
    gateway.start()
    wait_for_state(site, JobState.SEGMENTED)
    assert (len(failures), gateway.worked()) == (3, ["1"])


def test_result_that_cannot_be_read_is_said_at_the_job_and_can_be_tried_now(
    site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bool:
        raise BAD_BLOCK

    monkeypatch.setattr("gateway.workers.attempts.POLICY", Policy(machine=Backoff(600.0, 600.0)))
    with monkeypatch.context() as patch:
        patch.setattr(gateway.store, "fetch", fails)
        gateway.start()
        site.wait_for(lambda job: "a disk fails to read or write" in job.reason)
    with site.ledger.transaction() as transaction:
        retry(transaction, JOB_KEY)
    wait_for_state(site, JobState.SEGMENTED)
    assert (site.job().reason, gateway.worked()) == ("", ["1"])


def test_worker_goes_on_whatever_listens_to_the_bus(site: Site, gateway: Gateway) -> None:
    assert isinstance(site.bus, Bus)
    site.bus.subscribe(lambda event: 1 / 0)
    gateway.start()
    wait_for_state(site, JobState.SEGMENTED)
