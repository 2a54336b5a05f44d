"""Associations that end in every way, a listener that is killed, and its memory."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.sop_class import Verification

from gateway.config import Dicom
from gateway.events import AssociationClosed
from gateway.listener.application_entity import Listener
from gateway.listener.door.port import ListenerError, open_port
from gateway.listener.statuses import SUCCESS
from gateway.workers.attempts import Backoff

CT_PLAIN = (CTImageStorage, ExplicitVRLittleEndian)
KILLED = -signal.SIGKILL

# The listener alone, in a process of its own, until its standard input closes.
PROGRAM = """
import sys
from pathlib import Path
from gateway.config import Dicom
from gateway.events import Bus
from gateway.ledger.store import Ledger
from gateway.listener.door.admission import Admission
from gateway.listener.application_entity import Listener
from gateway.listener.intake.archive import Archive
from gateway.listener.intake.filing import Intake

data_dir = Path(sys.argv[1])
data_dir.mkdir(exist_ok=True)
ledger = Ledger(data_dir / "ledger.sqlite", Bus())
intake = Intake(ledger, Archive(data_dir), lambda study_uid: "key of " + study_uid)
folder = data_dir / "incoming"
listener = Listener(Dicom(port=0), Admission([], data_dir, 0), folder, intake, ledger)
listener.start()
print(listener.address[1], flush=True)
sys.stdin.read()
listener.stop()
ledger.close()
"""


@pytest.fixture
def slices(small_study: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(small_study.iterdir())]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _ended(gate) -> list[AssociationClosed]:
    return [event for event in gate.heard if isinstance(event, AssociationClosed)]


# -- how associations end ---------------------------------------------------------------------------------


def test_echo_is_answered(gate) -> None:
    with gate.association((Verification, ExplicitVRLittleEndian)) as association:
        assert association.send_c_echo().Status == SUCCESS
    assert _ended(gate) == []


def test_release_is_evidence_and_is_told(gate, slices: list[Dataset]) -> None:
    gate.send(*slices[:2])
    study_uid = slices[0].StudyInstanceUID
    assert _ended(gate) == [AssociationClosed(1, True, frozenset({study_uid}), "PACS")]
    assert gate.studies()[0].evidence == "released"
    assert gate.timeline()[-1].event == "association.released"
    released = gate.timeline()[-1]
    opened_at = released.detail.pop("opened_at")
    assert opened_at < gate.studies()[0].received_at < released.at
    assert released.detail == {"sender": "PACS", "instances": 2}


def test_abort_is_no_evidence_and_is_told(gate, slices: list[Dataset]) -> None:
    association = gate.associate([CT_PLAIN])
    assert association.send_c_store(slices[0]).Status == SUCCESS
    association.abort()
    gate.wait_for(lambda: _ended(gate))
    assert [event.released for event in _ended(gate)] == [False]
    assert gate.studies()[0].evidence == "aborted"


def test_abort_is_taken_back_by_what_its_sender_opens_afterwards_only(gate, slices: list[Dataset]) -> None:
    broken_off, beside = gate.associate([CT_PLAIN]), gate.associate([CT_PLAIN])
    assert broken_off.send_c_store(slices[0]).Status == SUCCESS
    broken_off.abort()
    gate.wait_for(lambda: _ended(gate))
    assert beside.send_c_store(slices[1]).Status == SUCCESS
    beside.release()
    gate.wait_for(lambda: len(_ended(gate)) == 2)
    assert gate.studies()[0].evidence == "aborted"
    gate.send(slices[2])
    assert [event.released for event in _ended(gate)] == [False, True, True]
    assert gate.studies()[0].evidence == "released"


def test_study_has_an_open_association_until_it_is_released(gate, slices: list[Dataset]) -> None:
    study_uid = slices[0].StudyInstanceUID
    assert not gate.listener.has_open_association(study_uid)
    with gate.association(CT_PLAIN) as association:
        association.send_c_store(slices[0])
        assert gate.listener.has_open_association(study_uid)
        assert not gate.listener.has_open_association("1.2.3")
    assert not gate.listener.has_open_association(study_uid)


def test_study_that_is_only_repeated_has_an_open_association_too(gate, slices: list[Dataset]) -> None:
    gate.send(slices[0])
    with gate.association(CT_PLAIN) as association:
        association.send_c_store(slices[0])
        assert gate.listener.has_open_association(slices[0].StudyInstanceUID)


# -- ends in the middle of an object ----------------------------------------------------------------------


def _abort(association: Association) -> None:
    association.abort()


def _lose_the_connection(association: Association) -> None:
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)


def _send_no_dicom(association: Association) -> None:
    association.dul.socket.socket.sendall(b"\x09" * 100)


def _begin_another_object_and_abort(association: Association) -> None:
    """A second command in the middle of a data set: pynetdicom makes a second file for it."""
    data = P_DATA()
    data.presentation_data_value_list = [[association.accepted_contexts[0].context_id, b"\x03"]]
    association.dul.send_pdu(data)
    association.abort()


@pytest.mark.parametrize(
    "end", [_abort, _lose_the_connection, _send_no_dicom, _begin_another_object_and_abort]
)
def test_association_that_ends_in_the_middle_of_an_object_leaves_no_file(
    gate, slices: list[Dataset], end: Callable[[Association], None]
) -> None:
    association = gate.associate([CT_PLAIN])
    assert association.send_c_store(slices[0]).Status == SUCCESS
    gate.begin_to_send(association, slices[1])
    gate.wait_for(lambda: gate.files("incoming"))
    end(association)
    gate.wait_for(lambda: not gate.listener.has_open_association(slices[0].StudyInstanceUID))
    assert gate.send(slices[2]) == [SUCCESS]  # the listener is well
    gate.wait_for(lambda: not gate.files("incoming"))
    assert [event.released for event in _ended(gate)] == [False, True]
    assert [row.sop_instance_uid for row in gate.instances()] == [
        slices[0].SOPInstanceUID,
        slices[2].SOPInstanceUID,
    ]


@pytest.mark.parametrize("uids", [("", "1.2.3"), (CTImageStorage, ""), (CTImageStorage, "1." * 40 + "1")])
@pytest.mark.filterwarnings("ignore:The value length")
def test_request_whose_command_is_invalid_leaves_no_file_and_the_listener_well(
    gate, slices: list[Dataset], store_command: Callable[..., tuple[bytes, bytes]], uids: tuple[str, str]
) -> None:
    association = gate.associate([CT_PLAIN])  # pynetdicom passes such a request over, or aborts
    gate.send_fragments(association, store_command(*uids), (b"\x02", b"whatever"))
    association.abort()
    assert gate.send(slices[1]) == [SUCCESS]
    gate.wait_for(lambda: not gate.files("incoming"))
    assert [row.sop_instance_uid for row in gate.instances()] == [slices[1].SOPInstanceUID]


def test_listener_that_stops_ends_open_associations_and_leaves_no_file(gate, slices: list[Dataset]) -> None:
    association = gate.associate([CT_PLAIN])
    assert association.send_c_store(slices[0]).Status == SUCCESS
    gate.begin_to_send(association, slices[1])
    gate.wait_for(lambda: gate.files("incoming"))
    gate.listener.stop()
    gate.wait_for(lambda: association.is_aborted)
    assert gate.files("incoming") == []
    assert not gate.listener.is_listening
    assert gate.studies()[0].evidence == "aborted"
    assert (
        not AE("PACS")
        .associate(*gate.address, contexts=association.requestor.requested_contexts)
        .is_established
    )


def test_port_that_is_taken_is_refused_with_a_sentence(gate) -> None:
    second = Listener(
        Dicom(port=gate.address[1]),
        gate.admission,
        gate.listener._folder.folder,
        gate.intake,
        gate.ledger,
    )
    with pytest.raises(ListenerError, match="choose another"):
        second.start()
    assert not second.is_listening


def test_who_calls_before_the_listener_is_there_waits_for_it(gate) -> None:
    port = open_port("127.0.0.1", 0)
    late = Listener(Dicom(port=0), gate.admission, gate.listener._folder.folder, gate.intake, gate.ledger)
    with ThreadPoolExecutor(1) as executor, socket.create_connection(port.getsockname()):
        waiting = executor.submit(_associate, port.getsockname()[1], (Verification, ExplicitVRLittleEndian))
        late.start(port)
        association = waiting.result(timeout=60)
    assert association.send_c_echo().Status == SUCCESS
    association.release()
    late.stop()


# -- crashes ----------------------------------------------------------------------------------------------


@pytest.fixture
def listener_process(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """Start a listener in a process of its own; gives the process and its port."""
    processes = []

    def start(**environment: str) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "iris-data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment,
        )
        processes.append(process)
        assert process.stdout is not None
        port = int(next(line for line in process.stdout if line.strip().isdigit()))
        return process, port

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _associate(port: int, *contexts: tuple[str, str]) -> Association:
    entity = AE("PACS")
    entity.dimse_timeout = entity.network_timeout = 60
    for context in contexts or (CT_PLAIN,):
        entity.add_requested_context(*context)
    association = entity.associate("127.0.0.1", port)
    assert association.is_established
    return association


@pytest.mark.parametrize("moment", ["before", "after"])
def test_instance_that_was_moved_when_the_gateway_died_is_adopted_at_the_next_start(
    listener_process, make_gate: Callable[..., Any], slices: list[Dataset], moment: str
) -> None:
    process, port = listener_process(IRIS_KILL_AT=f"study.instance_stored:{moment}")
    answer = _associate(port).send_c_store(slices[0])
    assert "Status" not in answer  # it died without a word: the sender still has it
    assert process.wait(120) == KILLED
    gate = make_gate()
    assert len(gate.files("instances")) == 1
    assert gate.adopt() == (1 if moment == "before" else 0)
    (row,) = gate.instances()
    assert row.sop_instance_uid == slices[0].SOPInstanceUID
    assert row.sender == ("(found at start)" if moment == "before" else "PACS")
    assert gate.adopt() == 0
    assert gate.send(slices[0]) == [SUCCESS]
    assert len(gate.instances()) == 1


def test_object_that_was_half_received_when_the_gateway_died_is_cleared_at_the_next_start(
    listener_process, make_gate: Callable[..., Any], begin_to_send, slices: list[Dataset], tmp_path: Path
) -> None:
    process, port = listener_process()
    association = _associate(port)
    begin_to_send(association, slices[0])
    incoming = tmp_path / "iris-data" / "incoming"
    _wait_for(lambda: any(incoming.glob("*.part")))  # before a gate opens here, and clears the folder
    process.kill()
    process.wait(120)
    gate = make_gate()
    assert gate.files("incoming") == []
    assert gate.adopt() == 0


def _wait_for(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < give_up_at, "the condition did not come true"
        time.sleep(0.01)


# -- memory -----------------------------------------------------------------------------------------------


def test_memory_stays_flat_for_an_instance_of_200_mb(
    listener_process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: list[Dataset]
) -> None:
    process, port = listener_process()
    association = _associate(port, CT_PLAIN, (EnhancedCTImageStorage, ExplicitVRLittleEndian))
    assert association.send_c_store(slices[0]).Status == SUCCESS
    before_mb = _peak_mb(process.pid)
    large = _large_instance(tmp_path / "large.dcm", megabytes=200)
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    assert association.send_c_store(large).Status == SUCCESS
    association.release()
    assert _peak_mb(process.pid) - before_mb < 50


def _large_instance(path: Path, megabytes: int) -> Path:
    """A multi-frame image of so many frames of 1 MB."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 500, 1000, megabytes
    dataset.SamplesPerPixel, dataset.BitsAllocated = 1, 16
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.save_as(path, enforce_file_format=True)
    with path.open("ab") as stream:
        length = megabytes * 1_000_000
        stream.write(b"\xe0\x7f\x10\x00OW\x00\x00" + length.to_bytes(4, "little"))
        stream.truncate(stream.tell() + length)
    return path


