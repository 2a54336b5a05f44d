"""Files in the archive that the ledger does not know are filed beside what comes in, and nothing is lost."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateway.listener.intake import adoption as adoption_module
from gateway.listener.intake import filing as intake_module
from gateway.listener.intake import received as received_module
from gateway.listener.statuses import OUT_OF_RESOURCES, SUCCESS

DEADLINE_S = 120.0


@pytest.fixture
def slices(small_study: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(small_study.iterdir())]


def _stray(gate, content: bytes, name: str = "x/y.dcm") -> Path:
    path = Path(gate.data_dir / "instances" / name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


@contextmanager
def _beside(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run something in a thread of its own; it has ended at the end."""
    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


# -- what is found ----------------------------------------------------------------------------------------


def test_ledger_that_was_removed_is_healed_from_the_archive(
    make_gate: Callable[..., Any], slices: list[Dataset]
) -> None:
    gate = make_gate()
    gate.send(*slices)
    before = {row.sop_instance_uid: (row.path, row.pixel_sha256) for row in gate.instances()}
    gate.stop()
    for path in gate.data_dir.glob("ledger.sqlite*"):
        path.unlink()
    gate = make_gate()
    assert gate.adopt() == 8
    assert {row.sop_instance_uid: (row.path, row.pixel_sha256) for row in gate.instances()} == before
    assert {row.sender for row in gate.instances()} == {"(found at start)"}
    assert gate.adopt() == 0


def test_correction_is_filed_after_what_it_corrects_whatever_the_names_say(
    gate, make_gate: Callable[..., Any], slices: list[Dataset]
) -> None:
    for name in ("First^Name", "Second^Name", "Third^Name", "Fourth^Name"):
        slices[0].PatientName = name
        gate.send(slices[0])
    by_age = [row.path for row in gate.instances()]
    for age, path in enumerate(by_age):
        os.utime(gate.data_dir / path, (1_000_000 + age, 1_000_000 + age))
    gate.stop()
    (gate.data_dir / "ledger.sqlite").unlink()
    gate = make_gate()
    assert gate.adopt() == 4
    assert [row.path for row in gate.instances()] == by_age
    assert [row.is_current for row in gate.instances()] == [0, 0, 0, 1]


def test_unknown_copy_of_a_known_instance_is_removed(gate, slices: list[Dataset]) -> None:
    gate.send(slices[0])
    (kept,) = gate.files("instances")
    _stray(gate, kept.read_bytes())
    assert gate.adopt() == 1
    assert gate.files("instances") == [kept]
    assert len(gate.instances()) == 1


def test_unknown_copy_of_an_instance_whose_file_is_lost_takes_its_place(gate, slices: list[Dataset]) -> None:
    gate.send(slices[0])
    (kept,) = gate.files("instances")
    before, content = gate.instances(), kept.read_bytes()
    _stray(gate, content)
    kept.unlink()
    assert gate.adopt() == 1
    assert gate.files("instances") == [kept]
    assert (kept.read_bytes(), gate.instances()) == (content, before)


