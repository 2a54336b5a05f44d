"""What goes out by C-STORE arrives byte for byte, and what we use of pynetdicom's inner parts is there."""

import inspect
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.dul import DULServiceProvider
from pynetdicom.events import Event

from gateway.adapters.dicom.peer import Peer, association
from gateway.adapters.dicom.storing import c_store_request, store, stored_object
from gateway.delivery.sending import send_files

REFUSED = 0xA900


class Receiver:
    """A peer that takes CT images, with a limit for its PDUs, and keeps what came."""

    def __init__(self, maximum_pdu_bytes: int, status: int = 0x0000) -> None:
        self.came: list[bytes] = []
        self.status = status
        entity = AE("PEER")
        entity.maximum_pdu_size = maximum_pdu_bytes
        entity.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
        handlers = [(evt.EVT_C_STORE, self._keep)]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.peer = Peer("PEER", "127.0.0.1", self._server.server_address[1])

    def _keep(self, event: Event) -> int:
        self.came.append(event.request.DataSet.getvalue())
        return self.status

    def stop(self) -> None:
        self._server.shutdown()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sent") / "image.dcm"
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = 101, 99
    dataset.BitsAllocated = 16
    dataset.PixelData = np.arange(101 * 99, dtype=np.int16).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(params=[0, 4096, 16_384, 131_072])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    receiver = Receiver(request.param)
    yield receiver
    receiver.stop()


def test_objects_arrive_byte_for_byte_whatever_the_limit_of_a_pdu(receiver: Receiver, image: Path) -> None:
    sent = send_files([image, image], receiver.peer, "IRIS")
    assert [each.status for each in sent] == [0x0000, 0x0000]
    assert receiver.came == [image.read_bytes()[stored_object(image).offset :]] * 2


def test_status_of_a_refusal_is_the_answer(image: Path) -> None:
    receiver = Receiver(16_384, REFUSED)
    assert [each.status for each in send_files([image, image], receiver.peer, "IRIS")] == [REFUSED] * 2
    receiver.stop()


def test_line_that_is_cut_in_between_gives_no_status(image: Path) -> None:
    receiver = Receiver(16_384)
    with association(
        receiver.peer, "IRIS", [build_context(CTImageStorage, ExplicitVRLittleEndian)]
    ) as opened:
        context_id = opened.accepted_contexts[0].context_id
        assert context_id is not None
        assert store(opened, context_id, stored_object(image), 1) == 0x0000
        line = opened.dul.socket.socket if opened.dul.socket else None
        assert line is not None
        line.shutdown(socket.SHUT_RDWR)
        assert store(opened, context_id, stored_object(image), 2) is None
    receiver.stop()


@pytest.mark.parametrize("when", [1, 3])
def test_object_that_becomes_shorter_while_it_is_sent_is_no_object_there(
    when: int, image: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(image.read_bytes())
    stored, fragments = stored_object(cut), count(1)
    receiver = Receiver(4096)

    def send_while_it_is_cut() -> None:
        with association(receiver.peer, "IRIS", [build_context(CTImageStorage)]) as opened:
            restart = opened.dul._idle_timer.restart

            def restart_and_cut() -> None:
                restart()
                if next(fragments) == when:
                    cut.write_bytes(b"")

            opened.dul._idle_timer.restart = restart_and_cut  # type: ignore[method-assign]
            store(opened, opened.accepted_contexts[0].context_id or 0, stored, 1)

    with pytest.raises(OSError, match="shorter"):
        send_while_it_is_cut()
    assert receiver.came == []
    receiver.stop()


def test_request_is_encoded_as_pynetdicom_encodes_it(image: Path) -> None:
    dataset = dcmread(image)
    request = C_STORE()
    request.MessageID, request.Priority = 7, 0x0000
    request.AffectedSOPClassUID = dataset.SOPClassUID
    request.AffectedSOPInstanceUID = dataset.SOPInstanceUID
    request._dataset_path = (image, 0)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    ours = c_store_request(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), 7)
    assert ours == encode(message.command_set, is_implicit_vr=True, is_little_endian=True)


def test_inner_parts_of_pynetdicom_that_are_used_are_there() -> None:
    loop = inspect.getsource(DULServiceProvider.run_reactor)
    assert "time.sleep(self._run_loop_delay)" in loop
    assert "self._idle_timer.restart()" in loop
    assert "self.assoc.network_timeout" in inspect.getsource(DULServiceProvider.network_timeout.fget)  # type: ignore[attr-defined]
    assert '"Evt17"' in inspect.getsource(DULServiceProvider._read_pdu_data)
