"""SIGTERM while something outside hangs: the process is over within 15 s, and goes on at the next start."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, evt
from pynetdicom.events import Event

from .conftest import RecordingPacs, World

AT_MOST_S = 15.0


class SilentPort:
    """Takes TCP connections and what comes through them, and never says a word."""

    def __init__(self) -> None:
        self.is_called = threading.Event()
        self._lines: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            self._lines.append(line)
            self.is_called.set()

    def close(self) -> None:
        self._listening.close()
        for line in self._lines:
            line.close()


class SilentPacs:
    """Accepts associations and never answers a C-STORE."""

    def __init__(self) -> None:
        self.is_called = threading.Event()
        self._go_on = threading.Event()
        entity = AE("RECORDER")
        entity.add_supported_context(SegmentationStorage, ExplicitVRLittleEndian)
        handlers = [(evt.EVT_C_STORE, self._hang)]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]

    def _hang(self, _: Event) -> int:
        self.is_called.set()
        self._go_on.wait()
        return 0xA700

    def close(self) -> None:
        self._go_on.set()
        self._server.shutdown()


@pytest.fixture(params=[SilentPort, SilentPacs])
def silent(request: pytest.FixtureRequest) -> Iterator[SilentPort | SilentPacs]:
    peer = request.param()
    yield peer
    peer.close()


def stop_in_time(world: World) -> None:
    begun = time.monotonic()
    assert world.stop() == 0, world.log.read_text()
    assert time.monotonic() - begun < AT_MOST_S


def test_pacs_that_does_not_answer_does_not_hold_up_the_stop_and_gets_its_result_later(
    make_world: Callable[..., World],
    write_study: Callable[..., str],
    silent: SilentPort | SilentPacs,
    recording_pacs: RecordingPacs,
    tmp_path: Path,
) -> None:
    world = make_world(("pacs", "RECORDER", silent.port))
    world.start()
    study_uid = write_study(tmp_path / "study")
    world.send(tmp_path / "study")
    assert silent.is_called.wait(120), world.log.read_text()
    stop_in_time(world)
    world.destinations = [("pacs", "RECORDER", recording_pacs.port)]
    world.start()
    world.until(study_uid, lambda study: study["state"] == "done")
    assert len(recording_pacs.sends) == 1


def test_sender_that_stops_in_the_middle_of_an_object_does_not_hold_up_the_stop(
    make_world: Callable[..., World], write_study: Callable[..., str], tmp_path: Path
) -> None:
    """Its association is open, half of a C-STORE has come, and nothing more does."""
    world = make_world()
    world.start()
    title, _, where = (world.data_dir / "dicom-address").read_text().strip().partition("@")
    host, _, port = where.rpartition(":")
    write_study(tmp_path / "study")
    entity = AE("SENDER")
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.2", ExplicitVRLittleEndian)
    opened = entity.associate(host, int(port), ae_title=title)
    assert opened.is_established
    try:
        half = bytes([4, 0, 0, 0, 1, 0]) + b"\0\0\0\xfa" + b"\1" + b"\0" * 40  # a P-DATA-TF PDU, cut short
        opened.dul.socket.socket.sendall(half)
        stop_in_time(world)
    finally:
        opened.abort()


def test_bucket_that_does_not_answer_does_not_hold_up_the_stop(
    make_world: Callable[..., World], write_study: Callable[..., str], tmp_path: Path
) -> None:
    bucket = SilentPort()
    world = make_world(
        config='[objects]\nbackend = "s3"\nbucket = "iris-data"\n'
        f'[aws]\nendpoint_url = "http://127.0.0.1:{bucket.port}"\n'
    )
    world.start(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_EC2_METADATA_DISABLED="true")
    try:
        study_uid = write_study(tmp_path / "study")
        world.send(tmp_path / "study")
        world.until(study_uid, lambda study: [job["state"] for job in study["jobs"]] == ["converted"])
        assert bucket.is_called.wait(60), world.log.read_text()
        stop_in_time(world)
    finally:
        bucket.close()
