"""Kept files that are lost or damaged on the disk: sending the study again heals it."""

import copy
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless

from gateway.ledger.completion import PlannedJob, StudyPlan, complete_study
from gateway.listener.statuses import KEPT_ASIDE, OUT_OF_RESOURCES, SUCCESS

Damage = Callable[[Path], object]


def _cut_short(path: Path) -> None:
    os.truncate(path, 500)


def _overwrite_pixels(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(-100, os.SEEK_END)
        stream.write(bytes(range(100)))


def _overwrite_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Small^Study", b"Smxll^Study"))


def _overwrite_beginning(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(bytes(300))


DAMAGES: list[Damage] = [Path.unlink, _cut_short, _overwrite_pixels, _overwrite_header, _overwrite_beginning]


@pytest.fixture
def slices(small_study: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(small_study.iterdir())]


@pytest.fixture
def ct(slices: list[Dataset]) -> Dataset:
    return slices[0]


def _changed(dataset: Dataset, **values: Any) -> Dataset:
    changed = copy.deepcopy(dataset)
    for keyword, value in values.items():
        setattr(changed, keyword, value)
    return changed


def _other_pixels(dataset: Dataset) -> Dataset:
    return _changed(dataset, PixelData=(dataset.pixel_array + 1).astype(np.int16).tobytes())


def _kept(gate) -> Path:
    return Path(gate.data_dir / gate.instances()[-1].path)


def _events(gate) -> list[str]:
    return [line.event for line in gate.timeline() if line.event.startswith("instance.")]


# -- the same bytes again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES)
def test_same_bytes_again_are_kept_anew_where_their_file_is_lost_or_damaged(
    gate, ct: Dataset, damage: Damage
) -> None:
    gate.send(ct)
    before, sound = gate.instances(), _kept(gate).read_bytes()
    damage(_kept(gate))
    assert gate.send(ct) == [SUCCESS]
    assert gate.instances() == before  # the same instance: no revision, no other identity
    assert _kept(gate).read_bytes() == sound
    assert len(gate.files("instances")) == 1
    assert _events(gate) == ["instance.file_lost"]
    assert gate.send(ct) == [SUCCESS]
    assert _events(gate) == ["instance.file_lost"]  # it is sound again


def test_study_whose_folder_is_gone_is_whole_again_after_it_was_sent_again(
    gate, slices: list[Dataset]
) -> None:
    gate.send(*slices)
    sound = {path: path.read_bytes() for path in gate.files("instances")}
    for path in sound:
        path.unlink()
    _kept(gate).parent.rmdir()
    generation = gate.studies()[0].generation
    assert gate.send(*slices) == [SUCCESS] * 8
    assert {path: path.read_bytes() for path in gate.files("instances")} == sound
    (study,) = gate.studies()
    assert (study.state, study.evidence) == ("receiving", "released")
    assert study.generation > generation  # who could not plan it looks again
    assert len(gate.instances()) == 8


def test_complete_study_stays_complete_when_a_lost_file_is_kept_anew(gate, ct: Dataset) -> None:
    gate.send(ct)
    job = PlannedJob("k", "s", "slot", "ct", "tissue", {}, "threshold", 0, (), (), ("seg",), "header")
    with gate.ledger.transaction() as transaction:
        complete_study(transaction, StudyPlan(ct.StudyInstanceUID, 1, (job,), ()), evidence="released")
    (before,) = gate.studies()
    _kept(gate).unlink()
    assert gate.send(ct) == [SUCCESS]
    assert gate.studies() == [before]
    assert _kept(gate).is_file()


def test_revision_that_is_taken_back_shares_its_file_and_both_heal(gate, ct: Dataset) -> None:
    gate.send(ct)
    gate.send(_changed(ct, PatientName="Wrong^Name"))
    gate.send(ct)
    _kept(gate).unlink()
    assert gate.send(ct) == [SUCCESS]
    assert [(row.revision, row.is_current) for row in gate.instances()] == [(1, 0), (2, 0), (3, 1)]
    assert all((gate.data_dir / row.path).is_file() for row in gate.instances())


def test_same_bytes_of_a_revision_in_another_encoding_heal_it(gate, demo_study: Path) -> None:
    compressed = dcmread(sorted(demo_study.iterdir())[0])
    plain = _changed(compressed, PatientName="Right^Name")
    plain.decompress(generate_instance_uid=False)
    gate.send(compressed)
    gate.send(plain)
    before = gate.instances()
    _kept(gate).unlink()
    assert gate.send(plain) == [SUCCESS]
    assert gate.instances() == before
    assert _kept(gate).is_file()


# -- where nothing can be compared any more ---------------------------------------------------------------


def test_corrected_header_needs_no_look_at_a_lost_file(gate, ct: Dataset) -> None:
    gate.send(ct)
    _kept(gate).unlink()
    assert gate.send(_changed(ct, PatientName="Right^Name")) == [SUCCESS]
    first, second = gate.instances()
    assert (second.revision, second.pixel_sha256) == (2, first.pixel_sha256)
    assert _events(gate) == ["instance.corrected"]


@pytest.mark.parametrize("damage", [Path.unlink, _overwrite_pixels])
def test_other_pixels_take_the_place_of_a_lost_file_under_an_identity_of_their_own(
    gate, ct: Dataset, damage: Damage
) -> None:
    gate.send(ct)
    damage(_kept(gate))
    assert gate.send(_other_pixels(ct)) == [SUCCESS]
    first, second = gate.instances()
    assert (first.is_current, second.is_current) == (0, 1)
    assert second.pixel_sha256 != first.pixel_sha256  # what is lost cannot vouch for them: another job
    assert np.array_equal(dcmread(_kept(gate)).pixel_array, ct.pixel_array + 1)
    assert _events(gate) == ["instance.file_lost", "instance.corrected"]


def test_another_transfer_syntax_takes_the_place_of_a_lost_file(gate, demo_study: Path) -> None:
    compressed = dcmread(sorted(demo_study.iterdir())[0])
    gate.send(compressed)
    _kept(gate).unlink()
    plain = copy.deepcopy(compressed)
    plain.decompress(generate_instance_uid=False)
    assert gate.send(plain) == [SUCCESS]
    first, second = gate.instances()
    assert (first.transfer_syntax_uid, first.is_current) == (JPEG2000Lossless, 0)
    assert second.transfer_syntax_uid == plain.file_meta.TransferSyntaxUID
    assert _kept(gate).is_file()


def test_other_geometry_is_kept_aside_even_where_the_file_is_lost(gate, ct: Dataset) -> None:
    gate.send(ct)
    _kept(gate).unlink()
    assert gate.send(_changed(ct, ImagePositionPatient=[0, 0, 99])) == [KEPT_ASIDE]
    assert len(gate.instances()) == 1


def test_machine_that_is_out_of_file_handles_takes_nothing_for_lost(
    gate, ct: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.send(ct)

    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("gateway.listener.intake.archive.read_instance", fail)
        assert gate.send(ct) == [OUT_OF_RESOURCES]
    assert _events(gate) == []
    assert gate.send(ct) == [SUCCESS]
