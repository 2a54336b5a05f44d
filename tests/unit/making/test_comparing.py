"""What a result is compared with: which earlier ones may be used, and what is said of each structure."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from gateway.adapters.folder import FolderStore
from gateway.config import Config
from gateway.files.results import JobResults
from gateway.files.workplace import Workplace
from gateway.ledger.comparisons import KEPT_AS, comparison_of, freeze_comparison, write_measured
from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study
from gateway.ledger.erasing import erase_study, request_forget
from gateway.ledger.flags import Flag, FlagSource, write_flags
from gateway.ledger.instances import ArrivedInstance, StudyHeader, store_instance
from gateway.ledger.records import ComparisonRow, JobRow, MeasuredRow
from gateway.ledger.removals import Gone, removals_of
from gateway.ledger.states import JobEvent
from gateway.ledger.store import Ledger
from gateway.ledger.transaction import StaleRow
from gateway.ledger.work import job as job_of
from gateway.making.comparing import Comparing
from gateway.making.encode import Encode
from gateway.making.whose import acquired

WANTED = Config(rule=[{"name": "ct", "compare": True}])
NOW = MeasuredRow(
    job_key="now",
    subject="s",
    name="n",
    birth_date="b",
    acquired="20260601101112",
    volumes={"bone": (110, False)},
)
THEN = NOW.model_copy(
    update={"job_key": "then", "acquired": "20260302090000", "volumes": {"bone": (100, False)}}
)
COUNTER = count(1)


class Archive:
    """A ledger of finished results; each test has patients and keys of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._number = next(COUNTER)
        self.study_of_now = f"1.2.{self._number}"

    def own(self, measured: MeasuredRow) -> MeasuredRow:
        mark = f"{self._number} "
        key, subject = mark + measured.job_key, measured.subject and mark + measured.subject
        return measured.model_copy(update={"job_key": key, "subject": subject})

    def add(
        self,
        measured: MeasuredRow,
        study_uid: str = "",
        events: tuple[JobEvent, ...] = (JobEvent.SEGMENTED, JobEvent.ENCODED),
        **planned: Any,
    ) -> JobRow:
        """One more result, of a study of its own."""
        key = measured.job_key
        study_uid = study_uid or f"1.3.{int(key.encode().hex(), 16)}"
        series_uid, image = f"{study_uid}.1", f"{study_uid}.{int(key.encode().hex(), 16)}"
        arrived = ArrivedInstance(
            StudyHeader(study_uid, f"key {study_uid}", "", "", "", ""), series_uid, image,
            "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", "CT", 3, "", f"{key}.dcm", 1, "h", "p", "g",
            True, "", "PACS",
        )  # fmt: skip
        job = PlannedJob(
            key, series_uid, key, "ct", "tissue", {}, "threshold", 0, (image,), (), ("sr",), "h"
        )  # fmt: skip
        with self.ledger.transaction() as transaction:
            store_instance(transaction, arrived, 1)
        (row,) = self.ledger.read("SELECT generation FROM studies WHERE study_uid = ?", (study_uid,))
        with self.ledger.transaction() as transaction:
            plan = StudyPlan(study_uid, row["generation"], (replace(job, **planned),), ())
            complete_study(transaction, plan, evidence="")
        with self.ledger.transaction() as transaction:
            for event in events:
                transaction.move_job(key, event)
            write_measured(transaction, measured)
        return self.job(measured)

    def earlier(self, *, study_uid: str = "", planned: Any = (), flag: str = "", **said: Any) -> None:
        """One more of another day."""
        measured = self.own(THEN.model_copy(update=said))
        self.add(measured, study_uid, **dict(planned))
        if flag:
            with self.ledger.transaction() as transaction:
                flags = [Flag(flag, "bone", 1.0, "", "Odd.")]
                write_flags(transaction, measured.job_key, FlagSource.RESULT, flags)

    def job(self, measured: MeasuredRow) -> JobRow:
        job = job_of(self.ledger, measured.job_key)
        assert job is not None
        return job

    def compared(self, config: Config = WANTED, **said: Any) -> Any:
        """What the result of now, which has been encoded never before, is compared with."""
        now = self.own(NOW.model_copy(update=said))
        job = self.add(now, self.study_of_now, events=(JobEvent.SEGMENTED,))
        return Comparing(self.ledger, config, b"key", self.ledger.path.parent).compared(job, now)

    def compared_again(self, **said: Any) -> Any:
        now = self.own(NOW.model_copy(update=said))
        return Comparing(self.ledger, WANTED, b"key", self.ledger.path.parent).compared(self.job(now), now)

    @property
    def kept(self) -> Path:
        """Where the copy of what was chosen lies."""
        return self.ledger.path.parent / KEPT_AS.format(job_key=self.own(NOW).job_key)

    def row(self) -> Any:
        return comparison_of(self.ledger, self.own(NOW).job_key)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite") as ledger:
        yield ledger


