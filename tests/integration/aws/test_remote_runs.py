"""Runs at Batch: one effective run a job, found again, explained, moved on, ended when unwanted."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.aws.batch import BatchQueue, BatchSettings, LaneSettings
from gateway.adapters.aws.session import AwsSession
from gateway.adapters.aws.sqs_news import SqsNews
from gateway.adapters.errors import Away
from gateway.adapters.folder import FolderStore
from gateway.adapters.objects import job_object
from gateway.config import Fallback
from gateway.config.sections import Queue
from gateway.events import Event, JobChanged
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.identity import EngineIdentity, SiteSecret
from gateway.ledger.completion import images_of, jobs_of
from gateway.ledger.mending import mend_rows
from gateway.ledger.records import JobRow, RunRow, utc_time
from gateway.ledger.runs import run_of
from gateway.ledger.states import AT_THE_QUEUE, JobEvent, JobState
from gateway.ledger.work import retry
from gateway.running.claims import Claim, Claims
from gateway.running.complaints import Complaints
from gateway.running.costs import Costs
from gateway.running.fallback import FallbackQueue
from gateway.running.following import Following, Intervals
from gateway.running.hanging import Hanging, Limits
from gateway.running.hearing import Hearing
from gateway.running.news import RunNews
from gateway.running.outcomes import ELSEWHERE, Outcomes
from gateway.running.remote_runs import HandOver, RemoteSubmit
from gateway.running.run import Runs
from gateway.running.taken import TakenRuns
from gateway.running.waiting_room import WaitingRoom
from gateway.workers.attempts import Backoff, Policy
from gateway.workers.steps import StepWorker
from tests.doubles.batch import DEFINITION, FALLBACK_QUEUE, MAIN_QUEUE, BatchDouble
from tests.doubles.batch_jobs import BatchJob
from tests.doubles.news_queue import NewsQueue
from tests.one_job import JOB_KEY, STUDY_UID, Site, site_in

QUICK_JOB = Path(__file__).parents[2] / "doubles" / "quick_job.py"
OFTEN = Intervals(
    find_s=0.1, end_s=0.1, reconcile_s=0.5, progress_s=0.1, taken_s=0.1, explain_s=0.1, unseen_s=60.0
)
NEVER_S = 3600.0


class Gateway:
    """What of a gateway deals with runs: the step submit, the news, the follower."""

    def __init__(
        self,
        site: Site,
        objects: FolderStore,
        news_url: str,
        *,
        name: str = "north",
        intervals: Intervals = OFTEN,
        fallback: Fallback | None = None,
        lease_s: float = 60.0,
        limits: Limits | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.site, self.name = site, name
        fallback = fallback or Fallback()
        lanes = [LaneSettings(queue, DEFINITION) for queue in (MAIN_QUEUE, FALLBACK_QUEUE)]
        session = AwsSession("us-east-1")
        settings = BatchSettings(lanes[0], lanes[1] if fallback.job_queue else None, name)
        self.queue = BatchQueue(session, settings)
        results = JobResults(objects, Workplace(site.ledger, site.data_dir))
        complaints = Complaints(site.ledger)
        costs = Costs(site.ledger, {"g4dn.xlarge": 3600.0})
        outcomes = Outcomes(site.ledger, results, costs, complaints, policy)
        queues = {"job_queue": MAIN_QUEUE, "job_definition": DEFINITION, "fallback": fallback}
        room = WaitingRoom(objects, name, Queue(backend="batch", **queues))
        runs = Runs(site.ledger, results, outcomes, objects, "batch", room)
        hand_over = HandOver(site.ledger, outcomes, runs, self.queue)
        self.claims = Claims(objects, name, lease_s)
        engine = EngineIdentity("threshold", "1", "", "1")
        secret = SiteSecret(site.data_dir / "secret")
        moving = FallbackQueue(site.ledger, fallback, secret, engine)
        self.news = RunNews(site.ledger, results, outcomes, runs, moving)
        submit = RemoteSubmit(runs, hand_over, results, self.queue, self.claims)
        self.workers = (
            StepWorker("submit", JobState.STAGED, submit, site.ledger, site.bus),
            Following(
                site.ledger,
                site.bus,
                objects,
                self.queue,
                self.claims,
                runs,
                hand_over,
                outcomes,
                self.news,
                moving,
                Hanging(site.ledger, self.news, limits or Limits(), complaints),
                complaints,
                intervals,
                TakenRuns(self.queue, results, runs, self.news, room),
            ),
            Hearing(site.bus, SqsNews(session, news_url), self.news.hear),
        )

    def start(self) -> None:
        for worker in self.workers:
            worker.start()

    def stop(self) -> None:
        for worker in reversed(self.workers):
            worker.stop()

    def timeline(self) -> list[tuple[str, dict[str, Any]]]:
        rows = self.site.ledger.read(
            "SELECT event, detail FROM events WHERE job_key IS NOT NULL ORDER BY seq"
        )
        return [(row["event"], json.loads(row["detail"])) for row in rows]

    def happened(self, name: str) -> list[dict[str, Any]]:
        return [detail for event, detail in self.timeline() if event == name]

    def wait_until_happened(self, name: str) -> dict[str, Any]:
        self.site.wait_for(lambda _: bool(self.happened(name)))
        return self.happened(name)[0]

    def run(self, number: int | None = None) -> RunRow:
        """A run of the job, or its present one."""
        run = run_of(self.site.ledger, JOB_KEY, number or self.site.job().run)
        assert run is not None
        return run

    def wait_for_run(self, condition: Callable[[RunRow], bool]) -> RunRow:
        self.site.wait_for(lambda job: job.run > 0 and condition(self.run()))
        return self.run()

    def wait_for_state(self, *states: JobState) -> JobRow:
        return self.site.wait_for(lambda job: job.state in states)


@pytest.fixture
def objects(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "bucket")
    store.put(job_object(JOB_KEY, "request.json"), b"{}")
    return store


@pytest.fixture
def plan(objects: FolderStore) -> Callable[..., None]:
    """Says what the job will do."""
    return lambda **what: objects.put(job_object(JOB_KEY, "plan"), json.dumps(what).encode())


@pytest.fixture
def worked(objects: FolderStore) -> Callable[[], list[str]]:
    """The runs that really worked."""
    folder = objects.path(job_object(JOB_KEY, "worked"))
    return lambda: sorted(path.name for path in folder.glob("*"))


@pytest.fixture
def double(batch_double: BatchDouble) -> BatchDouble:
    batch_double.set_definition(command=[sys.executable, str(QUICK_JOB)])
    return batch_double


@pytest.fixture
def make_gateway(
    site: Site, objects: FolderStore, double: BatchDouble, make_news_queue: Callable[..., NewsQueue]
) -> Iterator[Callable[..., Gateway]]:
    """Makes gateways on the one job, staged, and stops them."""
    with ExitStack() as stack:

        def make(at: Site = site, **settings: Any) -> Gateway:
            if at.job().state is JobState.PLANNED:
                at.move(JobEvent.STAGED)
            gateway = Gateway(at, objects, make_news_queue().url, **settings)
            stack.callback(gateway.stop)
            return gateway

        yield make


@pytest.fixture
def second_site(tmp_path: Path) -> Iterator[Site]:
    """Another gateway's ledger, with the same study."""
    folder = tmp_path / "second"
    folder.mkdir()
    with site_in(folder) as site:
        yield site


