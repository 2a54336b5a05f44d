"""What the pauses of senders teach."""

from dataclasses import dataclass, field

import pytest

from gateway.arrival.gaps import ENOUGH, LEAST_S, Gaps
from gateway.events import AssociationClosed, Bus, InstanceStored

QUIET_S = 5.0


@dataclass
class Line:
    """A bus with senders on it, and a clock."""

    bus: Bus = field(default_factory=Bus)
    at_s: float = 0.0
    studies: int = 0

    def __post_init__(self) -> None:
        self.gaps = Gaps(self.bus, QUIET_S, lambda: self.at_s)

    def close(self, study_uid: str, sender: str = "PACS", *, released: bool = True) -> None:
        self.bus.publish(AssociationClosed(1, released, frozenset({study_uid}), sender))

    def pause(self, gap_s: float, times: int = 1, sender: str = "PACS") -> None:
        """So many releases after each of which more comes."""
        for _ in range(times):
            self.studies += 1
            study_uid = f"1.{self.studies}"
            self.close(study_uid, sender)
            self.at_s += gap_s
            self.bus.publish(InstanceStored(study_uid, 1))

    def quiet_s(self, sender: str = "PACS") -> float:
        """Of a study that this sender releases now."""
        self.close("1.0", sender)
        return self.gaps.quiet_after_s("1.0")


@pytest.mark.parametrize(("gap_s", "quiet_s"), [(2.0, 2.0), (0.01, LEAST_S), (4.9, 4.9), (30.0, LEAST_S)])
def test_quiet_time_is_what_the_senders_pauses_ask_for(gap_s: float, quiet_s: float) -> None:
    line = Line()
    line.pause(gap_s, ENOUGH)
    assert line.quiet_s() == pytest.approx(quiet_s)


def test_sender_that_is_not_known_well_gets_the_whole_quiet_time() -> None:
    line = Line()
    line.pause(0.1, ENOUGH - 1)
    line.pause(0.1, ENOUGH, sender="CT")
    assert line.quiet_s("PACS") == QUIET_S
    assert line.quiet_s("CT") == LEAST_S


@pytest.mark.parametrize(("rare", "quiet_s"), [(50, 3.0), (200, LEAST_S)])
def test_what_happens_once_in_a_hundred_times_is_not_waited_for(rare: int, quiet_s: float) -> None:
    line = Line()
    for number in range(400):
        if number % rare == 0:
            line.pause(3.0)
        else:
            line.close(f"2.{number}")
            line.at_s += QUIET_S + 1
    assert line.quiet_s() == pytest.approx(quiet_s)


def test_pauses_after_an_abort_are_nobodys_habit() -> None:
    line = Line()
    line.pause(0.1, ENOUGH)
    for number in range(ENOUGH):
        line.close(f"3.{number}", released=False)
        line.at_s += 4.0
        line.bus.publish(InstanceStored(f"3.{number}", 1))
    assert line.quiet_s() == LEAST_S


def test_pause_that_a_study_had_is_expected_again() -> None:
    line = Line()
    for gap_s in (1.0, 3.0, 2.0):
        line.close("1.9")
        line.at_s += gap_s
        line.bus.publish(InstanceStored("1.9", 1))
    assert line.gaps.pause_s("1.9") == pytest.approx(3.0)
    assert line.gaps.pause_s("1.8") == 0.0


def test_pause_that_a_sender_made_is_expected_of_its_next_study() -> None:
    line = Line()
    line.pause(2.0)
    line.close("1.9")
    line.close("1.8", sender="CT")
    assert line.gaps.pause_s("1.9") == pytest.approx(2.0)
    assert line.gaps.pause_s("1.8") == 0.0