@pytest.fixture
def archive(ledger: Ledger) -> Archive:
    return Archive(ledger)


def test_change_is_that_since_the_latest_earlier_result_with_its_interval(archive: Archive) -> None:
    archive.earlier()
    archive.earlier(job_key="older", acquired="20250101000000")
    found = archive.compared()
    assert (found.prior_date.isoformat(), found.interval_days) == ("2026-03-02", 91)
    (change,) = found.changes
    assert (change.structure, change.then_ml, change.now_ml) == ("bone", 100, 110)
    assert (change.ml, change.percent, change.why_not) == (10, 10, None)


def test_nothing_is_compared_where_the_rule_does_not_want_it(archive: Archive) -> None:
    archive.earlier()
    assert archive.compared(Config()) is None
    assert archive.row() is None


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another patient": ({"subject": "other"}, "there is no earlier one"),
    "another name": ({"name": "other"}, "name or birth date"),
    "another birth date": ({"birth_date": "other"}, "name or birth date"),
    "another engine": ({"planned": {"engine": "totalsegmentator"}}, "another engine"),
    "other options": ({"planned": {"options": {"fast": True}}}, "other options"),
    "flagged": ({"flag": "volume_out_of_range"}, "with quality flags"),
    "the same study": ({"study_uid": "the same"}, "there is no earlier one"),
    "later": ({"acquired": "20260601101113"}, "there is no earlier one"),
    "at the same time": ({"acquired": NOW.acquired}, "there is no earlier one"),
    "of unknown date": ({"acquired": ""}, "there is no earlier one"),
    "not finished": ({"planned": {"events": (JobEvent.SEGMENTED,)}}, "there is no earlier one"),
    "given up": ({"planned": {"events": (JobEvent.SUPERSEDED,)}}, "there is no earlier one"),
    "without figures": ({"volumes": {}}, "without figures"),
}


@pytest.mark.parametrize(("said", "why"), REFUSED.values(), ids=list(REFUSED))
def test_earlier_result_that_must_not_be_used_is_not_and_an_older_one_is(
    archive: Archive, said: dict[str, Any], why: str
) -> None:
    archive.earlier(**{**said, **({"study_uid": archive.study_of_now} if "study_uid" in said else {})})
    alone = archive.compared()
    assert (alone.prior_date, alone.changes) == (None, ())
    assert why in alone.why_none
    assert alone.sentence.startswith("Not compared with an earlier result: ")
    archive.earlier(job_key="older", acquired="20240301000000")
    assert archive.compared(job_key="now once more").prior_date.isoformat() == "2024-03-01"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"subject": ""}, "issuer_of_patient_id"),
        ({"acquired": ""}, "when they were taken"),
        ({"volumes": {}}, "measured"),
    ],
    ids=["no issuer", "no date", "nothing measured"],
)
def test_result_that_can_be_compared_with_none_says_why(
    archive: Archive, said: dict[str, Any], why: str
) -> None:
    archive.earlier(subject=said.get("subject", "s"))
    assert why in archive.compared(**said).why_none


@pytest.mark.parametrize("missing", ["name", "birth_date"])
def test_name_or_birth_date_that_one_of_two_lacks_contradicts_nothing(archive: Archive, missing: str) -> None:
    archive.earlier(**{missing: ""})
    assert archive.compared().prior_date is not None


def test_structure_that_a_scan_cuts_is_not_compared_and_the_others_are(archive: Archive) -> None:
    then = {"cut_then": (1.0, True), "cut_now": (1.0, False), "cut_both": (1.0, True), "whole": (1.0, False)}
    now = {"cut_then": (2.0, False), "cut_now": (2.0, True), "cut_both": (2.0, True), "whole": (2.0, False)}
    archive.earlier(volumes={**then, "not_found_now": (1.0, False)}, flag="truncated")
    found = archive.compared(volumes={**now, "not_found_then": (2.0, False)})
    why = {change.structure: change.why_not for change in found.changes}
    assert why == {name: None if name == "whole" else name for name in why}
    assert len(why) == 6
    assert [(change.structure, change.percent) for change in found.changes if change.ml is not None] == [
        ("whole", 100.0)
    ]


def test_prior_is_chosen_once_and_kept_until_another_patient_is_meant(archive: Archive) -> None:
    archive.earlier()
    first = archive.compared()
    archive.earlier(job_key="nearer", acquired="20260501000000")
    assert archive.compared_again() == first
    assert archive.compared_again(name="").interval_days == 31


def test_ledger_that_lost_what_was_chosen_takes_it_from_beside_the_results(archive: Archive) -> None:
    archive.earlier()
    first = archive.compared()
    archive.earlier(job_key="nearer", acquired="20260501000000")
    with archive.ledger.transaction() as transaction:
        transaction.execute("DELETE FROM comparisons")
    assert archive.compared_again() == first
    assert archive.row().interval_days == 91


