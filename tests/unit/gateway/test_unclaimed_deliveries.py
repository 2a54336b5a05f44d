"""What waits for a destination that is not configured any more is said by name until a person settles it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.adapters.checks import Verdict
from gateway.commands.doctor import _unclaimed
from gateway.config import Config, Destination
from gateway.delivery.unclaimed import UnclaimedDeliveries, in_words, unclaimed
from gateway.ledger.deliveries import Backlog, drop_delivery, redirect_delivery
from gateway.ledger.states import DeliveryEvent, StudyState
from tests.one_job import JOB_KEY, site_in

DEADLINE_S = 120.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def watch(book) -> Iterator[Callable[..., UnclaimedDeliveries]]:
    workers = []

    def start(*configured: str) -> UnclaimedDeliveries:
        there = [Destination(name=name, folder="/nowhere") for name in configured]
        worker = UnclaimedDeliveries(book.ledger, book.ledger.bus, there)
        worker.start()
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.stop()


def test_renamed_destination_is_said_by_name_in_study_delivery_and_worker(book, watch) -> None:
    book.begin_encoded(send_to=("old-pacs", "archive"))
    worker = watch("pacs", "archive")
    until(lambda: worker.complaint())
    assert worker.complaint().startswith("1 result waits for old-pacs, which is no [[destination]], since 20")
    assert worker.complaint().endswith("redirect or drop it, or configure that destination again")
    assert book.delivery("old-pacs").reason.startswith("old-pacs is no [[destination]]; redirect or drop it")
    assert book.study().reason == book.delivery("old-pacs").reason
    assert book.delivery("archive").reason == ""


@pytest.mark.parametrize("settle", ["drop", "redirect"])
def test_complaint_ends_when_a_person_settles_it(book, watch, settle: str) -> None:
    book.begin_encoded(send_to=("old-pacs",))
    worker = watch("pacs")
    until(lambda: worker.complaint())
    key = book.delivery("old-pacs").key
    with book.ledger.transaction() as transaction:
        if settle == "drop":
            drop_delivery(transaction, key)
        else:
            redirect_delivery(transaction, key, "pacs")
    until(lambda: worker.complaint() == "")
    if settle == "drop":
        assert book.study().state is StudyState.DONE


def test_delivery_that_is_retried_to_a_destination_that_is_gone_is_said(book, watch) -> None:
    book.begin_encoded(send_to=("old-pacs",))
    book.move_delivery("old-pacs", DeliveryEvent.FAILED)
    worker = watch("pacs")
    until(lambda: worker.piece is None)
    assert worker.complaint() == ""
    book.move_delivery("old-pacs", DeliveryEvent.RETRIED)
    until(lambda: worker.complaint())


def test_what_is_said_already_is_not_said_again(book, watch) -> None:
    book.begin_encoded(send_to=("old-pacs",))
    for _ in range(2):  # as after a restart
        worker = watch("pacs")
        until(lambda worker=worker: worker.complaint())
        worker.stop()
    assert book.names().count("delivery.put_off") == 1


def test_backlog_is_counted_by_destination(book) -> None:
    book.begin_encoded(send_to=("old-pacs", "pacs"))
    [backlog] = unclaimed(book.ledger, ["pacs"])
    assert (backlog.destination, backlog.number) == ("old-pacs", 1)
    said = in_words(Backlog("x", 2, "2026-11-29T12:00:00.000000Z"))
    assert said.startswith("2 results wait for x, which is no [[destination]], since 2026-11-29 12:00 UTC;")


def test_doctor_of_a_gateway_that_is_down_fails_for_what_waits_for_nobody(tmp_path: Path) -> None:
    config = Config(site={"data_dir": tmp_path})
    assert list(_unclaimed(config)) == []
    with site_in(tmp_path) as site, site.ledger.transaction() as transaction:
        transaction.insert(
            "deliveries",
            {
                "key": "d", "job_key": JOB_KEY, "study_uid": site.job().study_uid, "destination": "old-pacs",
                "sop_instance_uid": "2.25.1", "state": "pending",
                "created_at": "2026-11-29T12:00:00.000000Z", "pending_since": "2026-11-29T12:00:00.000000Z",
                "updated_at": "2026-11-29T12:00:00.000000Z",
            },
        )  # fmt: skip
    [check] = _unclaimed(config)
    assert (check.name, check.verdict) == ("deliveries", Verdict.FAILED)
    assert "1 result waits for old-pacs" in check.finding
    assert check.fix.startswith("redirect or drop it")
