"""What the worker does with what it cannot link or read yet, and what becomes of corrections later."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from gateway.api.ledger_store import LedgerStore
from gateway.api.studies.listings import show_job, show_study
from gateway.ledger.erasing import erase_study
from gateway.ledger.mending import mend_rows
from gateway.ledger.retention import Part, Terms, oldest_with, remove_part
from gateway.ledger.states import CorrectionState
from gateway.ledger.transaction import Transaction
from tests.edited import as_dcmjs_does

JOB_KEY = "b" * 64


def edited(site: Any, name: str = "e.dcm", **options: Any) -> Path:
    """Ours without the last slice of the liver."""
    masks = site.masks
    masks["Liver"] = masks["Liver"].copy()
    masks["Liver"][6] = False
    return as_dcmjs_does(site.volume, masks, site.folder / name, **options)


def counts(site: Any) -> dict[str, int]:
    return dict(LedgerStore(site.ledger).counts().corrections)


def test_two_corrections_of_one_job_are_kept_and_the_latest_is_first(site: Any) -> None:
    first = site.receive(edited(site, "first.dcm"))
    site.look()
    second = site.receive(edited(site, "second.dcm"))
    assert [row.sop_instance_uid for row in site.look()] == [second, first]
    job = show_job(site.ledger, JOB_KEY)
    assert job is not None
    assert [one["key"] for one in job["corrections"]] == [f"key of {second}", f"key of {first}"]
    study = show_study(site.ledger, site.volume.study_uid)
    assert study is not None
    assert study["jobs"][0]["corrections"] == job["corrections"]
    assert [line["event"] for line in job["timeline"]].count("job.corrected") == 2
    assert counts(site) == {"waiting": 0, "compared": 2, "unreadable": 0}


def test_correction_leaves_its_job_as_it_is_and_says_so_at_its_series(site: Any) -> None:
    before = show_job(site.ledger, JOB_KEY)
    uid = site.receive(edited(site))
    site.look()
    after = show_job(site.ledger, JOB_KEY)
    assert before is not None
    assert after is not None
    assert (after["state"], after["updated"]) == (before["state"], before["updated"])
    (row,) = site.ledger.read("SELECT of_use, why_not FROM instances WHERE sop_instance_uid = ?", (uid,))
    assert tuple(row) == (0, "a correction of a result of this software")


def test_work_that_is_killed_before_its_commit_is_done_once_more(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    site.receive(edited(site))
    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "settle", die)
        with pytest.raises(Killed):
            site.worker.work()
    assert site.waiting() == 1
    (correction,) = site.look()
    assert correction.state is CorrectionState.COMPARED


def _fractional(seg: Dataset) -> None:
    seg.SegmentationType = "FRACTIONAL"


def _on_another_grid(seg: Dataset) -> None:
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1, 1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(_fractional, "no BINARY or LABELMAP segmentation", id="fractional"),
        pytest.param(_on_another_grid, "another pixel spacing", id="another-grid"),
    ],
)
def test_correction_that_cannot_be_read_is_kept_with_a_sentence(
    site: Any, change: Any, sentence: str
) -> None:
    uid = site.receive(edited(site, change=change))
    (correction,) = site.look()
    assert (correction.state, correction.structures) == (CorrectionState.UNREADABLE, ())
    assert sentence in correction.sentence
    assert (site.folder / f"{uid}.dcm").exists()
    assert counts(site)["unreadable"] == 1


def test_correction_whose_images_are_lost_is_compared_when_they_are_here_again(site: Any) -> None:
    site.receive(edited(site))
    lost = site.volume.frames[0].path
    kept = lost.rename(lost.with_suffix(".kept"))
    (correction,) = site.look()
    assert correction.state is CorrectionState.WAITING
    assert "send the study again" in correction.sentence
    kept.rename(lost)
    site.complete()
    (correction,) = site.look()
    assert (correction.state, correction.sentence) == (CorrectionState.COMPARED, "")


def test_correction_after_the_images_were_removed_says_so(site: Any) -> None:
    site.receive(edited(site))
    with site.ledger.transaction() as transaction:
        transaction.execute("UPDATE instances SET removed_at = 'then' WHERE of_use = 1")
    (correction,) = site.look()
    assert correction.state is CorrectionState.UNREADABLE
    assert "images of the result were removed" in correction.sentence


def test_segments_that_overlap_are_compared_each_by_itself(site: Any) -> None:
    masks = site.masks
    masks["Spleen"] = masks["Spleen"] | masks["Liver"]
    site.receive(as_dcmjs_does(site.volume, masks, site.folder / "e.dcm"))
    (correction,) = site.look()
    liver, spleen, _ = correction.structures
    both = int((site.labels == 2).sum()), int((site.labels > 0).sum() - (site.labels == 5).sum())
    assert (liver.dice, spleen.dice) == (1.0, round(2 * both[0] / sum(both), 4))


def test_label_map_that_was_edited_is_compared_as_bits_are(site: Any, tmp_path: Path) -> None:
    labels = np.where(site.labels == 2, 0, site.labels)
    labels[0, 40:44, 40:44] = 2
    path = site.make_label_map(labels, tmp_path / "map.dcm")
    seg = dcmread(path)
    seg.Manufacturer = "Viewers"
    for segment in seg.SegmentSequence[1:]:  # behind the background
        del segment.TrackingUID
    seg.ContributingEquipmentSequence = []
    seg.save_as(path)
    site.receive(path)
    (correction,) = site.look()
    assert [(one.structure, one.dice) for one in correction.structures] == [
        ("liver", 1.0), ("spleen", 0.0), ("kidney_right", 1.0),
    ]  # fmt: skip


def test_segmentations_are_looked_at_again_in_a_ledger_that_was_mended(site: Any) -> None:
    site.receive(edited(site))
    site.look()
    with site.ledger.transaction() as transaction:
        transaction.execute("DELETE FROM corrections")
        mend_rows(transaction, lambda study_uid: "key")
    site.restart()
    (correction,) = site.look()
    assert correction.state is CorrectionState.COMPARED


def test_segmentation_waits_while_something_may_come_of_its_study(site: Any) -> None:
    masks = {"Lesion": site.masks["Spleen"]}
    site.receive(as_dcmjs_does(site.volume, masks, site.folder / "e.dcm"))
    assert (site.look(), site.waiting()) == ([], 1)
    site.complete()
    assert (site.look(), site.waiting()) == ([], 0)


def test_images_stay_until_somebody_looked_at_a_segmentation_of_theirs(site: Any) -> None:
    site.receive(edited(site))
    site.complete()
    study = oldest_with(site.ledger, Part.IMAGES)
    assert study is not None
    gone = []
    for look in (lambda: None, site.look):
        look()
        with site.ledger.transaction() as transaction:
            gone.append(remove_part(transaction, study, Part.IMAGES, Terms(), why="age"))
    assert gone == [False, True]
    (correction,) = site.look()
    assert correction.state is CorrectionState.COMPARED


def test_corrections_go_with_their_study(site: Any) -> None:
    site.receive(edited(site))
    site.look()
    with site.ledger.transaction() as transaction:
        erase_study(transaction, transaction.study(site.volume.study_uid), why="forgotten")
    assert site.ledger.read("SELECT * FROM corrections") == []
    assert counts(site) == {"waiting": 0, "compared": 0, "unreadable": 0}


def test_segmentation_with_an_attribute_that_cannot_be_read_is_no_defect_of_ours(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = edited(site)
    item = b"\xfe\xff\x00\xe0"
    whole = path.read_bytes()
    at = whole.index(b"\x08\x00\x50\x11UI", whole.index(item))  # Referenced SOP Class UID of an item
    path.write_bytes(whole[: at + 4] + b"FD" + whole[at + 6 :])  # 8 bytes each, which a UID's are not
    site.receive(path)
    assert (site.look(), site.waiting()) == ([], 0)
    assert "correction_failed" not in capsys.readouterr().out


def test_file_that_is_no_segmentation_inside_is_left_as_what_it_is(site: Any) -> None:
    image = dcmread(next((site.folder / "study").glob("*.dcm")))
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3.4"
    image.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    image.save_as(site.folder / "odd.dcm")
    site.receive(site.folder / "odd.dcm")
    site.complete()
    assert (site.look(), site.waiting()) == ([], 0)