def test_unknown_file_that_is_damaged_is_put_aside(gate) -> None:
    _stray(gate, b"no DICOM")
    assert gate.adopt() == 1
    assert gate.files("instances") == []
    assert [row.reason for row in gate.quarantine()] == ["not_dicom"]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_unknown_file_that_the_ledger_cannot_take_stays(
    gate, slices: list[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_damaged: bool
) -> None:
    slices[0].save_as(tmp_path / "a.dcm")
    _stray(gate, b"no DICOM" if is_damaged else (tmp_path / "a.dcm").read_bytes())

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("full")

    with monkeypatch.context() as patch:
        patch.setattr(intake_module, "store_instance", fail)
        patch.setattr(intake_module, "put_aside", fail)
        with pytest.raises(sqlite3.OperationalError):
            gate.adopt()
    assert len(gate.files("instances")) == 1
    assert gate.adopt() == 1


# -- what cannot be read ----------------------------------------------------------------------------------


def test_bad_block_and_unreadable_folder_are_named_stop_nothing_and_are_looked_at_again(
    gate, slices: list[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, dataset in enumerate(slices[:3]):
        dataset.save_as(tmp_path / "a.dcm")
        _stray(gate, (tmp_path / "a.dcm").read_bytes(), f"folder-{number}/a.dcm")
    read, scandir = received_module.read_instance, os.scandir

    def read_but_one(path: Path) -> Any:
        if path.parent.name == "folder-0":
            raise OSError(5, "Input/output error")
        return read(path)

    def scan_but_one(path: Path) -> Any:
        if Path(path).name == "folder-1":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    adoption = gate.adoption()
    with monkeypatch.context() as patch:
        patch.setattr(received_module, "read_instance", read_but_one)
        patch.setattr(adoption_module.os, "scandir", scan_but_one)
        assert adoption.work() == adoption_module.LOOK_AGAIN_S
    assert adoption.adopted == 1
    assert "instances/folder-0/a.dcm (Input/output error)" in adoption.trouble
    assert "instances/folder-1 (Permission denied)" in adoption.trouble
    assert adoption.work() is None
    assert (adoption.adopted, adoption.trouble) == (3, "")
    assert len(gate.instances()) == 3


def test_archive_is_gone_through_once_and_as_a_whole_again_only_where_it_could_not_be_read(
    gate, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.send(slices[0])
    (kept,) = gate.files("instances")
    adoption, scandir, seen = gate.adoption(), os.scandir, []

    def scan(path: Path) -> Any:
        seen.append(Path(path).name)
        if len(seen) == 1:
            raise OSError(5, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(adoption_module.os, "scandir", scan)
    assert adoption.work() is not None
    assert adoption.trouble.count("instances") == 1
    assert adoption.work() is None
    assert adoption.work() is None
    assert seen == ["instances", "instances", kept.parent.name]


def test_folder_of_a_study_is_looked_up_in_one_go(gate, slices: list[Dataset]) -> None:
    gate.send(*slices)
    reads, read = [], gate.ledger.read

    def noted(sql: str, parameters: tuple[Any, ...] = ()) -> Any:
        reads.append(sql)
        return read(sql, parameters)

    gate.ledger.read = noted
    gate.adopt()
    assert len(reads) == 1
    plan = [row["detail"] for row in read(f"EXPLAIN QUERY PLAN {reads[0]}", ("a", "b", "file", "a", "b"))]
    assert any("SEARCH instances USING" in line for line in plan)
    assert not any("SCAN" in line for line in plan)


# -- beside associations ----------------------------------------------------------------------------------


def test_file_that_an_association_is_just_storing_is_left_to_it(
    gate, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, go_on, store = threading.Event(), threading.Event(), intake_module.store_instance

    def store_later(*given: Any) -> None:
        moved.set()
        assert go_on.wait(DEADLINE_S)
        store(*given)

    monkeypatch.setattr(intake_module, "store_instance", store_later)
    adoption = gate.adoption()
    with _beside(lambda: gate.send(slices[0])):
        assert moved.wait(DEADLINE_S)
        assert len(gate.files("instances")) == 1  # moved, and not in the ledger yet
        with _beside(adoption.work) as looking:
            looking.join(0.2)
            assert looking.is_alive()
            go_on.set()
    assert adoption.adopted == 0
    (row,) = gate.instances()
    assert row.sender == "PACS"
    assert (gate.data_dir / row.path).is_file()


def test_file_that_an_association_could_not_write_down_and_took_back_is_no_trouble(
    gate, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, go_on = threading.Event(), threading.Event()

    def fail_later(*_: Any) -> None:
        moved.set()
        assert go_on.wait(DEADLINE_S)
        raise sqlite3.OperationalError("full")

    monkeypatch.setattr(intake_module, "store_instance", fail_later)
    adoption, answers = gate.adoption(), []
    with _beside(lambda: answers.extend(gate.send(slices[0]))):
        assert moved.wait(DEADLINE_S)
        with _beside(adoption.work) as looking:
            looking.join(0.2)
            go_on.set()
    assert answers == [OUT_OF_RESOURCES]
    assert (adoption.adopted, adoption.trouble, gate.instances()) == (0, "", [])


def test_damaged_file_in_the_place_of_what_is_being_stored_takes_nothing_good_away(
    gate, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged leftover stands where an association puts its file while it is being put aside."""
    gate.send(slices[0])
    (row,) = gate.instances()
    path = gate.data_dir / row.path
    with gate.ledger.transaction() as transaction:  # as after a crash before the commit
        transaction.execute("DELETE FROM instances")
    path.write_bytes(b"no DICOM")
    judged, go_on, refuse = threading.Event(), threading.Event(), gate.intake._refuse

    def refuse_later(*given: Any) -> int:
        judged.set()
        assert go_on.wait(DEADLINE_S)
        return int(refuse(*given))

    monkeypatch.setattr(gate.intake, "_refuse", refuse_later)
    answers: list[int] = []
    with _beside(gate.adopt):
        assert judged.wait(DEADLINE_S)
        with _beside(lambda: answers.extend(gate.send(slices[0]))) as sending:
            sending.join(0.3)
            go_on.set()
    assert answers == [SUCCESS]
    assert [row.reason for row in gate.quarantine()] == ["not_dicom"]
    assert dcmread(path).SOPInstanceUID == slices[0].SOPInstanceUID


def test_archive_gone_through_while_many_send_neither_loses_nor_repeats_anything(
    gate, slices: list[Dataset]
) -> None:
    adoption_is_over, passes = threading.Event(), []

    def go_through() -> None:
        while not adoption_is_over.is_set():
            passes.append(gate.adopt())

    def send() -> None:
        for dataset in slices:
            association = gate.associate([(CTImageStorage, ExplicitVRLittleEndian)])
            assert association.send_c_store(dataset).Status == SUCCESS
            association.release()

    with _beside(go_through):
        senders = [threading.Thread(target=send) for _ in range(3)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(DEADLINE_S)
        adoption_is_over.set()
    assert passes
    assert sum(passes) == 0
    assert [row.revision for row in gate.instances()] == [1] * 8
    assert {gate.data_dir / row.path for row in gate.instances()} == set(gate.files("instances"))
