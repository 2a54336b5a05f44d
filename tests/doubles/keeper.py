"""A PACS that stores what it is sent, and reports in several ways what of it it keeps (PS3.4 J)."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from gateway.demo.loopback import free_port

LOCALHOST = "127.0.0.1"
SUCCESS = 0x0000
ENDS_WITHIN_S = 2.0


@dataclass
class Keeper:
    """A PACS that stores, and reports what it keeps.

    Parameters
    ----------
    reports
        How: on the "same" association, "before" its answer to the request there, on a "new" one, or "never".
    failures
        What it does not keep, by SOP Instance UID, with Failure Reasons; forgotten once it is reported. Of
        "any" the next that it is asked for.
    """

    reports: str = "new"
    offers: bool = True
    status: int = SUCCESS
    busy_for: set[str] = field(default_factory=set)
    """SOP Instance UIDs that it has no room for, once."""
    failures: dict[str, int] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)
    digests: set[tuple[str, str]] = field(default_factory=set)
    """SOP Instance UIDs, each with a digest of its bytes."""
    asked: list[Dataset] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)
    gateway_port: int = field(default_factory=free_port)
    port: int = 0

    @contextmanager
    def runs(self) -> Iterator[None]:
        entity = AE("PACS")
        entity.add_supported_context(SegmentationStorage, ExplicitVRLittleEndian)
        if self.offers:
            entity.add_supported_context(StorageCommitmentPushModel)
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._take),
            (evt.EVT_DIMSE_SENT, self._sent),
        ]
        server = entity.start_server((LOCALHOST, self.port), block=False, evt_handlers=handlers)
        assert server is not None
        self.port = server.server_address[1]
        try:
            yield
        finally:
            for association in server.active_associations:  # aborted while it answers, its thread would raise
                association.join(ENDS_WITHIN_S)
            server.shutdown()

    def _store(self, event: Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if uid in self.busy_for:
            self.busy_for.remove(uid)
            return 0xA700
        self.stored.append(uid)
        digest = hashlib.sha256(event.encoded_dataset(include_meta=False)).hexdigest()
        self.digests.add((uid, digest))
        return SUCCESS

    def _take(self, event: Event) -> tuple[int, None]:
        self.asked.append(event.action_information)
        if self.reports == "before":
            self._report_on(event)
        return self.status, None

    def _sent(self, event: Event) -> None:
        if type(event.message).__name__ != "N_ACTION_RSP" or self.status != SUCCESS:
            return
        if self.reports == "same":
            self._report_on(event)
        elif self.reports == "new":
            threading.Thread(target=self.report, args=[self.asked[-1]]).start()

    def _report_on(self, event: Event) -> None:
        told = self.told(self.asked[-1])
        threading.Thread(target=self._send, args=[event.assoc, told]).start()

    def told(self, asked: Dataset) -> Dataset:
        """The Event Information that answers a request."""
        told = Dataset()
        told.TransactionUID = asked.TransactionUID
        items = asked.ReferencedSOPSequence
        if "any" in self.failures:
            self.failures[items[0].ReferencedSOPInstanceUID] = self.failures.pop("any")
        kept = [one for one in items if one.ReferencedSOPInstanceUID not in self.failures]
        failed = [one for one in items if one not in kept]
        for one in failed:
            one.FailureReason = self.failures.pop(one.ReferencedSOPInstanceUID)
        if kept:
            told.ReferencedSOPSequence = kept
        if failed:
            told.FailedSOPSequence = failed
        return told

    def _send(self, association: Any, told: Dataset) -> None:
        kind = 2 if "FailedSOPSequence" in told else 1
        answer, _ = association.send_n_event_report(
            told, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        self.answers.append(answer.get("Status"))

    def report(self, asked: Dataset, ae_title: str = "PACS") -> int | None:
        """Report on an association of its own; the status of the answer."""
        entity = AE(ae_title)
        entity.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        opened = entity.associate(LOCALHOST, self.gateway_port, ae_title="IRIS", ext_neg=[role])
        if not opened.is_established:
            return None
        self._send(opened, self.told(asked))
        opened.release()
        return self.answers[-1]
