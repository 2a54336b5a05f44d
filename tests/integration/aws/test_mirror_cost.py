"""What the mirror of one study costs in DynamoDB's write units, and what the table says all the while."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.outbox import PROGRESS_INTERVAL_S, STEP_INTERVAL_S
from gateway.ledger.states import DeliveryEvent, JobEvent
from tests.doubles.recording_proxy import RecordingProxy
from tests.doubles.write_units import write_units
from tests.mirrored_ledger import MirroredLedger, make_table

pytestmark = pytest.mark.usefixtures("aws_environment")

PROGRESS_EVERY_S = 15.0
"""So often the gateway reads a run's progress at Batch."""
LINES = 17
"""Of the timeline of a study with one job and one destination at Batch; each is an item of its own."""


@pytest.fixture
def ledger(tmp_path: Path, recording_proxy: RecordingProxy) -> Iterator[MirroredLedger]:
    table = make_table(recording_proxy.target)
    ledger = MirroredLedger(tmp_path / "ledger.sqlite", recording_proxy.url, table)
    ledger.open()
    yield ledger
    ledger.close()


def _elapse(ledger: MirroredLedger, seconds: float) -> None:
    """Let time pass, in which what is due is shipped."""
    ledger.worker.work()
    ledger.age(seconds)
    ledger.worker.work()


def _note(ledger: MirroredLedger, job: str, event: str, **columns: Any) -> None:
    with ledger.ledger.transaction() as transaction:
        transaction.step(event, transaction.job(job), run=1)


def _run_for_six_minutes(ledger: MirroredLedger, job: str, look: Callable[[], None]) -> None:
    for step in range(24):
        ledger.progress(job, step / 24)
        _elapse(ledger, PROGRESS_EVERY_S)
        look()


def test_study_of_a_run_of_six_minutes_costs_half_of_116_write_units_and_the_table_is_never_a_minute_behind(
    ledger: MirroredLedger, recording_proxy: RecordingProxy
) -> None:
    """Written at every step and every reading of the progress, this course cost 116."""
    study = ledger.study(1)
    _elapse(ledger, 8)
    assert ledger.item()["state"] == "receiving"
    job = ledger.job(study)
    _elapse(ledger, 0)
    assert (ledger.item()["state"], ledger.item(f"JOB#{job}")["state"]) == ("processing", "planned")
    ledger.move(job, JobEvent.CONVERTED, JobEvent.STAGED)
    _elapse(ledger, 1)
    ledger.move(job, JobEvent.SUBMITTED, run=1, columns={"run": 1})
    _note(ledger, job, "job.accepted")
    _elapse(ledger, STEP_INTERVAL_S)
    assert ledger.item(f"JOB#{job}")["state"] == "submitted"
    ledger.move(job, JobEvent.QUEUED)
    _elapse(ledger, 90)  # a machine starts
    assert ledger.item(f"JOB#{job}")["state"] == "runnable"
    _note(ledger, job, "job.starting")
    _elapse(ledger, 40)  # it fetches the image
    ledger.move(job, JobEvent.STARTED)
    _elapse(ledger, STEP_INTERVAL_S)
    assert ledger.item(f"JOB#{job}")["state"] == "running"
    shown: list[float] = []
    _run_for_six_minutes(ledger, job, lambda: shown.append(float(ledger.item(f"JOB#{job}")["fraction"])))
    behind = [step / 24 - fraction for step, fraction in enumerate(shown)]
    assert max(behind) <= PROGRESS_INTERVAL_S / PROGRESS_EVERY_S / 24
    delivery = ledger.encode(job)
    _elapse(ledger, 2)
    with ledger.ledger.transaction() as transaction:
        transaction.move_delivery(delivery, DeliveryEvent.SENT)
    _elapse(ledger, 0)
    assert (ledger.waiting(), ledger.item()["state"], ledger.item()["reason"]) == (0, "done", "delivered")
    assert ledger.item(f"JOB#{job}")["state"] == "delivered"
    units = write_units(recording_proxy.sent)
    assert units["EVENT"] == len(ledger.event_numbers()) == LINES
    assert units == {"EVENT": 17, "JOB": 22, "STUDY": 8}
    assert units.total() <= 116 / 2


def test_step_that_leaves_an_item_as_it_is_does_not_write_it(
    ledger: MirroredLedger, recording_proxy: RecordingProxy
) -> None:
    job = ledger.job(ledger.study(1))
    ledger.ship()
    before = len(recording_proxy.sent)
    ledger.move(job, JobEvent.CONVERTED)
    ledger.ship()
    written = [sent.body.count(b'"JOB#') for sent in recording_proxy.sent[before:]]
    assert written == [0, 1]  # a line of the timeline, then the job; the study stays as it is
