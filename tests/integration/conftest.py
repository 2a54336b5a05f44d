"""The listener and its ledger in this process, senders that send what no library would, and `iris`."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import build_context

from gateway.config import AllowedSender, Dicom, ListenerTls
from gateway.events import Bus, Event
from gateway.files.locks import DataLocks
from gateway.ledger.records import EventRow, InstanceRow, QuarantineRow, StudyRow
from gateway.ledger.store import Ledger
from gateway.listener.application_entity import Listener
from gateway.listener.door.admission import Admission
from gateway.listener.intake.adoption import Adoption
from gateway.listener.intake.archive import Archive
from gateway.listener.intake.filing import Intake
from gateway.listener.wire.guard import Limits
from tests.quick_start import IRIS, quick_python

DEADLINE_S = 120.0

Iris = Callable[..., "subprocess.CompletedProcess[str]"]


RUSHED = 5
"""Tries: a rejection that comes before pynetdicom looks for it is taken for a connection that failed."""


@dataclass
class Gate:
    """A listener on a free port, what it keeps, and what its ledger knows."""

    data_dir: Path
    allow: list[AllowedSender] = field(default_factory=list)
    low_water_mb: int = 0
    port: int = 0
    max_associations: int = 32
    max_object_mb: int = 8192
    check_called_ae_title: bool = False
    tls: ListenerTls = field(default_factory=ListenerTls)
    tls_port: int | None = None
    limits: Limits = field(default_factory=Limits)
    children: int = 0
    heard: list[Event] = field(default_factory=list)

    def open(self) -> None:
        self.data_dir.mkdir(exist_ok=True)
        bus = Bus()
        bus.subscribe(self.heard.append)
        self.ledger = Ledger(self.data_dir / "ledger.sqlite", bus)
        self.archive = Archive(self.data_dir)
        self.locks = DataLocks()
        self.intake = Intake(self.ledger, self.archive, _study_key, self.locks)
        self.admission = Admission(self.allow, self.data_dir, self.low_water_mb)
        self.listener = Listener(
            Dicom(
                port=self.port,
                max_associations=self.max_associations,
                max_object_mb=self.max_object_mb,
                check_called_ae_title=self.check_called_ae_title,
                tls=self.tls,
                tls_port=self.tls_port,
            ),
            self.admission,
            self.data_dir / "incoming",
            self.intake,
            self.ledger,
            children=self.children,
        )

    def start(self) -> None:
        self.open()
        self.listener.limits = self.limits
        self.listener.start()
        self.address = self.listener.address

    def stop(self) -> None:
        self.listener.stop()
        self.ledger.close()

    def adopt(self) -> int:
        """Go through the archive as after a start; how many files were filed."""
        adoption = self.adoption()
        adoption.work()
        return adoption.adopted

    def adoption(self) -> Adoption:
        """What goes through the archive after a start."""
        return Adoption(self.ledger, self.archive, self.intake, self.ledger.bus)

    # -- sending ------------------------------------------------------------------------------------------

    def associate(
        self, contexts: Sequence[tuple[str, str]], calling_ae_title: str = "PACS", called: str = "IRIS"
    ) -> Association:
        """Ask for an association that offers each (SOP class, transfer syntax) in a context of its own."""
        entity = AE(calling_ae_title)
        entity.requested_contexts = [build_context(*context) for context in dict.fromkeys(contexts)]
        association = entity.associate(*self.address, ae_title=called)
        for _ in range(RUSHED):
            if association.is_established or association.is_rejected:
                break
            association = entity.associate(*self.address, ae_title=called)
        return association

    @contextmanager
    def association(self, *contexts: tuple[str, str], **given: Any) -> Iterator[Association]:
        """An association that is released at the end, and whose release the ledger has seen then."""
        association = self.associate(contexts, **given)
        assert association.is_established
        try:
            yield association
        finally:
            association.release()
            self.wait_for(lambda: not self.listener.visits)

    def send(self, *datasets: Dataset) -> list[int]:
        """Send data sets on one association, each as it is stored; the answers."""
        with self.association(*(_context(dataset) for dataset in datasets)) as association:
            return [association.send_c_store(dataset).Status for dataset in datasets]

    def send_bytes(
        self, content: bytes | None, sop_class: str, sop_instance: str, syntax: str = ExplicitVRLittleEndian
    ) -> int:
        """Send an encoded data set, whatever it is, under UIDs of the sender's choice; the answer."""
        with self.association((sop_class, syntax)) as association:
            return self.request(association, content, sop_class, sop_instance)

    @classmethod
    def request(
        cls, association: Association, content: bytes | None, sop_class: str, sop_instance: str
    ) -> int:
        """Send a C-STORE request that pynetdicom's own `send_c_store` would refuse to build; the answer.

        `content` may be empty, or None for a request without a data set; so may the UIDs be empty.
        """
        association._reactor_checkpoint.clear()  # else its reactor takes the answer
        while not association._is_paused:
            time.sleep(0.001)
        cls.send_fragments(association, _store_command(sop_class, sop_instance, content is not None))
        if content is not None:
            cls.send_fragments(association, *_data_fragments(content))
        _, answer = association.dimse.get_msg(block=True)
        association._reactor_checkpoint.set()
        assert isinstance(answer, C_STORE), "the association ended without an answer"
        return int(answer.Status)

    @classmethod
    def begin_to_send(cls, association: Association, dataset: Dataset) -> None:
        """Send a C-STORE request and the first part of its data set, and no more."""
        content = encode(dataset, False, True)
        assert content is not None
        command = _store_command(dataset.SOPClassUID, dataset.SOPInstanceUID)
        cls.send_fragments(association, command, (b"\x00", content[:1000]))

    @staticmethod
    def send_fragments(association: Association, *fragments: tuple[bytes, bytes]) -> None:
        """Send presentation data values: a message control header (PS3.8 E.2) and a fragment each."""
        context_id = association.accepted_contexts[0].context_id
        for control, fragment in fragments:
            data = P_DATA()
            data.presentation_data_value_list = [[context_id, control + fragment]]
            association.dul.send_pdu(data)

    # -- what is there ------------------------------------------------------------------------------------

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until something holds; fail at the deadline."""
        give_up_at = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < give_up_at, "the condition did not come true"
            time.sleep(0.01)

    def files(self, folder: str) -> list[Path]:
        return sorted(path for path in (self.data_dir / folder).rglob("*") if path.is_file())

    def instances(self) -> list[InstanceRow]:
        """Every revision of every instance, oldest first."""
        return [InstanceRow.of(row) for row in self.ledger.read("SELECT * FROM instances ORDER BY rowid")]

    def quarantine(self) -> list[QuarantineRow]:
        return [QuarantineRow.of(row) for row in self.ledger.read("SELECT * FROM quarantine ORDER BY rowid")]

    def studies(self) -> list[StudyRow]:
        return [StudyRow.of(row) for row in self.ledger.read("SELECT * FROM studies")]

    def timeline(self) -> list[EventRow]:
        return [EventRow.of(row) for row in self.ledger.read("SELECT * FROM events ORDER BY seq")]


def _study_key(study_uid: str) -> str:
    return hashlib.sha256(study_uid.encode()).hexdigest()


def _context(dataset: Dataset) -> tuple[str, str]:
    return str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID)


def _store_command(sop_class: str, sop_instance: str, has_data_set: bool = True) -> tuple[bytes, bytes]:
    """The fragment that holds a whole C-STORE-RQ (PS3.7 9.3.1.1)."""
    command = Dataset()
    command.AffectedSOPClassUID, command.AffectedSOPInstanceUID = sop_class, sop_instance
    command.CommandField, command.MessageID, command.Priority = 0x0001, 1, 2
    command.CommandDataSetType = 0x0001 if has_data_set else 0x0101
    content = encode(command, True, True)
    assert content is not None
    group_length = b"\x00\x00\x00\x00\x04\x00\x00\x00" + len(content).to_bytes(4, "little")
    return b"\x03", group_length + content


def _data_fragments(content: bytes, size: int = 16_000) -> Iterator[tuple[bytes, bytes]]:
    """A data set in pieces, the last one marked so; one empty piece for an empty one."""
    for start in range(0, max(len(content), 1), size):
        yield b"\x02" if start + size >= len(content) else b"\x00", content[start : start + size]


@pytest.fixture
def make_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gate]]:
    """Open a listener with the given settings; pynetdicom is as before afterwards."""
    monkeypatch.setattr(_config, "LOG_HANDLER_LEVEL", _config.LOG_HANDLER_LEVEL)
    gates = []

    def make(**given: Any) -> Gate:
        gate = Gate(tmp_path / "iris-data", **given)
        gate.start()
        gates.append(gate)
        return gate

    yield make
    for gate in gates:
        gate.stop()


@pytest.fixture
def gate(make_gate: Callable[..., Gate]) -> Gate:
    """A listener that admits anyone."""
    return make_gate()


@pytest.fixture
def begin_to_send() -> Callable[[Association, Dataset], None]:
    """Sends the beginning of an object on an association, and no more."""
    return Gate.begin_to_send


@pytest.fixture
def store_command() -> Callable[..., tuple[bytes, bytes]]:
    """Makes the fragment that holds a C-STORE-RQ for these UIDs."""
    return _store_command


# -- the command line -------------------------------------------------------------------------------------


@pytest.fixture
def iris(tmp_path: Path) -> Iris:
    """Run the command in an empty folder, without any IRIS_ variable of the caller's."""
    return command_in(tmp_path, quick_python(IRIS))


@pytest.fixture
def iris_afresh(tmp_path: Path) -> Iris:
    """The same with nothing loaded, as users start it."""
    return command_in(tmp_path, sys.executable)


def command_in(folder: Path, python: str) -> Iris:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IRIS_")} | {"COLUMNS": "200"}

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "gateway.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment | variables,
            timeout=120,
            check=False,
        )

    return run