def test_run_at_batch_is_followed_to_its_result_and_its_path_noted(
    make_gateway: Callable[..., Gateway], double: BatchDouble, worked: Callable[[], list[str]]
) -> None:
    double.hold_capacity()
    gateway = make_gateway(intervals=replace(OFTEN, reconcile_s=NEVER_S))  # asking would overtake the news
    gateway.start()
    gateway.wait_for_state(JobState.RUNNABLE)
    double.release_capacity()
    job = gateway.wait_for_state(JobState.SEGMENTED)
    batch_job = double.jobs()[0]
    assert worked() == [f"1-{batch_job.job_id}-1"]
    run = gateway.run()
    assert (run.queue_id, run.run, run.attempt, run.is_open) == (batch_job.job_id, 1, 1, 0)
    assert (job.run, run.exit_code) == (1, 0)
    wanted = ["job.submitted", "job.accepted", "job.queued", "job.starting", "job.started", "job.segmented"]
    path = [name for name, _ in gateway.timeline() if name in wanted]
    # SQS keeps no order: that it has a machine may be told after it runs, and then changes nothing.
    assert path in (wanted, [name for name in wanted if name != "job.starting"])
    ended = gateway.happened("job.segmented")[0]
    assert ended["machine"] == "g4dn.xlarge"
    assert ended["usd_estimate"] > 0
    assert ended["log_stream"]


