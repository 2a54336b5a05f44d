"""Flags of a job: those of how its study arrived, written when it is closed, and those of its result."""

from typing import Any

import pytest

from gateway.ledger.completion import WITHOUT_RELEASE, PlannedJob, StudyPlan, complete_study
from gateway.ledger.flags import Flag, FlagSource, flags_of, flags_of_studies, write_flags
from gateway.ledger.instances import (
    FOUND_AT_START,
    ArrivedInstance,
    StudyHeader,
    association_closed,
    store_instance,
)
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.watched import kept_counts
from gateway.ledger.work import release
from tests.one_job import JOB_KEY, SERIES_UID, STUDY_UID, Site

CUT = Flag("truncated", "liver", 12.5, "%", "The liver touches the feet end.")


def arrive(site: Site, number: int, sender: str = "PACS") -> None:
    """One more image of the study, of a series that no rule takes."""
    arrived = ArrivedInstance(
        StudyHeader(STUDY_UID, "key", "", "", "", ""), "1.2.3.9", f"1.2.3.9.{number}",
        "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "SR", 9, "", f"instances/{number}.dcm", 1,
        "h", "p", "g", False, "no image", sender,
    )  # fmt: skip
    with site.ledger.transaction() as transaction:
        store_instance(transaction, arrived, 1)


def close(site: Site, evidence: str) -> None:
    generation = site.ledger.read("SELECT generation FROM studies")[0]["generation"]
    planned = PlannedJob(
        JOB_KEY,
        SERIES_UID,
        "slot",
        "ct",
        "tissue",
        {},
        "threshold",
        0,
        ("1.2.3.4.5",),
        (),
        ("seg",),
        "h",
    )
    with site.ledger.transaction() as transaction:
        complete_study(transaction, StudyPlan(STUDY_UID, generation, (planned,), ()), evidence=evidence)


def end_association(site: Site, *, released: bool) -> None:
    with site.ledger.transaction() as transaction:
        association_closed(transaction, [STUDY_UID], released=released, sender="PACS")


def codes(site: Site) -> list[str]:
    return [flag.code for flag in flags_of(site.ledger, JOB_KEY)]


@pytest.mark.parametrize(
    ("aborted", "code", "words"),
    [
        (False, "closed_by_timeout", "its sender never said that it had no more"),
        (True, "closed_after_abort", "its sender broke the transfer off"),
    ],
)
def test_study_closed_without_a_release_says_so_with_its_job(
    site: Site, aborted: bool, code: str, words: str
) -> None:
    arrive(site, 1)
    if aborted:
        end_association(site, released=False)
    close(site, WITHOUT_RELEASE)
    (flag,) = flags_of(site.ledger, JOB_KEY)
    assert (flag.code, flag.structure, flag.unit, flag.source) == (code, None, "s", "arrival")
    assert words in flag.sentence


@pytest.mark.parametrize("evidence", ["released", "requested", "timeout with a gap"])
def test_study_closed_by_evidence_says_nothing(site: Site, evidence: str) -> None:
    arrive(site, 1)
    close(site, evidence)
    assert codes(site) == []


def test_study_whose_files_were_all_found_here_says_nothing(site: Site) -> None:
    """The ledger was made anew: results must be those that it had."""
    with site.ledger.transaction() as transaction:
        transaction.execute("UPDATE instances SET sender = ?", (FOUND_AT_START,))
    arrive(site, 1, FOUND_AT_START)
    close(site, WITHOUT_RELEASE)
    assert codes(site) == []
    arrive(site, 2)
    close(site, WITHOUT_RELEASE)
    assert codes(site) == ["closed_by_timeout"]


def test_better_evidence_takes_the_flag_away_and_leaves_those_of_the_result(site: Site) -> None:
    arrive(site, 1)
    close(site, WITHOUT_RELEASE)
    with site.ledger.transaction() as transaction:
        write_flags(transaction, JOB_KEY, FlagSource.RESULT, [CUT])
    assert codes(site) == ["closed_by_timeout", "truncated"]
    arrive(site, 2)
    close(site, "released")
    assert codes(site) == ["truncated"]


def test_delivered_result_keeps_what_was_said_when_it_was_sent(site: Site) -> None:
    arrive(site, 1)
    close(site, WITHOUT_RELEASE)
    for event in (JobEvent.SEGMENTED, JobEvent.ENCODED, JobEvent.DELIVERED):
        site.move(event)
    arrive(site, 2)
    close(site, "released")
    assert codes(site) == ["closed_by_timeout"]


def test_job_that_a_person_releases_with_a_gap_says_so_and_keeps_saying_it(site: Site) -> None:
    with site.ledger.transaction() as transaction:
        transaction.move_job(JOB_KEY, JobEvent.HELD, reason="2 slices are missing.")
        release(transaction, JOB_KEY)
    arrive(site, 1)
    close(site, "released")
    (flag,) = flags_of(site.ledger, JOB_KEY)
    assert flag.code == "released_by_a_person"
    assert "2 slices are missing." in flag.sentence
    assert site.job().state is JobState.PLANNED


def test_release_of_a_result_is_remembered_for_its_labels_and_is_no_flag(site: Site) -> None:
    with site.ledger.transaction() as transaction:
        transaction.move_job(JOB_KEY, JobEvent.SEGMENTED, columns={"labels_sha256": "d" * 64})
        transaction.move_job(JOB_KEY, JobEvent.HELD, reason="held")
        release(transaction, JOB_KEY)
    assert site.job().released_labels == "d" * 64
    assert codes(site) == []


def test_flags_are_counted_by_code_as_they_come_and_go(site: Site) -> None:
    def counted(code: str) -> int:
        return kept_counts(site.ledger)["flag", code]

    other = Flag("gap", "rib_left_4", 1.0, "ribs", "A rib is missing.")
    for flags, numbers in (((CUT, CUT, other), (2, 1)), ((other,), (0, 1)), ((), (0, 0))):
        with site.ledger.transaction() as transaction:
            write_flags(transaction, JOB_KEY, FlagSource.RESULT, flags)
        assert (counted("truncated"), counted("gap")) == numbers


def test_flags_of_several_studies_come_by_job_in_their_order(site: Site) -> None:
    other = Flag("gap", None, 1.0, "ribs", "A rib is missing.")
    with site.ledger.transaction() as transaction:
        write_flags(transaction, JOB_KEY, FlagSource.RESULT, [CUT, other])
    found: Any = flags_of_studies(site.ledger, [STUDY_UID, "1.2.99"])
    assert {key: [flag.code for flag in flags] for key, flags in found.items()} == {
        JOB_KEY: ["truncated", "gap"]
    }
