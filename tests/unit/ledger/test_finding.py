"""Studies are found by what stands in them and by what they wait for, page by page in every order."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from benchmarks.large_ledger.make import Size, make_large_ledger
from gateway.api.ledger_store import LedgerStore
from gateway.api.store import Cut, Json
from gateway.events import Bus
from gateway.ledger import finding
from gateway.ledger.finding import ANY, StudyFilter, count_studies, uids_of_studies
from gateway.ledger.flags import Flag, FlagSource, write_flags
from gateway.ledger.ordering import Order, Sort
from gateway.ledger.records import utc_time
from gateway.ledger.states import DeliveryEvent, JobEvent
from gateway.ledger.store import Ledger
from gateway.ledger.traits import known_values
from gateway.ledger.waiting import Waits
from tests.page_gateway import Gateway

URGENCY = ["failed", "held", "receiving", "processing", "done"]
KEYS = {
    Sort.RECEIVED: lambda item: item["received"],
    Sort.UPDATED: lambda item: item["updated"],
    Sort.PATIENT_ID: lambda item: item["patient_id"],
    Sort.ACCESSION_NUMBER: lambda item: item["accession_number"],
    Sort.IMAGES: lambda item: item["images"],
}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Studies in every state, some of them receiving, with a flag here and there."""
    folder = tmp_path_factory.mktemp("ledger")
    with closing(Ledger(folder / "ledger.sqlite", Bus())) as ledger:
        _fill(Gateway(ledger, ledger.bus, folder / "jobs"))
        yield ledger


def _fill(gateway: Gateway) -> None:
    steps = [JobEvent.CONVERTED, JobEvent.STAGED, JobEvent.SUBMITTED, JobEvent.STARTED, JobEvent.FAILED]
    for number in range(1, 31):
        uid = gateway.study(number, "CT", series=1 + number % 3)
        if number % 7 == 0:
            continue
        job = gateway.job(uid, hold="a gap" if number % 5 == 0 else "")
        if number % 5 == 0:
            continue
        for step in steps[: number % 6]:
            gateway.move(job, step)
        if number % 6 == 0:
            delivery = gateway.encode(job)
            if number % 4 == 0:
                with gateway.ledger.transaction() as transaction:
                    transaction.move_delivery(delivery, DeliveryEvent.SENT)
            flag = Flag("sides_contradict", None, 1.0, "", "They do.")
            with gateway.ledger.transaction() as transaction:
                write_flags(transaction, job, FlagSource.RESULT, [flag])


def _every(ledger: Ledger) -> list[Json]:
    items: list[Json] = LedgerStore(ledger).studies(ANY, None, Cut(500))["items"]
    return items