def test_submission_whose_answer_was_lost_is_found_and_not_repeated(
    make_gateway: Callable[..., Gateway], double: BatchDouble, worked: Callable[[], list[str]]
) -> None:
    double.lose_answer("SubmitJob")
    gateway = make_gateway()
    gateway.start()
    gateway.wait_for_state(JobState.SEGMENTED)
    assert gateway.happened("job.unanswered")
    assert len(double.calls("SubmitJob")) == 1
    assert len(worked()) == 1


def test_submission_that_was_never_taken_in_is_repeated_once_it_stayed_unseen(
    make_gateway: Callable[..., Gateway], double: BatchDouble, worked: Callable[[], list[str]]
) -> None:
    double.lose_request("SubmitJob")
    gateway = make_gateway(intervals=Intervals(find_s=0.1, unseen_s=0.3))
    gateway.start()
    gateway.wait_for_state(JobState.SEGMENTED)
    assert gateway.happened("job.submitted_again")
    assert len(double.jobs()) == len(worked()) == 1


def test_two_jobs_of_one_run_are_one_effective_run_and_the_owner_is_followed(
    make_gateway: Callable[..., Gateway],
    double: BatchDouble,
    worked: Callable[[], list[str]],
    plan: Callable[..., None],
) -> None:
    plan(seconds=2.0)
    double.hide_new_jobs(NEVER_S)
    double.lose_answer("SubmitJob")
    double.events.drop(1000)
    double.hold_capacity()
    double.run_at_most(1)
    gateway = make_gateway(intervals=Intervals(find_s=0.1, reconcile_s=0.2, unseen_s=0.3))
    gateway.start()
    gateway.site.wait_for(lambda _: len(double.jobs()) == 2)
    double.release_capacity()
    gateway.site.wait_for(lambda _: bool(worked()))
    double.run_at_most(None)
    owned = gateway.wait_until_happened("job.owned")
    gateway.wait_for_state(JobState.SEGMENTED)
    first, second = double.jobs()
    assert owned["queue_id"] == first.job_id
    assert worked() == [f"1-{first.job_id}-1"]
    assert gateway.happened("job.accepted")[0]["queue_id"] == second.job_id
    assert not gateway.happened("job.run_lost")


def _wait_until_at_work(gateway: Gateway, worked: Callable[[], list[str]]) -> None:
    """Until a run goes on by what was planned for it, whatever is planned from then on."""
    gateway.wait_for_state(JobState.RUNNING)
    gateway.site.wait_for(lambda _: bool(worked()))


def _lose_runs_and_rebuild(site: Site) -> None:
    """Lose what stood of runs in the ledger, and make it anew as `iris ledger rebuild` does."""
    with site.ledger.transaction() as transaction:
        transaction.execute("DELETE FROM runs")
        mend_rows(transaction, lambda study_uid: study_uid)