def _peak_mb(process_id: int) -> float:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


# -- the ledger fails when an association ends ------------------------------------------------------------


def test_release_that_the_ledger_could_not_take_is_written_down_as_soon_as_it_can(
    gate, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the study would wait for the long timeout, though its sender said that it was done."""
    write = gate.ledger.transaction
    is_full = False

    def transaction() -> Any:
        if is_full:
            raise OSError(28, "No space left on device")
        return write()

    monkeypatch.setattr(gate.ledger, "transaction", transaction)
    monkeypatch.setattr("gateway.workers.worker.AFTER_A_FAILURE", Backoff(0.01, 0.02))
    endings = gate.listener.endings
    endings.start()
    try:
        association = gate.associate([CT_PLAIN])
        assert association.send_c_store(slices[0]).Status == SUCCESS
        is_full = True
        association.release()
        until(lambda: endings.complaint())
        assert "the disk is full" in endings.complaint()
        assert gate.studies()[0].evidence is None
        is_full = False
        until(lambda: gate.studies()[0].evidence == "released")
        until(lambda: endings.complaint() == "")
    finally:
        endings.stop()
    assert [event.released for event in _ended(gate)] == [True]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_listener_whose_loop_has_ended_does_not_listen(gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        raise SystemExit

    assert gate.listener.is_listening
    monkeypatch.setattr(gate.listener._doors[0], "look", end)
    until(lambda: not gate.listener.is_listening)
