"""What follows from a job's flags when it is encoded: marks in the objects, or a person is asked first."""

from typing import Any

import pytest

from batch_job.contract import Flag as ResultFlag
from gateway.config import Config
from gateway.ledger.flags import Flag, FlagSource, flags_of, write_flags
from gateway.ledger.instances import FOUND_AT_START
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.work import release

CUT = ResultFlag(
    code="truncated", structure="bone", number=12.5, unit="%", sentence="The bone touches the feet end."
)
SWAPPED = ResultFlag(
    code="sides_contradict", structure="bone", number=80.0, unit="mm", sentence="Left lies right of right."
)
LATE = Flag("closed_by_timeout", None, 60.0, "s", "Closed 60 s after its last image.")


def rule(**values: Any) -> Config:
    return Config(rule=[{"name": "ct", **values}])


def test_flags_are_marked_in_description_content_and_segment(segmented: Any) -> None:
    site = segmented("seg", flags=(CUT,))
    site.encode(site.job())
    seg = site.objects()["seg"]
    assert seg.SeriesDescription.startswith("CHECK: IRIS tissue (research)")
    assert seg.ContentDescription == "CHECK: truncated; tissue (research use only)"
    assert [item.SegmentDescription for item in seg.SegmentSequence] == [
        "CHECK: The bone touches the feet end. tissue bone label value 1"
    ]


MANY = ("sides_contradict", "regions_contradict", "order_contradicts", "gap", "fragments")


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (MANY[1:3], "CHECK: regions contradict, order contradicts; research use only"),
        (MANY, "CHECK: sides contradict and 4 more; tissue (research use only)"),
    ],
)
def test_content_of_many_flags_still_says_that_it_is_for_research(
    segmented: Any, codes: tuple[str, ...], said: str
) -> None:
    flags = [SWAPPED.model_copy(update={"code": code}) for code in codes]
    site = segmented("seg", flags=flags, config=rule(hold_flags=[]))
    site.encode(site.job())
    assert site.objects()["seg"].ContentDescription == said


def test_flag_of_another_structure_leaves_a_segment_unmarked(segmented: Any) -> None:
    other = CUT.model_copy(update={"structure": "lung_left"})
    site = segmented("seg", flags=(other,))
    site.encode(site.job())
    (item,) = site.objects()["seg"].SegmentSequence
    assert item.SegmentDescription == "tissue bone label value 1"


def test_result_without_flags_carries_no_mark(segmented: Any) -> None:
    site = segmented("seg")
    site.encode(site.job())
    seg = site.objects()["seg"]
    assert "CHECK" not in seg.SeriesDescription + seg.ContentDescription
    assert "CHECK" not in seg.SegmentSequence[0].SegmentDescription


def test_flag_of_the_arrival_is_marked_too(segmented: Any) -> None:
    site = segmented("seg")
    with site.ledger.transaction() as transaction:
        write_flags(transaction, site.job().job_key, FlagSource.ARRIVAL, [LATE])
    site.encode(site.job())
    assert site.objects()["seg"].ContentDescription == "CHECK: closed by timeout; tissue (research use only)"


def test_flag_of_the_arrival_holds_where_the_rule_lists_it(segmented: Any) -> None:
    site = segmented("seg", config=rule(hold_flags=["closed_by_timeout"]))
    with site.ledger.transaction() as transaction:
        write_flags(transaction, site.job().job_key, FlagSource.ARRIVAL, [LATE])
    site.encode(site.job())
    assert site.job().reason == f"{LATE.sentence} Release it, or cancel it."


@pytest.mark.parametrize(("sender", "is_known"), [(FOUND_AT_START, True), ("PACS", False)])
def test_ledger_made_anew_knows_the_arrival_of_what_was_made_and_makes_the_same(
    segmented: Any, sender: str, is_known: bool
) -> None:
    site = segmented("seg")
    key = site.job().job_key
    with site.ledger.transaction() as transaction:
        write_flags(transaction, key, FlagSource.ARRIVAL, [LATE])
    site.encode(site.job())
    marked = site.objects()["seg"].SOPInstanceUID
    with site.ledger.transaction() as transaction:
        write_flags(transaction, key, FlagSource.ARRIVAL, [])
        transaction.execute("UPDATE instances SET sender = ?", (sender,))
        transaction.move_job(key, JobEvent.HEADER_CORRECTED)
    site.encode(site.job())
    assert (site.objects()["seg"].SOPInstanceUID == marked) is is_known
    assert [flag.sentence for flag in flags_of(site.ledger, key)] == ([LATE.sentence] if is_known else [])


def test_deliver_makes_objects_without_marks(segmented: Any) -> None:
    site = segmented("seg", flags=(CUT,), config=rule(on_flags="deliver"))
    site.encode(site.job())
    seg = site.objects()["seg"]
    assert site.job().state is JobState.ENCODED
    assert "CHECK" not in seg.SeriesDescription + seg.ContentDescription


@pytest.mark.parametrize(
    ("flag", "config"),
    [
        (CUT, rule(on_flags="hold")),
        (SWAPPED, rule()),
        (SWAPPED, rule(on_flags="deliver")),
        (SWAPPED, Config(rule=[{"name": "another"}])),
        (CUT, rule(hold_flags=["truncated"])),
    ],
    ids=["hold", "grave", "grave under deliver", "grave, the rule is gone", "named"],
)
def test_flag_that_holds_keeps_the_result_until_a_person_releases_it_marked(
    segmented: Any, flag: ResultFlag, config: Config
) -> None:
    site = segmented("seg", flags=(flag,), config=config)
    site.encode(site.job())
    job = site.job()
    assert (job.state, job.reason) == (
        JobState.QUARANTINED,
        f"{flag.sentence} Release it, or cancel it.",
    )
    assert site.objects() == {}
    with site.ledger.transaction() as transaction:
        release(transaction, job.job_key)
    site.encode(site.job())
    assert site.job().state is JobState.ENCODED
    marked = config.rule[0].on_flags != "deliver"
    assert site.objects()["seg"].SeriesDescription.startswith("CHECK:") is marked


def test_release_holds_for_those_labels_only(segmented: Any) -> None:
    site = segmented("seg", flags=(SWAPPED,))
    site.encode(site.job())
    with site.ledger.transaction() as transaction:
        release(transaction, site.job().job_key)
        transaction.update("jobs", "job_key", site.job().job_key, {"released_labels": "f" * 64})
    site.encode(site.job())
    assert site.job().state is JobState.QUARANTINED


def test_grave_flag_holds_nothing_where_the_list_is_empty(segmented: Any) -> None:
    site = segmented("seg", flags=(SWAPPED,), config=rule(hold_flags=[]))
    site.encode(site.job())
    assert site.job().state is JobState.ENCODED


def test_reason_names_three_flags_and_how_many_more(segmented: Any) -> None:
    flags = tuple(CUT.model_copy(update={"sentence": f"Sentence {n}."}) for n in range(5))
    site = segmented("seg", flags=flags, config=rule(on_flags="hold"))
    site.encode(site.job())
    assert site.job().reason == "Sentence 0. Sentence 1. Sentence 2. And 2 more. Release it, or cancel it."