def _running_and_lost(make_gateway: Callable[..., Gateway], double: BatchDouble) -> BatchJob:
    """A run that goes on at Batch, of which neither gateway nor ledger know any more, nor will hear."""
    gateway = make_gateway()
    gateway.start()
    gateway.wait_for_state(JobState.RUNNING)
    gateway.stop()
    double.events.drop(1000)
    _lose_runs_and_rebuild(gateway.site)
    [running] = double.jobs()
    return running


def test_run_that_was_lost_with_the_ledger_is_found_at_batch_and_not_repeated(
    make_gateway: Callable[..., Gateway],
    double: BatchDouble,
    worked: Callable[[], list[str]],
    plan: Callable[..., None],
) -> None:
    plan(seconds=1.0)
    running = _running_and_lost(make_gateway, double)
    gateway = make_gateway()
    gateway.start()
    gateway.wait_for_state(JobState.SEGMENTED)
    assert gateway.happened("job.adopted")[0]["queue_id"] == running.job_id
    assert worked() == [f"1-{running.job_id}-1"]


def test_job_of_a_ledger_that_is_made_anew_of_files_only_is_found_at_batch(
    make_gateway: Callable[..., Gateway],
    double: BatchDouble,
    plan: Callable[..., None],
    second_site: Site,
) -> None:
    plan(seconds=30.0)
    running = _running_and_lost(make_gateway, double)
    gateway = make_gateway(second_site)  # the same name and bucket
    gateway.start()
    assert gateway.wait_until_happened("job.adopted")["queue_id"] == running.job_id
    assert len(double.calls("SubmitJob")) == 1


def test_run_that_ledger_and_batch_have_forgotten_is_known_by_its_result(
    make_gateway: Callable[..., Gateway], double: BatchDouble, plan: Callable[..., None]
) -> None:
    plan(seconds=0.5)
    double.hide_new_jobs(NEVER_S)
    running = _running_and_lost(make_gateway, double)
    double.wait_for(running.job_id, "SUCCEEDED")
    gateway = make_gateway(intervals=replace(OFTEN, unseen_s=0.2))
    gateway.start()
    gateway.wait_for_state(JobState.SEGMENTED)
    assert len(double.calls("SubmitJob")) == 1


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda double: double.deny("SubmitJob"), "AWS denies batch:SubmitJob"),
        (lambda double: double.deny("ListJobs"), "AWS denies batch:ListJobs"),
        (lambda double: double.throttle("SubmitJob", None), "AWS asks to wait"),
        (lambda double: double.expire_credentials(), "the AWS credentials have expired"),
    ],
    ids=["submit denied", "list denied", "throttled", "expired"],
)
def test_job_waits_while_batch_does_not_take_it_and_goes_on_by_itself(
    make_gateway: Callable[..., Gateway],
    double: BatchDouble,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[BatchDouble], None],
    sentence: str,
) -> None:
    monkeypatch.setattr("gateway.workers.attempts.POLICY", Policy(outside=Backoff(0.2, 0.2)))
    monkeypatch.setattr("gateway.running.outcomes.POLICY", Policy(outside=Backoff(0.05, 300.0)))
    harm(double)
    gateway = make_gateway()
    gateway.start()
    gateway.site.wait_for(lambda job: job.state is JobState.STAGED and sentence in job.reason)
    gateway.site.wait_for(lambda job: len(double.calls("SubmitJob") + double.calls("ListJobs")) > 5)
    assert gateway.site.job().state in {JobState.STAGED, JobState.SUBMITTED}
    double.forgive()
    gateway.wait_for_state(JobState.SEGMENTED)