def test_copy_that_cannot_be_read_is_written_anew(archive: Archive) -> None:
    archive.earlier()
    first = archive.compared()
    archive.kept.write_bytes(b"{")
    assert archive.compared_again() == first
    assert archive.kept.read_bytes() == archive.row().model_dump_json().encode()


def test_prior_that_is_gone_before_it_is_frozen_is_not(archive: Archive) -> None:
    row = ComparisonRow(job_key="x", chosen_for="", why_none="", prior_job_key="gone")
    with pytest.raises(StaleRow), archive.ledger.transaction() as transaction:
        freeze_comparison(transaction, row)


def test_forgotten_prior_takes_its_values_out_of_later_comparisons(archive: Archive) -> None:
    archive.earlier(study_uid="1.2.77.1")
    archive.compared()
    before = archive.row().model_dump_json()
    with archive.ledger.transaction() as transaction:
        request_forget(transaction, "1.2.77.1")
    with archive.ledger.transaction() as transaction:
        erase_study(transaction, transaction.study("1.2.77.1"), why="forgotten")
    after = archive.row().model_dump_json()
    (planned,) = removals_of(archive.ledger, Gone.FILE, 0, 9)[-1:]
    assert archive.ledger.path.parent / planned.name == archive.kept
    for value in ("then", "1.2.77.1", "2026-03-02", "100.0"):
        assert value in before
        assert value not in after.replace("then_ml", "")
    assert archive.compared_again().why_none == "the earlier result was forgotten"


@pytest.mark.parametrize(
    ("said", "when"),
    [
        ({"AcquisitionDateTime": "20260304101112.25+0100", "StudyDate": "20200101"}, "20260304101112"),
        ({"AcquisitionDateTime": "20260304+0100"}, "20260304000000"),
        ({"AcquisitionDate": "20260304", "AcquisitionTime": "1011"}, "20260304101100"),
        ({"AcquisitionDate": "nonsense", "SeriesDate": "20260305"}, "20260305000000"),
        ({"StudyDate": "20260306", "StudyTime": "101112.999999"}, "20260306101112"),
        ({"StudyTime": "101112"}, ""),
    ],
)
def test_images_are_as_old_as_they_say_best(said: dict[str, str], when: str) -> None:
    header = Dataset()
    for keyword, value in said.items():
        header.add_new(keyword, "LO", value)
    assert acquired(header) == when


# -- through the step encode --------------------------------------------------------------------------------

STATISTICS = {"bone": {"volume_ml": 12.5, "mean_intensity": 300.0, "std_intensity": 10.0, "truncated": False}}
ISSUER = {"issuer_of_patient_id": "HOSPITAL"}


def test_reports_and_pages_say_the_change_and_are_the_same_when_encoded_again(segmented: Any) -> None:
    site = segmented("seg", "sr", "pdf", config=Config(site=ISSUER), statistics=STATISTICS)
    site.encode(site.job())
    alone = {name: one.SOPInstanceUID for name, one in site.objects().items()}
    (row,) = site.ledger.read("SELECT * FROM measured_results")
    now = MeasuredRow.of(row)
    assert now.volumes == {"bone": (12.5, False)}
    assert all("SMALL" not in str(value).upper() for value in row)  # the patient's name and number

    archive = Archive(site.ledger)
    then = {"job_key": "then", "acquired": "20200101000000", "volumes": {"bone": (10.0, False)}}
    archive.add(now.model_copy(update=then))
    workplace = Workplace(site.ledger, site.folder)
    results = JobResults(FolderStore(site.folder / "objects"), workplace)
    config = Config(site=ISSUER, rule=[{"name": "ct", "compare": True}])
    made = []
    for nearer in (False, True):
        if nearer:
            archive.add(now.model_copy(update={**then, "job_key": "nearer", "acquired": "20210101000000"}))
        with site.ledger.transaction() as transaction:
            transaction.move_job(site.job().job_key, JobEvent.HEADER_CORRECTED)
        Encode(site.ledger, workplace, results, config, b"key", {})(site.job())
        made.append({name: one.SOPInstanceUID for name, one in site.objects().items()})
    assert made[0] == made[1]
    assert {name for name, uid in made[0].items() if uid == alone[name]} == {"seg"}
    assert said_of_change(site.objects()["sr"]) == {
        "VOLUME_THEN": 10.0,
        "VOLUME_CHANGE": 2.5,
        "RELATIVE_CHANGE": 25.0,
    }


def said_of_change(report: Dataset) -> dict[str, float]:
    found = {}
    for item in all_items(report):
        name = item.ConceptNameCodeSequence[0].get("CodeValue", "")
        if name.startswith("VOLUME_") or name == "RELATIVE_CHANGE":
            found[name] = float(item.MeasuredValueSequence[0].NumericValue)
    return found


def all_items(item: Dataset) -> Iterator[Dataset]:
    for each in item.get("ContentSequence", []):
        yield each
        yield from all_items(each)
