"""What is reported on somebody else's association."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateway.adapters import command_set
from gateway.adapters.dicom.commitment import CommitmentReport
from gateway.listener.wire import reporting
from gateway.listener.wire.guard import Command, Fragment, Refused
from gateway.listener.wire.reporting import Reporting

REPORT = CommitmentReport("1.9", {"1.2": CTImageStorage}, {}, "PACS")
CONTEXT = 1


@pytest.fixture
def association(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(reporting, "SILENCE_S", 0.0)
    context = SimpleNamespace(transfer_syntax=[ExplicitVRLittleEndian])
    return SimpleNamespace(_accepted_cx={CONTEXT: context}, requestor=SimpleNamespace(maximum_length=0))


def answer(number: int, status: int, *, has_data_set: bool = False) -> Command:
    follows = 1 if has_data_set else command_set.NO_DATA_SET
    elements = {
        command_set.MESSAGE_ID_BEING_RESPONDED_TO: number,
        command_set.COMMAND_DATA_SET_TYPE: follows,
        command_set.STATUS: status,
    }
    return Command(CONTEXT, b"", {key: command_set.number_value(value) for key, value in elements.items()})


def reported(association: Any, then: Callable[[Reporting], object]) -> int | None:
    """What comes of a report when something happens after it was given."""
    given = threading.Event()
    one = Reporting(association, given.set)
    with ThreadPoolExecutor() as pool:
        outcome = pool.submit(one.report, CONTEXT, REPORT)
        assert given.wait(120)
        then(one)
        return outcome.result(timeout=60)


def test_answer_is_the_status_and_its_event_reply_is_passed_over(association: Any) -> None:
    def take(one: Reporting) -> None:
        assert one.next_to_write() is not None
        one.take_answer(answer(1, 0x0110, has_data_set=True))
        fragments = [Fragment(CONTEXT, memoryview(b"reply"), is_last) for is_last in (False, True, True)]
        assert [one.takes(fragment) for fragment in fragments] == [True, True, False]

    assert reported(association, take) == 0x0110


def test_association_that_ends_leaves_nobody_waiting(association: Any) -> None:
    assert reported(association, lambda one: one.give_up()) is None
    over = Reporting(association, lambda: None)
    over.give_up()
    assert over.report(CONTEXT, REPORT) is None


def test_report_that_nobody_waits_for_is_not_written_and_its_late_answer_passed_over(
    association: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "ANSWER_TIMEOUT_S", 0.0)
    one = Reporting(association, lambda: None)
    assert one.report(CONTEXT, REPORT) is None
    assert one.next_to_write() is None
    one.take_answer(answer(1, 0))
    with pytest.raises(Refused):
        one.take_answer(answer(2, 0))


def test_nothing_is_written_before_the_peer_is_silent(
    association: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "SILENCE_S", 3600.0)

    def take(one: Reporting) -> None:
        assert one.next_to_write() is None
        one.give_up()

    assert reported(association, take) is None