def test_job_that_batch_refuses_again_and_again_is_tried_more_and_more_seldom(
    make_gateway: Callable[..., Gateway], double: BatchDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.running.outcomes.POLICY", Policy(outside=Backoff(0.01, 300.0)))
    double.deny("SubmitJob")
    gateway = make_gateway()
    gateway.start()
    gateway.site.wait_for(lambda _: len(gateway.happened("job.run_lost")) > 5)
    rows = gateway.site.ledger.read("SELECT at FROM events WHERE event = 'job.run_lost' ORDER BY seq")
    times = [utc_time(row["at"]) for row in rows]
    gaps_s = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert gaps_s[4] > 8 * 0.01
    assert gateway.site.job().state is JobState.STAGED


def test_job_whose_queue_is_disabled_says_so_with_the_command_that_enables_it(
    make_gateway: Callable[..., Gateway], double: BatchDouble
) -> None:
    double.hold_capacity()
    double.set_environment(state="DISABLED")
    gateway = make_gateway()
    gateway.start()
    job = gateway.site.wait_for(
        lambda job: job.state is JobState.RUNNABLE and bool(gateway.run().waiting_code)
    )
    assert "aws batch update-compute-environment" in job.reason
    assert gateway.happened("job.waiting")[0]["code"] == gateway.run().waiting_code
    double.set_environment(state="ENABLED")
    double.release_capacity()
    assert gateway.wait_for_state(JobState.SEGMENTED).reason == ""


def test_job_that_waited_too_long_is_run_once_more_at_the_fallback_queue(
    make_gateway: Callable[..., Gateway], double: BatchDouble, worked: Callable[[], list[str]]
) -> None:
    double.hold_capacity(MAIN_QUEUE)
    gateway = make_gateway(fallback=Fallback(after_s=0.3, job_queue=FALLBACK_QUEUE))
    gateway.start()
    job = gateway.wait_for_state(JobState.SEGMENTED)
    first, second = double.jobs()
    runs = [gateway.run(number) for number in (1, 2)]
    assert (job.run, job.lane) == (2, "fallback")
    assert [(run.lane, run.queue_id, run.is_open) for run in runs] == [
        ("main", first.job_id, 0),
        ("fallback", second.job_id, 0),
    ]
    assert runs[0].withdrawn_at
    assert (first.status, first.queue.name) == ("FAILED", MAIN_QUEUE)
    assert second.queue.name == FALLBACK_QUEUE
    double.wait_for(second.job_id, "SUCCEEDED")  # its result is seen before Batch sees its end
    assert worked() == [f"2-{second.job_id}-1"]
    assert gateway.happened("job.withdrawn")
    assert "moved to the fallback queue" in gateway.happened("job.run_lost")[0]["reason"]


def test_job_that_the_queues_own_time_limit_ended_moves_on_as_well(
    make_gateway: Callable[..., Gateway], double: BatchDouble
) -> None:
    double.hold_capacity(MAIN_QUEUE)
    gateway = make_gateway(fallback=Fallback(after_s=NEVER_S, job_queue=FALLBACK_QUEUE))
    gateway.start()
    gateway.wait_for_state(JobState.RUNNABLE)
    double.cancel_by_time_limit(double.jobs()[0].job_id, "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY")
    assert gateway.wait_for_state(JobState.SEGMENTED).lane == "fallback"


def test_fallback_with_another_model_is_another_job_in_the_first_ones_place(
    make_gateway: Callable[..., Gateway], double: BatchDouble, site: Site
) -> None:
    double.hold_capacity(MAIN_QUEUE)
    wanted = Fallback(after_s=0.3, job_queue=FALLBACK_QUEUE, options={"fast": True})
    gateway = make_gateway(fallback=wanted)
    gateway.start()
    first = gateway.wait_for_state(JobState.SUPERSEDED)
    other = next(job for job in jobs_of(site.ledger, STUDY_UID) if job.job_key != first.job_key)
    assert (other.state, other.fallback_of, other.lane) == (JobState.PLANNED, JOB_KEY, "fallback")
    assert other.options["fast"] is True
    assert other.slot == first.slot
    assert images_of(site.ledger, other.job_key) == images_of(site.ledger, first.job_key)
    double.release_capacity()
    assert [job.status for job in double.jobs()] == ["FAILED"]


def test_run_that_got_a_machine_in_the_last_moment_is_not_ended(
    make_gateway: Callable[..., Gateway], double: BatchDouble, plan: Callable[..., None]
) -> None:
    plan(seconds=1.0)
    double.events.drop(2)  # what is heard last is that it waits
    gateway = make_gateway(
        intervals=Intervals(explain_s=0.1, reconcile_s=NEVER_S),
        fallback=Fallback(after_s=0.1, job_queue=FALLBACK_QUEUE),
    )
    gateway.start()
    assert gateway.wait_for_state(JobState.SEGMENTED).lane == "main"
    assert len(double.jobs()) == 1


def test_machine_that_is_taken_away_shows_in_the_timeline_and_the_run_goes_on(
    make_gateway: Callable[..., Gateway],
    double: BatchDouble,
    worked: Callable[[], list[str]],
    plan: Callable[..., None],
) -> None:
    plan(seconds=30.0)
    gateway = make_gateway()
    gateway.start()
    _wait_until_at_work(gateway, worked)
    plan(seconds=0.0)
    double.interrupt(double.jobs()[0].job_id, notice_s=5.0)
    job = gateway.wait_for_state(JobState.SEGMENTED)
    assert (job.run, gateway.run().attempt, len(double.jobs())) == (1, 2, 1)
    assert gateway.happened("job.queued")[-1]["interruption"] == "spot"


def test_machine_that_was_taken_away_unheard_shows_in_the_timeline_when_the_next_one_runs(
    make_gateway: Callable[..., Gateway],
    double: BatchDouble,
    worked: Callable[[], list[str]],
    plan: Callable[..., None],
) -> None:
    plan(seconds=30.0)
    gateway = make_gateway()
    gateway.start()
    _wait_until_at_work(gateway, worked)
    plan(seconds=0.0)
    double.events.drop(1000)
    double.interrupt(double.jobs()[0].job_id, notice_s=5.0)
    gateway.wait_for_state(JobState.SEGMENTED)
    assert gateway.happened("job.queued")[-1]["interruption"] == "spot"


@pytest.mark.parametrize(
    "harm",
    [
        lambda events: events.drop(1000),
        lambda events: events.repeat(3),
        lambda events: events.reorder(4),
        lambda events: events.delay(1.0),
    ],
    ids=["none come", "each three times", "backwards", "late"],
)
def test_job_is_segmented_whatever_becomes_of_its_events(
    make_gateway: Callable[..., Gateway], double: BatchDouble, harm: Callable[[Any], None]
) -> None:
    harm(double.events)
    gateway = make_gateway()
    gateway.start()
    gateway.wait_for_state(JobState.SEGMENTED)
    states = [
        name for name, _ in gateway.timeline() if name in ("job.queued", "job.started", "job.segmented")
    ]
    assert states == sorted(states, key=["job.queued", "job.started", "job.segmented"].index)


def test_job_that_is_cancelled_ends_its_run_at_batch(
    make_gateway: Callable[..., Gateway], double: BatchDouble, plan: Callable[..., None]
) -> None:
    plan(seconds=30.0)
    gateway = make_gateway()
    gateway.start()
    gateway.wait_for_state(JobState.RUNNING)
    gateway.site.move(JobEvent.CANCELLED)
    double.wait_for(double.jobs()[0].job_id, "FAILED")
    gateway.wait_for_run(lambda run: not run.is_open)
    assert gateway.site.job().state is JobState.CANCELLED


def test_job_that_is_cancelled_and_retried_at_once_ends_the_first_run_and_not_the_second(
    make_gateway: Callable[..., Gateway],
    double: BatchDouble,
    worked: Callable[[], list[str]],
    plan: Callable[..., None],
) -> None:
    plan(seconds=30.0)
    gateway = make_gateway()
    gateway.start()
    _wait_until_at_work(gateway, worked)
    plan(seconds=0.0)
    with gateway.site.ledger.transaction() as transaction:  # before anybody could end the run
        for event in (JobEvent.CANCELLED, JobEvent.REPLANNED, JobEvent.STAGED):
            transaction.move_job(JOB_KEY, event)
    gateway.wait_for_state(JobState.SEGMENTED)
    first, second = double.jobs()
    double.wait_for(first.job_id, "FAILED")
    double.wait_for(second.job_id, "SUCCEEDED")
    gateway.site.wait_for(lambda _: not gateway.run(1).is_open)
    assert (gateway.run(1).queue_id, gateway.run(2).queue_id) == (first.job_id, second.job_id)


def test_run_that_batch_ends_with_75_again_and_again_is_told_and_waits_for_a_person(
    make_gateway: Callable[..., Gateway], double: BatchDouble, plan: Callable[..., None]
) -> None:
    plan(exit=75)
    quick = replace(ELSEWHERE, machine_failures_allowed=3, machine=Backoff(1.5, 1.5))
    gateway = make_gateway(policy=quick)
    gateway.start()
    gateway.site.wait_for(lambda _: "; after 1 more it waits for a person" in gateway.workers[1].complaint())
    job = gateway.wait_for_state(JobState.FAILED)
    assert "exit code 75" in job.reason
    assert "3 runs were lost since " in job.reason
    assert [job.status for job in double.jobs()] == ["FAILED"] * 3
    gateway.site.wait_for(lambda _: gateway.workers[1].complaint() == "")
    plan(exit=0)
    with gateway.site.ledger.transaction() as transaction:
        retry(transaction, JOB_KEY)
    gateway.wait_for_state(JobState.SEGMENTED)


def test_run_at_batch_that_gets_no_further_is_told_by_name_and_started_anew(
    make_gateway: Callable[..., Gateway], double: BatchDouble, plan: Callable[..., None]
) -> None:
    plan(seconds=60.0)
    gateway = make_gateway(limits=Limits(stall_s=1.5))
    gateway.start()
    stalled = gateway.wait_until_happened("job.stalled")
    plan(seconds=0.0)
    assert stalled["run"] == 1
    gateway.site.wait_for(lambda _: JOB_KEY[:12] in gateway.workers[1].complaint())
    gateway.wait_for_state(JobState.SEGMENTED)
    assert "got no further" in gateway.run(1).sentence
    first, second = double.jobs()
    assert first.status == "FAILED"
    double.wait_for(second.job_id, "SUCCEEDED")
    gateway.workers[1].look_again()
    gateway.site.wait_for(lambda _: gateway.workers[1].complaint() == "")


def test_job_that_is_cancelled_before_its_submission_was_answered_is_ended_too(
    make_gateway: Callable[..., Gateway], double: BatchDouble, plan: Callable[..., None]
) -> None:
    plan(seconds=30.0)
    double.hide_new_jobs(NEVER_S)
    double.events.drop(1000)
    double.lose_answer("SubmitJob")
    gateway = make_gateway()
    gateway.start()
    gateway.wait_until_happened("job.unanswered")
    gateway.site.move(JobEvent.CANCELLED)
    double.show_jobs()
    double.wait_for(double.jobs()[0].job_id, "FAILED")
    gateway.wait_for_run(lambda run: not run.is_open)


def test_gateway_that_was_away_finds_what_its_runs_became(
    make_gateway: Callable[..., Gateway], double: BatchDouble, worked: Callable[[], list[str]]
) -> None:
    double.hold_capacity()
    gateway = make_gateway()
    gateway.start()
    gateway.wait_for_state(JobState.RUNNABLE)
    gateway.stop()
    double.events.drop(1000)
    double.release_capacity()
    double.wait_for(double.jobs()[0].job_id, "SUCCEEDED")
    assert gateway.site.job().state in AT_THE_QUEUE
    again = make_gateway()
    again.start()
    again.wait_for_state(JobState.SEGMENTED)
    assert len(worked()) == 1


def test_run_that_batch_has_forgotten_is_run_again(
    make_gateway: Callable[..., Gateway], double: BatchDouble, worked: Callable[[], list[str]]
) -> None:
    double.hold_capacity()
    gateway = make_gateway()
    gateway.start()
    gateway.wait_for_state(JobState.RUNNABLE)
    with double.life.lock:
        double.life.jobs.clear()
    gateway.wait_until_happened("job.run_lost")
    double.release_capacity()
    gateway.wait_for_state(JobState.SEGMENTED)
    assert len(worked()) == 1


def test_result_that_cannot_be_fetched_is_fetched_later_and_never_computed_again(
    make_gateway: Callable[..., Gateway],
    objects: FolderStore,
    worked: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures: list[str] = []
    fetch = objects.fetch

    def away_at_first(key: str, target: Path) -> bool:
        if len(failures) < 2:
            failures.append(key)
            raise Away("the bucket does not answer")
        return fetch(key, target)

    monkeypatch.setattr(objects, "fetch", away_at_first)
    gateway = make_gateway()
    gateway.start()
    gateway.wait_for_state(JobState.SEGMENTED)
    assert len(failures) == 2
    assert len(worked()) == 1
    assert not gateway.happened("job.run_lost")


def test_two_gateways_with_one_bucket_share_one_run(
    make_gateway: Callable[..., Gateway],
    second_site: Site,
    double: BatchDouble,
    worked: Callable[[], list[str]],
    plan: Callable[..., None],
) -> None:
    plan(seconds=0.5)
    north, south = make_gateway(name="north"), make_gateway(second_site, name="south")
    north.start()
    south.start()
    for gateway in (north, south):
        gateway.wait_for_state(JobState.SEGMENTED)
    assert len(double.jobs()) == len(worked()) == 1
    followed = {gateway.name: gateway.run().followed for gateway in (north, south)}
    assert sorted(followed.values()) in (["", "north"], ["", "south"])


def test_gateway_takes_a_job_over_whose_holder_is_gone(
    make_gateway: Callable[..., Gateway], second_site: Site, double: BatchDouble, objects: FolderStore
) -> None:
    Claims(objects, "north", lease_s=6.0).take(JOB_KEY, 1)  # and died before it submitted anything
    south = make_gateway(second_site, name="south")
    south.start()
    south.wait_for_run(lambda run: run.followed == "north")
    south.wait_for_state(JobState.SEGMENTED)
    assert (south.run().followed, len(double.jobs())) == ("", 1)


def test_gateway_whose_claim_was_taken_over_follows_instead_of_submitting_again(
    make_gateway: Callable[..., Gateway], double: BatchDouble, objects: FolderStore
) -> None:
    double.lose_request("SubmitJob", None)
    gateway = make_gateway(intervals=Intervals(find_s=0.1, unseen_s=1.0))
    gateway.start()
    gateway.wait_until_happened("job.unanswered")
    until = datetime.now(UTC) + timedelta(hours=1)
    claim = Claim(gateway="south", run=2, until=until).model_dump_json().encode()
    name = job_object(JOB_KEY, "claim.json")  # as after a lease that ended while it slept
    while not objects.settle(name, claim, objects.get(name)):
        pass  # the gateway renewed its own just then
    gateway.wait_until_happened("job.taken_over")
    assert len(double.calls("SubmitJob")) == 1


def test_run_that_fails_for_good_fails_the_job_with_what_batch_says(
    make_gateway: Callable[..., Gateway], plan: Callable[..., None], double: BatchDouble
) -> None:
    plan(exit=2)
    gateway = make_gateway()
    gateway.start()
    job = gateway.wait_for_state(JobState.FAILED)
    assert job.reason
    assert len(double.jobs()) == 1


def test_changes_of_a_job_are_published_so_that_the_page_shows_them(
    make_gateway: Callable[..., Gateway],
) -> None:
    seen: list[Event] = []
    gateway = make_gateway()
    gateway.site.bus.subscribe(seen.append)
    gateway.start()
    gateway.wait_for_state(JobState.SEGMENTED)
    assert "accepted" in [event.event for event in seen if isinstance(event, JobChanged)]