def _paged(ledger: Ledger, wanted: StudyFilter, order: Order | None = None, size: int = 4) -> list[str]:
    keys, cursor = [], None
    while True:
        page = LedgerStore(ledger).studies(wanted, order, Cut(size, cursor))
        assert len(page["items"]) <= size
        keys += [item["study_key"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return keys


def _is_meant(item: Json, wanted: StudyFilter) -> bool:
    at = utc_time(item["received"])
    said = [
        not wanted.state or item["state"] == wanted.state,
        not wanted.waits or wanted.waits in item["waits"],
        not wanted.modality or wanted.modality in item["modalities"],
        not wanted.sender or wanted.sender in item["senders"],
        not wanted.flag or wanted.flag in item["flags"],
        not wanted.rule or wanted.rule in {job["rule"] for job in item["jobs"]},
        not wanted.destination or wanted.destination in {one["destination"] for one in item["deliveries"]},
        not wanted.sought or item["patient_id"].startswith(wanted.sought),
        wanted.since is None or at >= wanted.since,
        wanted.until is None or at < wanted.until,
    ]
    return all(said)


FILTERS = [
    *(StudyFilter(state=state) for state in URGENCY),
    *(StudyFilter(waits=waits) for waits in Waits),
    StudyFilter(modality="CT"),
    StudyFilter(modality="MR"),
    StudyFilter(sender="PACS", state="done"),
    StudyFilter(rule="ct", waits="person"),
    StudyFilter(destination="pacs"),
    StudyFilter(destination="pacs", waits="destination", flag="sides_contradict"),
    StudyFilter(flag="sides_contradict"),
    StudyFilter(sought="PID2"),
    StudyFilter(sought="PID2", state="processing", modality="CT"),
    StudyFilter(sought="nobody"),
]


@pytest.mark.parametrize("few", [0, 3, 2000])
def test_each_filter_finds_what_the_list_says_of_each_study(
    ledger: Ledger, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "FEW", few)
    every = _every(ledger)
    assert {wait for item in every for wait in item["waits"]} == set(Waits)
    for wanted in FILTERS:
        expected = [item["study_key"] for item in every if _is_meant(item, wanted)]
        assert _paged(ledger, wanted) == expected, wanted
        assert count_studies(ledger, wanted) == len(expected)
        assert len(uids_of_studies(ledger, wanted)) == len(expected)


def test_studies_are_found_by_a_stretch_of_time_whose_end_is_not_in_it(ledger: Ledger) -> None:
    every = _every(ledger)
    since, until = utc_time(every[20]["received"]), utc_time(every[5]["received"])
    for order in (None, Order(Sort.PATIENT_ID, is_descending=False)):
        found = _paged(ledger, StudyFilter(since=since, until=until, modality="CT"), order)
        assert set(found) == {item["study_key"] for item in every[6:21]}
    assert _paged(ledger, StudyFilter(since=since + timedelta(days=1))) == []


@pytest.mark.parametrize("few", [0, 2000])
@pytest.mark.parametrize(("by", "down"), [*product(Sort, (True, False))])
def test_pages_in_every_order_have_each_study_once(
    ledger: Ledger, by: Sort, down: bool, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "FEW", few)
    every = _every(ledger)
    if by is Sort.STATE:
        ranks = URGENCY[::-1] if down else URGENCY
        expected = sorted(every, key=lambda item: ranks.index(item["state"]))  # the latest first in each
    else:
        expected = sorted(every, key=lambda item: (KEYS[by](item), item["study_key"]), reverse=down)
    for wanted in (ANY, StudyFilter(modality="CT"), StudyFilter(waits="person")):
        meant = [item["study_key"] for item in expected if _is_meant(item, wanted)]
        assert _paged(ledger, wanted, Order(by, is_descending=down)) == meant
        assert _paged(ledger, wanted, Order(by, is_descending=down), size=1) == meant


def test_traits_go_with_what_they_are_of(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "ledger.sqlite", Bus())) as ledger:
        gateway = Gateway(ledger, ledger.bus, tmp_path / "jobs")
        job = gateway.job(gateway.study(1, "CT"))
        flag = Flag("sides_contradict", None, 1.0, "", "They do.")
        for flags in ([flag, replace(flag, structure="liver")], [flag], []):
            with ledger.transaction() as transaction:
                write_flags(transaction, job, FlagSource.RESULT, flags)
            assert known_values(ledger)["flag"] == ["sides_contradict"] * bool(flags)
        gateway.encode(job)
        assert known_values(ledger) == {
            "modality": ["CT"], "sender": ["PACS"], "rule": ["ct"], "destination": ["pacs"], "flag": [],
        }  # fmt: skip
        with ledger.transaction() as transaction:
            transaction.execute("DELETE FROM pledges")
            transaction.execute("DELETE FROM deliveries")
        assert known_values(ledger)["destination"] == []


def test_a_ledger_of_an_earlier_version_knows_its_studies_by_what_stands_in_them(tmp_path: Path) -> None:
    with closing(Ledger(make_large_ledger(tmp_path, Size(30, 4)))) as ledger:
        for wanted in (StudyFilter(modality="CT", sender="PACS"), StudyFilter(rule="ct")):
            assert count_studies(ledger, wanted) == 30
        assert 0 < count_studies(ledger, StudyFilter(destination="pacs")) < 30  # some have no result
        assert len(_paged(ledger, ANY, Order(Sort.IMAGES), size=7)) == 30
