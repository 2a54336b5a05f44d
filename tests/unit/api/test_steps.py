"""How long a study was in each step."""

from typing import Any

from gateway.api.ledger_store import LedgerStore
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.ledger.steps import steps_of


def lines(*events: tuple[int, str, str | None]) -> list[dict[str, Any]]:
    return [{"at": f"{at:02}", "event": event, "job_key": job} for at, event, job in events]


def told(*events: tuple[int, str, str | None]) -> list[tuple[str, str | None, str, str | None]]:
    return [(one["step"], one["job_key"], one["begun"], one["ended"]) for one in steps_of(lines(*events))]


def test_steps_of_a_study_are_received_until_its_last_association_ended_then_awaited() -> None:
    assert told(
        (1, "study.instance_stored", None),
        (3, "association.released", None),
        (5, "association.aborted", None),
        (9, "study.completed", None),
        (20, "study.instance_stored", None),
    ) == [("received", None, "01", "05"), ("awaited", None, "05", "09"), ("received", None, "20", None)]


def test_steps_of_a_job_go_on_where_it_was_before_it_failed_or_was_held() -> None:
    assert told(
        (1, "job.planned", "a"),
        (2, "job.converted", "a"),
        (3, "job.staged", "a"),
        (4, "job.submitted", "a"),
        (5, "job.started", "a"),
        (6, "job.failed", "a"),
        (9, "job.retried", "a"),
        (10, "job.segmented", "a"),
        (11, "job.held", "a"),
        (12, "job.released", "a"),
        (13, "job.encoded", "a"),
        (14, "job.put_off", "a"),
        (15, "job.delivered", "a"),
    ) == [
        ("converted", "a", "01", "02"),
        ("staged", "a", "02", "03"),
        ("queued", "a", "03", "05"),
        ("segmented", "a", "05", "06"),
        ("failed", "a", "06", "09"),
        ("segmented", "a", "09", "10"),
        ("encoded", "a", "10", "11"),
        ("held", "a", "11", "12"),
        ("encoded", "a", "12", "13"),
        ("delivered", "a", "13", "15"),
    ]


def test_steps_of_a_real_study_end_with_its_delivery(world) -> None:
    job_key = world.job(world.study())
    for event in (JobEvent.CONVERTED, JobEvent.STAGED, JobEvent.SUBMITTED, JobEvent.STARTED):
        world.move(job_key, event)
    world.move_delivery(world.encode(job_key), DeliveryEvent.SENT)
    steps = (LedgerStore(world.ledger).study("key0001") or {})["steps"]
    names = ["received", "converted", "staged", "queued", "segmented", "encoded", "delivered"]
    assert [one["step"] for one in steps] == names
    assert all(one["ended"] for one in steps)
