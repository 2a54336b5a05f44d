"""Associations that a process beside the gateway's own serves: the same answers, and nothing lost with it."""

import os
import pickle
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import InstanceAvailabilityNotification, Verification

from gateway.events import AssociationClosed
from gateway.listener.beside import child
from gateway.listener.beside import children as beside_children
from gateway.listener.beside.channel import LENGTH_BYTES, ChildSettings
from gateway.listener.intake.incoming import IncomingFolder
from gateway.listener.statuses import CANNOT_UNDERSTAND, KEPT_ASIDE, OUT_OF_RESOURCES, SUCCESS
from gateway.listener.wire.guard import Limits
from tests.wire import associate_request

CT_PLAIN = (CTImageStorage, ExplicitVRLittleEndian)
ECHO = (Verification, ExplicitVRLittleEndian)


@pytest.fixture
def slices(small_study: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(small_study.iterdir())]


@pytest.fixture
def busy(make_gate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A listener with an association of its own, and a process that takes the next ones."""
    monkeypatch.setattr("gateway.listener.beside.children.AGAIN_S", 0.0)
    gate = make_gate(children=1)
    with ExitStack() as stack:
        for _ in range(2):  # the first is served here; the second starts the process
            stack.callback(gate.associate([ECHO]).release)
        gate.wait_for(lambda: gate.listener._children.ready)
        yield gate


def process_of(gate: Any) -> "subprocess.Popen[bytes]":
    return gate.listener._children._children[0]._process


def handed_on(gate: Any) -> int:
    return sum(child.open for child in gate.listener._children._children)


def associate_beside(gate: Any, *contexts: tuple[str, str]) -> Association:
    association = gate.associate(contexts or [CT_PLAIN])
    assert association.is_established
    assert handed_on(gate) == 1
    return association


def ended(gate: Any) -> list[AssociationClosed]:
    return [event for event in gate.heard if isinstance(event, AssociationClosed)]


def test_study_that_comes_through_another_process_is_filed_as_any(busy, slices: list[Dataset]) -> None:
    association = associate_beside(busy)
    study_uid = slices[0].StudyInstanceUID
    assert [association.send_c_store(one).Status for one in slices] == [SUCCESS] * len(slices)
    assert busy.listener.has_open_association(study_uid)
    assert len(busy.instances()) == len(busy.files("instances")) == len(slices)
    association.release()
    busy.wait_for(lambda: ended(busy))
    assert [(event.released, event.study_uids, event.sender) for event in ended(busy)] == [
        (True, frozenset({study_uid}), "PACS")
    ]
    assert not busy.listener.has_open_association(study_uid)
    busy.wait_for(lambda: len(busy.listener.visits) == 2)
    assert busy.listener.state()["associations"] == 2


def test_association_that_has_ended_is_at_no_study_when_that_is_told(busy, slices: list[Dataset]) -> None:
    association = associate_beside(busy)
    study_uid = slices[0].StudyInstanceUID
    assert association.send_c_store(slices[0]).Status == SUCCESS
    [visit] = [visit for visit in busy.listener.visits._open if visit.study_uids]
    assert busy.listener.has_open_association(study_uid)
    visit.closed(released=True)
    assert ended(busy)
    assert not busy.listener.has_open_association(study_uid)
    association.release()


def test_object_is_answered_there_as_it_is_here(busy, slices: list[Dataset]) -> None:
    association = associate_beside(busy)
    other = dcmread(slices[0].filename)
    other.PixelData = bytes(len(other.PixelData))
    short = dcmread(slices[1].filename)
    short.PixelData = short.PixelData[:-100]
    answers = [association.send_c_store(one).Status for one in (slices[0], slices[0], other, short)]
    assert answers == [SUCCESS, SUCCESS, KEPT_ASIDE, KEPT_ASIDE]
    assert busy.request(association, b"no DICOM", CTImageStorage, "1.2.3") == CANNOT_UNDERSTAND
    reasons = [row.reason for row in busy.quarantine()]
    assert reasons == ["same_uid_other_pixels", "pixels_cut_short", "no_uids"]
    assert busy.files("incoming") == []
    association.release()


def test_disk_that_is_full_is_told_there_too(
    busy, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    association = associate_beside(busy)
    monkeypatch.setattr(busy.admission, "has_room", lambda: False)
    assert association.send_c_store(slices[0]).Status == OUT_OF_RESOURCES
    assert (busy.instances(), busy.files("instances"), busy.files("incoming")) == ([], [], [])
    monkeypatch.undo()
    assert association.send_c_store(slices[0]).Status == SUCCESS
    association.release()


def test_malformed_message_there_is_told_to_both_sides(busy) -> None:
    association = associate_beside(busy)
    association.dul.socket.socket.sendall(b"\x09" * 100)
    busy.wait_for(lambda: busy.listener.state()["associations"] == 2)
    [incident] = busy.listener.state()["turned_away"]
    assert incident["what"] == "aborted"
    assert incident["calling_ae_title"] == "PACS"
    assert incident["sentence"] == "it sent what is no DICOM"


def test_what_names_instances_stays_with_the_ledger(busy) -> None:
    association = busy.associate([CT_PLAIN, (InstanceAvailabilityNotification, ExplicitVRLittleEndian)])
    assert association.is_established
    assert handed_on(busy) == 0
    assert len(association.accepted_contexts) == 2
    association.release()


def test_process_that_is_killed_takes_its_associations_with_it_and_nothing_that_was_acknowledged(
    busy, slices: list[Dataset]
) -> None:
    association = associate_beside(busy)
    assert association.send_c_store(slices[0]).Status == SUCCESS
    busy.begin_to_send(association, slices[1])
    busy.wait_for(lambda: busy.files("incoming"))
    killed = process_of(busy)
    killed.kill()
    busy.wait_for(lambda: association.is_aborted)
    busy.wait_for(lambda: ended(busy))
    assert [event.released for event in ended(busy)] == [False]
    assert [row.sop_instance_uid for row in busy.instances()] == [slices[0].SOPInstanceUID]
    busy.wait_for(lambda: len(busy.listener.visits) == 2)
    here = busy.associate([CT_PLAIN])  # until there is a process again
    assert here.send_c_store(slices[1]).Status == SUCCESS
    here.release()
    busy.wait_for(lambda: busy.listener._children.ready)
    assert process_of(busy) is not killed
    assert busy.files("incoming") == []
    again = associate_beside(busy)
    assert again.send_c_store(slices[2]).Status == SUCCESS
    again.release()


def test_process_that_hangs_is_ended_and_its_associations_are_broken_off(
    busy, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.listener.beside.children.BEGINS_S", 0.5)
    monkeypatch.setattr("gateway.listener.beside.children.AGAIN_S", 3600.0)
    broken = associate_beside(busy)
    assert broken.send_c_store(slices[0]).Status == SUCCESS
    hanging = process_of(busy)
    hanging.send_signal(signal.SIGSTOP)
    assert AE("PACS").associate(*busy.address, contexts=[build_context(*CT_PLAIN)]).is_aborted
    assert hanging.wait(120) == -signal.SIGKILL
    busy.wait_for(lambda: broken.is_aborted)
    busy.wait_for(lambda: busy.listener.state()["associations"] == 2)
    here = busy.associate([CT_PLAIN])
    assert here.send_c_store(slices[1]).Status == SUCCESS
    here.release()


def test_listener_that_stops_ends_what_is_open_there_and_the_process(busy, slices: list[Dataset]) -> None:
    association = associate_beside(busy)
    assert association.send_c_store(slices[0]).Status == SUCCESS
    busy.begin_to_send(association, slices[1])
    busy.wait_for(lambda: busy.files("incoming"))
    process = process_of(busy)
    busy.listener.stop()
    assert process.poll() is not None
    busy.wait_for(lambda: association.is_aborted)
    assert busy.files("incoming") == []
    assert [event.released for event in ended(busy)] == [False]


def test_process_ends_when_the_gateway_s_own_is_gone(busy) -> None:
    process = process_of(busy)
    busy.listener._children._children[0]._control.shutdown(socket.SHUT_WR)  # as where it was killed
    assert process.wait(120) == 0


def test_studies_on_many_associations_come_in_whole(busy, slices: list[Dataset]) -> None:
    studies = []
    for number in range(6):
        copies = [dcmread(one.filename) for one in slices[:4]]
        for copy in copies:
            copy.StudyInstanceUID = f"1.2.3.{number}"
            copy.SeriesInstanceUID = f"1.2.3.{number}.1"
            copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = (
                f"1.2.3.{number}.1.{copy.InstanceNumber}"
            )
        studies.append(copies)

    def send(copies: list[Dataset]) -> list[int]:
        association = busy.associate([CT_PLAIN])
        statuses = [association.send_c_store(one).Status for one in copies]
        association.release()
        return statuses

    with ThreadPoolExecutor(len(studies)) as executor:
        answers = list(executor.map(send, studies))
    assert answers == [[SUCCESS] * 4] * len(studies)
    busy.wait_for(lambda: len(ended(busy)) == len(studies))
    assert all(event.released for event in ended(busy))
    assert len(busy.instances()) == 4 * len(studies)


# -- how it begins and ends --------------------------------------------------------------------------------


def test_process_without_descriptors_breaks_an_association_off_and_takes_the_next(
    busy, slices: list[Dataset]
) -> None:
    process = process_of(busy)
    used = {int(each.name) for each in Path(f"/proc/{process.pid}/fd").iterdir()}
    limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    # One number is left: for the connection, not for the channel.
    enough_for_one = next(number for number in range(3, 1024) if number not in used) + 1
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (enough_for_one, limits[1]))
    with socket.create_connection(busy.address) as connection:
        connection.settimeout(10.0)
        connection.sendall(associate_request([ECHO]))
        assert connection.recv(1) == b""
    busy.wait_for(lambda: busy.listener.state()["associations"] == 2)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
    association = associate_beside(busy)
    assert association.send_c_store(slices[0]).Status == SUCCESS
    association.release()


def test_process_without_memory_for_a_thread_breaks_one_association_off_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    associations = child._associations(ChildSettings("IRIS", Limits(), tmp_path))
    sender, connection = socket.socketpair()
    attendant, channel = socket.socketpair()
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    child._take(associations, [connection.detach(), channel.detach()])
    with sender, attendant:
        assert (sender.recv(1), attendant.recv(1)) == (b"", b"")


def test_interrupt_from_a_terminal_does_not_reach_the_process(busy) -> None:
    assert os.getsid(process_of(busy).pid) != os.getsid(0)


def test_file_in_the_working_directory_is_no_module_of_the_process(
    make_gate: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit('it was taken for a module of Python')")
    monkeypatch.chdir(tmp_path)
    gate = make_gate(children=1)
    for _ in range(2):
        gate.associate([ECHO])
    gate.wait_for(lambda: gate.listener._children.ready)


@pytest.mark.parametrize("is_told", [False, True])
def test_process_whose_gateway_is_gone_before_it_is_ready_ends_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], is_told: bool
) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = beside_children._started(theirs)
    if is_told:
        said = pickle.dumps(ChildSettings("IRIS", Limits(), tmp_path))
        ours.sendall(len(said).to_bytes(LENGTH_BYTES, "big") + said)
    ours.close()
    assert (process.wait(60), capfd.readouterr().err) == (0, "")


def test_file_that_an_earlier_process_removes_meanwhile_does_not_hinder_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = IncomingFolder(tmp_path)
    found = [tmp_path / "gone.part", tmp_path / "left.part"]
    found[1].touch()
    monkeypatch.setattr(Path, "rglob", lambda *_: iter(found))
    folder.clear()
    assert not found[1].exists()
