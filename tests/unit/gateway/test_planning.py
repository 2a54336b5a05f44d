"""From a study's instances to its jobs, and the reason for every volume that has none."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage

from converter.derived.multiframe import write_multiframe
from converter.derived.series import MadeUpStudy, SliceStack
from converter.series import read_header
from gateway.arrival.planning import BEHIND_LIVE
from gateway.config import Rule
from gateway.files.kept import FilesLost
from gateway.files.workplace import Workplace
from gateway.ledger.completion import DecidedVolume, PlannedJob, StudyPlan
from gateway.ledger.instances import FOUND_AT_START
from gateway.ledger.states import JobEvent, JobState
from gateway.ledger.work import cancel
from gateway.workers.attempts import CannotGoOn
from tests.shelf import save_slice, store_slice

Shelve = Callable[..., None]
Plan = Callable[..., StudyPlan]


def _only(made: StudyPlan) -> PlannedJob:
    (job,) = made.jobs
    return job


def _why(made: StudyPlan) -> dict[str, str]:
    """Series number to the reason."""
    return {volume.series_uid.rpartition(".")[2]: volume.why for volume in made.volumes}


def test_study_that_lay_here_before_the_ledger_did_comes_after_live_ones_until_its_sender_comes_back(
    shelve: Shelve, plan: Plan, book
) -> None:
    shelve(count=12)
    assert _only(plan()).priority == 0
    with book.ledger.transaction() as transaction:
        transaction.execute("UPDATE instances SET sender = ?", (FOUND_AT_START,))
    assert _only(plan()).priority == -BEHIND_LIVE
    book.close_association()
    assert _only(plan()).priority == 0


# -- one series -------------------------------------------------------------------------------------------


def test_ct_volume_becomes_a_job_with_its_slices_in_order(shelve: Shelve, plan: Plan) -> None:
    shelve(count=12, shuffled=True)
    made = plan()
    job = _only(made)
    assert job.instance_uids == tuple(f"1.2.3.1.{number}" for number in range(1, 13))
    assert (job.rule, job.task, job.engine, job.send_to, job.hold) == (
        "ct",
        "tissue",
        "threshold",
        ("pacs",),
        "",
    )
    (volume,) = made.volumes
    why = "taken by rule ct for task tissue"
    assert volume == DecidedVolume(
        "1.2.3.1", 1, 12, job.job_key, why, volume.findings, (), first_image="1.2.3.1.1", can_be_used=True
    )


def test_job_key_depends_neither_on_the_order_of_arrival_nor_on_names(
    shelve: Shelve, plan: Plan, book
) -> None:
    shelve(PatientName="One^Name", SeriesDescription="one")
    first = _only(plan())
    shelve(PatientName="Other^Name", SeriesDescription="other", shuffled=True)
    second = _only(plan())
    assert first.job_key == second.job_key
    assert first.header_sha256 != second.header_sha256  # encoded again, not run again
    assert len(first.job_key) == 64


@pytest.mark.parametrize("change", [{"options": {"fast": True}}, {"task": "other"}])
def test_job_key_depends_on_task_and_options(shelve: Shelve, plan: Plan, change: dict[str, Any]) -> None:
    shelve()
    keys = {_only(plan(Rule(name="r", **values))).job_key for values in ({}, change)}
    assert len(keys) == 2


def test_volume_with_a_gap_becomes_a_held_job(shelve: Shelve, plan: Plan, complete, book) -> None:
    shelve(missing=(7,))
    made = plan()
    assert _only(made).hold
    complete(made)
    assert book.state(_only(made).job_key) is JobState.QUARANTINED
    assert [finding["code"] for finding in made.volumes[0].findings] == ["gap"]


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
def test_study_age_and_computed_keywords_can_be_asked(shelve: Shelve, plan: Plan) -> None:
    shelve(count=12, spacing_mm=2.0, StudyDate="20200101")
    assert plan(Rule(name="r", when={"images": 12, "slice_spacing_mm": 2, "study_age_days": ">365"})).jobs
    assert not plan(Rule(name="r", when={"study_age_days": "<365"})).jobs
    shelve(count=12, spacing_mm=2.0, StudyDate="unknown")
    assert not plan(Rule(name="r", when={"study_age_days": "<365"})).jobs


# -- what is never taken ----------------------------------------------------------------------------------


def test_scouts_projections_and_other_modalities_are_left_with_their_reason(
    shelve: Shelve, plan: Plan
) -> None:
    shelve(series=1, count=4, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    shelve(series=2, ImageType=["DERIVED", "SECONDARY", "MIP"])
    shelve(series=3, Modality="MR")
    shelve(series=4, count=2)
    made = plan(Rule(name="all"))
    assert made.jobs == ()
    why = _why(made)
    assert "scout" in why["1"]
    assert "projection" in why["2"]
    assert why["3"] == "rule all: the task needs CT, this is MR"
    assert why["4"].startswith("rule all: ")
    assert len(made.volumes) == 4


def test_report_is_left_with_the_reason_that_the_intake_gave(shelve: Shelve, plan: Plan, book) -> None:
    shelve()
    report = Dataset()
    report.SOPInstanceUID, report.SeriesInstanceUID, report.SOPClassUID = (
        "1.2.3.9.1",
        "1.2.3.9",
        BasicTextSRStorage,
    )
    report.SeriesNumber, report.Modality = 9, "SR"
    store_slice(
        book, report, Path("never read"), of_use=False, why_not="not a CT or MR image (Basic Text SR)"
    )
    made = plan()
    assert len(made.jobs) == 1
    assert _why(made)["9"] == "not a CT or MR image (Basic Text SR)"


def test_volume_that_no_rule_takes_says_what_each_rule_wanted(shelve: Shelve, plan: Plan) -> None:
    shelve(count=12)
    made = plan(Rule(name="long", when={"images": ">=100"}), Rule(name="mr", when={"Modality": "MR"}))
    assert made.jobs == ()
    assert _why(made)["1"] == "rule long: images is not >=100; rule mr: Modality is not MR"


def test_images_without_a_place_are_left_with_the_reason(shelve: Shelve, plan: Plan) -> None:
    shelve(ImagePositionPatient=None)
    made = plan()
    assert made.jobs == ()
    assert sum(volume.images for volume in made.volumes) == 20
    assert all(volume.why for volume in made.volumes)


def test_several_volumes_of_one_series_are_refused_unless_a_rule_picks_one(
    shelve: Shelve, plan: Plan, make_headers: Callable[..., Any], book, tmp_path: Path
) -> None:
    for echo in (1, 2):
        for path, header in make_headers(Modality="MR", EchoNumbers=echo, EchoTime=10 * echo):
            header.SOPInstanceUID = f"{header.SOPInstanceUID}.{echo}"
            echo_path = path.with_name(f"{header.SOPInstanceUID}.dcm")
            save_slice(header, echo_path)
            store_slice(book, header, echo_path.relative_to(tmp_path))
    refused = plan(Rule(name="mr"), modality="MR")
    assert refused.jobs == ()
    assert [v.why for v in refused.volumes] == [
        "one of 2 volumes of its series (time or phase): a rule must pick one; its series holds 2 stacks of "
        f"images, told apart by echo time (here {echo} ms); this one has 20 images, slice 1 to slice 20, "
        "at 0 to 19 mm towards the head"
        for echo in (10, 20)
    ]
    picked = plan(Rule(name="mr", when={"EchoTime": "<15"}), modality="MR")
    assert all(uid.endswith(".1") for uid in _only(picked).instance_uids)


# -- multi-frame objects ----------------------------------------------------------------------------------


@pytest.fixture
def shelve_multiframe(book, tmp_path: Path) -> Callable[[], Path]:
    """Store one enhanced object of two echoes, five frames each by turns."""

    def store() -> Path:
        positions = [[0.0, 0.0, 2.0 * (number // 2)] for number in range(10)]
        stack = SliceStack(np.zeros((10, 8, 8), np.int16), (1, 0, 0, 0, 1, 0), (1.0, 1.0), positions)
        image = write_multiframe(stack, tmp_path / "enhanced.dcm", MadeUpStudy(modality="MR"))
        for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence):
            groups.MREchoSequence = [Dataset()]
            groups.MREchoSequence[0].EffectiveEchoTime = 10.0 * (1 + number % 2)
        image.save_as(tmp_path / "enhanced.dcm")
        store_slice(book, image, Path("enhanced.dcm"))
        return tmp_path / "enhanced.dcm"

    return store


def test_frames_of_one_object_become_jobs_of_their_own_by_rule(
    shelve_multiframe: Callable[[], Path], plan: Plan
) -> None:
    uid = read_header(shelve_multiframe()).SOPInstanceUID
    refused = plan(Rule(name="mr"), modality="MR")
    assert (refused.jobs, [volume.images for volume in refused.volumes]) == ((), [5, 5])
    keys = set()
    for first, when in ((1, "<15"), (2, ">15")):
        job = _only(plan(Rule(name="mr", when={"EchoTime": when}), modality="MR"))
        assert job.instance_uids == tuple(f"{uid}#{number}" for number in range(first, 11, 2))
        keys.add(job.job_key)
    assert len(keys) == 2


def test_job_of_some_frames_gets_exactly_these_back(
    shelve_multiframe: Callable[[], Path], plan: Plan, complete, book, tmp_path: Path
) -> None:
    path = shelve_multiframe()
    made = plan(Rule(name="mr", when={"EchoTime": ">15"}), modality="MR")
    complete(made)
    volume = Workplace(book.ledger, tmp_path).volume(book.job(_only(made).job_key))
    assert {frame.path for frame in volume.frames} == {path}
    assert [frame.frame_number for frame in volume.frames] == [2, 4, 6, 8, 10]


def test_job_keeps_its_slot_when_other_frames_come_in_later(
    shelve_multiframe: Callable[[], Path], plan: Plan, complete, book, shelve: Shelve
) -> None:
    shelve_multiframe()
    rule = Rule(name="mr", when={"EchoTime": ">15"})
    first = plan(rule, modality="MR")
    complete(first)
    shelve(series=5, count=2)
    second = plan(rule, modality="MR")
    assert (_only(second).job_key, _only(second).slot) == (_only(first).job_key, _only(first).slot)


# -- which of several -------------------------------------------------------------------------------------


def test_best_of_one_scan_is_taken_and_the_ranking_shown(shelve: Shelve, plan: Plan) -> None:
    shelve(series=1, spacing_mm=5.0, count=5)
    shelve(series=2, spacing_mm=1.0, count=21)
    shelve(series=3, spacing_mm=1.0, count=21, ConvolutionKernel="LUNG")
    made = plan()
    assert _only(made).series_uid == "1.2.3.2"
    assert _why(made) == {
        "1": "rule ct: series 2 of the same scan ranks higher",
        "2": "taken by rule ct for task tissue",
        "3": "rule ct: series 2 of the same scan ranks higher",
    }
    (ranking,) = {volume.ranking for volume in made.volumes}
    assert [line.partition(":")[0] for line in ranking] == ["series 2", "series 3", "series 1"]


def test_best_of_each_contrast_phase_and_frame_of_reference_is_taken(shelve: Shelve, plan: Plan) -> None:
    shelve(series=1)
    shelve(series=2, AcquisitionNumber=2)
    shelve(series=3, FrameOfReferenceUID="1.2.3.77")
    assert {job.series_uid for job in plan().jobs} == {"1.2.3.1", "1.2.3.2", "1.2.3.3"}


def test_choose_all_takes_all(shelve: Shelve, plan: Plan) -> None:
    shelve(series=1)
    shelve(series=2, ConvolutionKernel="LUNG")
    made = plan(Rule(name="all", choose="all"))
    assert {job.series_uid for job in made.jobs} == {"1.2.3.1", "1.2.3.2"}
    assert len({job.slot for job in made.jobs}) == 2


def test_first_matching_rule_takes_a_volume_for_its_task(shelve: Shelve, plan: Plan) -> None:
    shelve(spacing_mm=1.0)
    thin, any_ct = Rule(name="thin", when={"slice_spacing_mm": "<=2"}, priority=7), Rule(name="any")
    assert (_only(plan(thin, any_ct)).rule, _only(plan(thin, any_ct)).priority) == ("thin", 7)
    assert _only(plan(any_ct, thin)).rule == "any"


def test_two_tasks_make_two_jobs_of_one_volume(shelve: Shelve, plan: Plan) -> None:
    shelve()
    made = plan(Rule(name="one", task="tissue"), Rule(name="two", task="bones"))
    assert {job.task for job in made.jobs} == {"tissue", "bones"}
    assert len({job.job_key for job in made.jobs}) == len({job.slot for job in made.jobs}) == 2


# -- files that are lost ----------------------------------------------------------------------------------


def _unlink(path: Path) -> None:
    path.unlink()


def _cut_short(path: Path) -> None:
    os.truncate(path, 200)


def _overwrite(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [_unlink, _cut_short, _overwrite])
def test_study_whose_files_are_lost_is_not_planned_and_says_how_many_and_the_way_out(
    shelve: Shelve, plan: Plan, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    shelve(series=1)
    shelve(series=2, AcquisitionNumber=2)
    sound = plan()
    for name in ("1.2.3.1.3.dcm", "1.2.3.1.4.dcm", "1.2.3.2.5.dcm"):
        content = (tmp_path / name).read_bytes()
        damage(tmp_path / name)
        (tmp_path / f"{name}.sound").write_bytes(content)
    with pytest.raises(FilesLost) as raised:
        plan()
    assert str(raised.value) == "3 kept files are lost or cannot be read; send the study again"
    for path in tmp_path.glob("*.sound"):
        path.rename(path.with_suffix(""))
    assert plan() == sound


def test_report_whose_file_is_lost_stands_in_nobodys_way(shelve: Shelve, plan: Plan, book) -> None:
    shelve()
    book.store("1.2.3.9.1", series_uid="1.2.3.9", of_use=False, why_not="a report")
    assert plan().jobs


@pytest.mark.parametrize("damage", [_unlink, _cut_short, _overwrite])
def test_volume_of_a_job_whose_file_is_lost_is_refused_with_the_way_out_until_it_is_there_again(
    shelve: Shelve, plan: Plan, complete, book, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    shelve()
    complete(plan())
    (job,), workplace = book.jobs().values(), Workplace(book.ledger, tmp_path)
    content = (tmp_path / "1.2.3.1.3.dcm").read_bytes()
    damage(tmp_path / "1.2.3.1.3.dcm")
    with pytest.raises(
        CannotGoOn, match="1 kept file is lost or cannot be read; send the study again, then retry the job"
    ):
        workplace.volume(job)
    (tmp_path / "1.2.3.1.3.dcm").write_bytes(content)
    assert len(workplace.volume(job).frames) == 20


def test_what_goes_wrong_with_pixels_of_a_lost_file_is_said_as_that(
    shelve: Shelve, plan: Plan, complete, book, tmp_path: Path
) -> None:
    shelve()
    complete(plan())
    (job,), workplace = book.jobs().values(), Workplace(book.ledger, tmp_path)
    with pytest.raises(OSError, match="no space"), workplace.reading(job):
        raise OSError(errno.ENOSPC, "no space left")
    (tmp_path / "1.2.3.1.3.dcm").unlink()
    with pytest.raises(FilesLost), workplace.reading(job):
        raise OSError(errno.EIO, "input/output error")


# -- a second completion ----------------------------------------------------------------------------------


def test_second_completion_without_a_new_slice_plans_the_same_job(
    shelve: Shelve, plan: Plan, complete, book
) -> None:
    shelve()
    first = plan()
    complete(first)
    shelve(series=5, count=2)
    complete(plan())
    assert set(book.jobs()) == {_only(first).job_key}
    assert book.state(_only(first).job_key) is JobState.PLANNED


def test_late_slice_supersedes_in_the_same_slot(shelve: Shelve, plan: Plan, complete, book) -> None:
    shelve(only=range(19))
    first = plan()
    complete(first)
    shelve(only=[19])
    second = plan()
    complete(second)
    assert _only(first).slot == _only(second).slot
    assert book.state(_only(first).job_key) is JobState.SUPERSEDED
    assert book.state(_only(second).job_key) is JobState.PLANNED


def test_slice_that_fills_the_gap_lets_the_volume_go_on(shelve: Shelve, plan: Plan, complete, book) -> None:
    shelve(missing=(7,))
    first = plan()
    complete(first)
    shelve(only=[7])
    complete(plan())
    states = {key: job.state for key, job in book.jobs().items()}
    assert states.pop(_only(first).job_key) is JobState.SUPERSEDED
    assert list(states.values()) == [JobState.PLANNED]


def test_volume_whose_job_was_cancelled_gives_way_to_a_better_one(
    shelve: Shelve, plan: Plan, complete, book
) -> None:
    shelve(series=1, spacing_mm=5.0, count=5)
    complete(plan())
    with book.ledger.transaction() as transaction:
        cancel(transaction, next(iter(book.jobs())))
    shelve(series=2, spacing_mm=1.0, count=30)
    assert _only(plan()).series_uid == "1.2.3.2"


def test_larger_stack_that_joins_the_series_late_takes_no_job_away(
    shelve: Shelve, plan: Plan, complete, book
) -> None:
    rule = Rule(name="all", choose="all", when={"ImageType": "AXIAL"})
    shelve(count=10)
    first = plan(rule)
    complete(first)
    book.move(_only(first).job_key, JobEvent.CONVERTED)
    coronal = {"orientation": (1, 0, 0, 0, 0, -1), "origin_mm": 500.0, "count": 40}
    shelve(only=range(10, 40), ImageType=["ORIGINAL", "PRIMARY", "CORONAL"], **coronal)  # numbered first now
    second = plan(rule)
    complete(second)
    assert (_only(second).job_key, _only(second).slot) == (_only(first).job_key, _only(first).slot)
    assert book.state(_only(first).job_key) is JobState.CONVERTED
    both = plan(Rule(name="cor", when={"ImageType": "CORONAL"}), Rule(name="ax", when={"ImageType": "AXIAL"}))
    assert len({job.slot for job in both.jobs}) == 2


# -- what stays on the site -------------------------------------------------------------------------------

HEAD = Rule(name="head", when={"BodyPartExamined": "HEAD"}, leave_site=False)
ALL = Rule(name="all", when={"Modality": "CT"})


def test_volume_of_a_rule_that_keeps_it_is_taken_where_jobs_run_here(shelve: Shelve, plan: Plan) -> None:
    shelve(count=12, BodyPartExamined="HEAD")
    assert _only(plan(HEAD, ALL)).rule == "head"


@pytest.mark.parametrize("later", [ALL, ALL.model_copy(update={"task": "another"})])
def test_volume_of_a_rule_that_keeps_it_is_taken_by_no_rule_where_jobs_run_elsewhere(
    shelve: Shelve, plan: Plan, later: Rule
) -> None:
    shelve(count=12, BodyPartExamined="HEAD")
    made = plan(HEAD, later, leaves_site=True)
    assert made.jobs == ()
    assert _why(made)["1"] == (
        "rule head: it stays on the site (its leave_site = false), and jobs run elsewhere;"
        " rule all: it stays on the site (rule head with leave_site = false), and jobs run elsewhere"
    )


def test_volume_that_no_keeping_rule_matches_is_taken_where_jobs_run_elsewhere(
    shelve: Shelve, plan: Plan
) -> None:
    shelve(count=12, BodyPartExamined="ABDOMEN")
    assert _only(plan(HEAD, ALL, leaves_site=True)).rule == "all"


def test_volume_with_text_burned_in_never_leaves(shelve: Shelve, plan: Plan) -> None:
    shelve(count=12, BurnedInAnnotation="YES")
    made = plan(ALL, leaves_site=True)
    assert made.jobs == ()
    assert "text burned into its pixels" in _why(made)["1"]
