"""What comes of a study whose images were removed here: the same again, late slices, corrections."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import RLELossless, generate_uid

from gateway.adapters.folder import FolderStore
from gateway.arrival.planning import Planner, TaskRule
from gateway.arrival.rules import compile_rule
from gateway.config import Retention as Settings
from gateway.config import Rule
from gateway.files.kept import ImagesRemoved
from gateway.files.workplace import Workplace
from gateway.identity import SiteSecret
from gateway.ledger.choices import choose_volume
from gateway.ledger.completion import StudyPlan, complete_study, jobs_of
from gateway.ledger.records import JobRow, StudyRow, utc_text
from gateway.ledger.results import record_result
from gateway.ledger.states import DeliveryEvent, JobEvent, JobState, StudyState
from gateway.ledger.transaction import NotPossible
from gateway.listener.statuses import KEPT_ASIDE, SUCCESS
from gateway.retention.remover import Remover
from gateway.retention.worker import Retention
from tests.results import result_of_one
from tests.shelf import ENGINE


@dataclass
class House:
    """A gate with everything behind it that decides, delivers at once, and removes."""

    gate: Any
    choose: str = "best"

    def plan(self) -> StudyPlan:
        rule = Rule(name="ct", when={"Modality": "CT"}, choose=self.choose)  # type: ignore[arg-type]
        rules = [TaskRule(compile_rule(rule), "tissue", "CT", ("pacs",), ("seg",))]
        secret = SiteSecret(self.gate.data_dir / "site-secret")
        return Planner(self.gate.ledger, self.gate.data_dir, rules, secret, ENGINE).plan(self.study())

    def complete(self) -> StudyPlan:
        plan = self.plan()
        with self.gate.ledger.transaction() as transaction:
            complete_study(transaction, plan, evidence="released")
        return plan

    def run(self, job: JobRow) -> None:
        """Take a job from where it is to delivered."""
        ledger = self.gate.ledger
        with ledger.transaction() as transaction:
            transaction.move_job(job.job_key, JobEvent.SEGMENTED)
        (job,) = (each for each in self.jobs() if each.job_key == job.job_key)
        with ledger.transaction() as transaction:
            uid = f"2.25.{int(job.job_key[:12], 16)}"
            record_result(
                transaction, job, result_of_one("r.dcm", uid, job.header_sha256), lambda _: ["pacs"]
            )
        for row in ledger.read("SELECT key FROM deliveries WHERE state = 'pending'"):
            with ledger.transaction() as transaction:
                transaction.move_delivery(row["key"], DeliveryEvent.SENT)

    def remove_images(self) -> None:
        ledger, data_dir = self.gate.ledger, self.gate.data_dir
        long_ago = utc_text(datetime.now(UTC) - timedelta(days=3))
        with ledger.transaction() as transaction:
            transaction.execute("UPDATE studies SET done_at = ? WHERE done_at IS NOT NULL", (long_ago,))
        remover = Remover(ledger, data_dir, FolderStore(data_dir / "objects"), self.gate.locks)
        Retention(
            Settings(images_days=2), ledger, ledger.bus, remover, data_dir, is_busy=lambda _: False
        ).work()

    def asked(self) -> list[str]:
        """The destinations that are to be asked whether its result is still there."""
        return [row["destination"] for row in self.gate.ledger.read("SELECT destination FROM revisits")]

    def study(self) -> StudyRow:
        return StudyRow.of(self.gate.ledger.read("SELECT * FROM studies")[0])

    def jobs(self) -> list[JobRow]:
        return jobs_of(self.gate.ledger, self.study().study_uid)


@pytest.fixture
def slices(small_study: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(small_study.iterdir())]


@pytest.fixture
def house(gate: Any) -> House:
    return House(gate)


@pytest.fixture
def removed(house: House, slices: list[Dataset]) -> House:
    """A study of all slices but the last was delivered, and its images were removed."""
    house.gate.send(*slices[:-1])
    house.complete()
    house.run(house.jobs()[0])
    house.remove_images()
    assert house.gate.files("instances") == []
    assert house.study().state is StudyState.DONE
    return house


def _changed(datasets: Sequence[Dataset], **values: Any) -> list[Dataset]:
    changed = copy.deepcopy(list(datasets))
    for dataset in changed:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
    return changed


def _recoded(datasets: Sequence[Dataset]) -> list[Dataset]:
    recoded = copy.deepcopy(list(datasets))
    for dataset in recoded:
        dataset.compress(RLELossless, generate_instance_uid=False)
    return recoded


def _another_series(datasets: Sequence[Dataset], number: int) -> list[Dataset]:
    changed = _changed(datasets, SeriesInstanceUID=generate_uid(), SeriesNumber=number)
    for dataset in changed:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return changed


# -- the same again ---------------------------------------------------------------------------------------


def test_same_study_again_is_acknowledged_and_neither_stored_nor_segmented_again(
    removed: House, slices: list[Dataset]
) -> None:
    before = (removed.study(), removed.jobs(), removed.gate.instances())
    assert removed.gate.send(*slices[:-1]) == [SUCCESS] * (len(slices) - 1)
    assert (removed.study(), removed.jobs(), removed.gate.instances()) == before
    assert removed.gate.files("instances") == []
    removed.gate.wait_for(lambda: removed.asked() == ["pacs"])


def test_same_study_again_in_another_transfer_syntax_is_the_same(
    removed: House, slices: list[Dataset]
) -> None:
    before = (removed.study(), removed.jobs(), removed.gate.instances())
    recoded = _recoded(slices[:-1])
    assert removed.gate.send(*recoded) == [SUCCESS] * len(recoded)
    assert (removed.study(), removed.jobs(), removed.gate.instances()) == before


def test_other_pixels_under_the_same_uid_are_kept_aside(removed: House, slices: list[Dataset]) -> None:
    (other,) = _changed(slices[:1], PixelData=(slices[0].pixel_array + 1).astype(np.int16).tobytes())
    assert removed.gate.send(other) == [KEPT_ASIDE]
    assert removed.study().state is StudyState.DONE


def test_file_that_lay_there_at_a_kill_is_not_adopted(removed: House, slices: list[Dataset]) -> None:
    """The removal was written down, and the process killed before it; or the file came again just then."""
    row = removed.gate.instances()[0]
    path = removed.gate.data_dir / row.path
    path.parent.mkdir(exist_ok=True)
    slices[0].save_as(path)
    assert removed.gate.adopt() == 0
    assert removed.study().state is StudyState.DONE


# -- late slices ------------------------------------------------------------------------------------------


def test_late_slice_is_held_and_says_when_the_others_were_removed(
    removed: House, slices: list[Dataset]
) -> None:
    removed.gate.send(slices[-1])
    plan = removed.complete()
    study = removed.study()
    assert study.state is StudyState.HELD
    assert study.images_removed_at is not None
    assert f"were removed here on {study.images_removed_at[:10]}; send the whole study again" in study.reason
    assert [volume.why == study.reason for volume in plan.volumes] == [False, True]
    assert [job.state for job in removed.jobs()] == [JobState.DELIVERED, JobState.QUARANTINED]


def test_late_slice_goes_on_by_itself_when_the_whole_study_came_again(
    removed: House, slices: list[Dataset]
) -> None:
    removed.gate.send(slices[-1])
    removed.complete()
    assert removed.gate.send(*slices) == [SUCCESS] * len(slices)
    study = removed.study()
    assert (study.state, study.images_removed_at) == (StudyState.RECEIVING, None)
    assert len(removed.gate.files("instances")) == len(slices)
    plan = removed.complete()
    (job,) = plan.jobs
    assert job.hold == ""
    assert len(job.instance_uids) == len(slices)
    states = [job.state for job in removed.jobs()]
    assert states == [JobState.DELIVERED, JobState.SUPERSEDED, JobState.PLANNED]
    assert len({job.slot for job in removed.jobs()}) == 1  # a revision of the same volume


def test_rest_that_comes_in_another_transfer_syntax_is_the_rest(
    removed: House, slices: list[Dataset]
) -> None:
    removed.gate.send(slices[-1])
    removed.complete()
    removed.gate.send(*_recoded(slices))
    removed.complete()
    assert removed.study().state is StudyState.PROCESSING
    row = removed.gate.instances()[0]
    kept = removed.gate.data_dir / row.path
    assert (dcmread(kept).file_meta.TransferSyntaxUID, kept.stat().st_size) == (RLELossless, row.size_bytes)
    assert row.transfer_syntax_uid == RLELossless


def test_half_of_the_rest_leaves_it_held(removed: House, slices: list[Dataset]) -> None:
    removed.gate.send(slices[-1])
    removed.complete()
    removed.gate.send(*slices[:3])
    removed.complete()
    assert removed.study().state is StudyState.HELD
    assert removed.study().images_removed_at is not None
    removed.gate.send(*slices[3:])
    removed.complete()
    assert removed.study().state is StudyState.PROCESSING


def test_held_fragment_is_removed_by_no_age(removed: House, slices: list[Dataset]) -> None:
    removed.gate.send(slices[-1])
    removed.complete()
    removed.remove_images()
    assert len(removed.gate.files("instances")) == 1


def test_report_that_comes_late_touches_nothing(removed: House, slices: list[Dataset]) -> None:
    (report,) = _another_series(slices[:1], 99)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    before = removed.plan().volumes
    removed.gate.send(report)
    plan = removed.complete()
    assert removed.study().state is StudyState.DONE
    assert plan.jobs == ()
    assert set(before) <= set(plan.volumes)  # what was decided about the others stays
    assert len(removed.jobs()) == 1


@pytest.mark.parametrize("choose", ["best", "all"])
def test_new_series_is_held_only_where_the_best_of_a_scan_is_taken(
    removed: House, slices: list[Dataset], choose: str
) -> None:
    removed.choose = choose
    removed.gate.send(*_another_series(slices, 7))
    plan = removed.complete()
    (job,) = plan.jobs
    if choose == "best":
        assert removed.study().state is StudyState.HELD
        assert "cannot be told whether one of them is of the same scan" in job.hold
    else:
        assert removed.study().state is StudyState.PROCESSING


# -- corrections and wishes -------------------------------------------------------------------------------


def test_corrected_header_of_all_images_is_encoded_again_under_the_same_job(
    removed: House, slices: list[Dataset]
) -> None:
    removed.gate.send(*_changed(slices[:-1], PatientName="Right^Name"))
    study = removed.study()
    assert (study.state, study.images_removed_at) == (StudyState.RECEIVING, None)
    removed.complete()
    (job,) = removed.jobs()
    assert job.state is JobState.SEGMENTED


def test_corrected_header_in_another_transfer_syntax_is_a_correction(
    removed: House, slices: list[Dataset]
) -> None:
    removed.gate.send(*_recoded(_changed(slices[:-1], PatientName="Right^Name")))
    removed.complete()
    (job,) = removed.jobs()
    assert job.state is JobState.SEGMENTED


def test_job_that_needs_removed_images_says_so(removed: House) -> None:
    (job,) = removed.jobs()
    workplace = Workplace(removed.gate.ledger, removed.gate.data_dir)
    with pytest.raises(ImagesRemoved, match=r"removed on \d{4}-\d\d-\d\d; send the study again, then retry"):
        workplace.volume(job)


def test_another_volume_cannot_be_chosen_of_what_is_not_here(removed: House) -> None:
    study = removed.study()
    (volume,) = removed.plan().volumes
    with (
        pytest.raises(NotPossible, match="iris forget"),
        removed.gate.ledger.transaction() as transaction,
    ):
        choose_volume(transaction, study.study_uid, volume.series_uid, volume.number)
