"""A PACS with a routing rule, in this process, that can be told to do wrong what real ones do wrong."""

import copy
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from converter.seg.settings import LABEL_MAP_SEGMENTATION_STORAGE
from gateway.adapters.dicom.peer import Peer
from gateway.config.outputs import OUTPUTS
from gateway.delivery.sending import send_files

AE_TITLE = "SITEPACS"
SUCCESS, PENDING = 0x0000, 0xFF00
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless]
_KEYS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
Change = Callable[[Dataset], Dataset | None]


def as_it_is(dataset: Dataset) -> Dataset | None:
    return dataset


@dataclass
class SitePacs:
    """Keeps what it is sent, answers C-FIND and C-GET, and sends CT on when an association is released."""

    folder: Path
    gateway: Peer | None = None
    """Where its rule sends to; None: it has no rule."""
    keeps: Change = as_it_is
    """What it makes of an object that it stores; None: it loses it, and answers success."""
    routes: Change = as_it_is
    """What it makes of an image on its way to the gateway."""
    refuses: frozenset[str] = frozenset()
    """SOP classes."""
    breaks_at_bytes: int = 1 << 30
    """It aborts at a PDU that is longer, whatever it negotiated."""
    has_find: bool = True
    held: dict[str, Dataset] = field(default_factory=dict)
    _coming: dict[object, list[Dataset]] = field(default_factory=dict)
    _routing: list[threading.Thread] = field(default_factory=list)

    def behave(self) -> None:
        """Do all right again, and forget what came."""
        self.keeps = self.routes = as_it_is
        self.refuses, self.breaks_at_bytes, self.has_find = frozenset(), 1 << 30, True
        self.held.clear()

    def start(self) -> Callable[[], None]:
        entity = AE(AE_TITLE)
        classes = {CTImageStorage, LABEL_MAP_SEGMENTATION_STORAGE}
        classes |= {output.sop_class_uid for output in OUTPUTS.values() if output.sop_class_uid}
        for uid in sorted(classes):
            entity.add_supported_context(uid, SYNTAXES, scu_role=True, scp_role=True)
        for service in (
            Verification,
            StudyRootQueryRetrieveInformationModelFind,
            StudyRootQueryRetrieveInformationModelGet,
        ):
            entity.add_supported_context(service)
        server = entity.start_server(
            ("127.0.0.1", 0),
            block=False,
            evt_handlers=[
                (evt.EVT_REQUESTED, self._narrow),
                (evt.EVT_PDU_RECV, self._weigh),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_C_FIND, self._find),
                (evt.EVT_C_GET, self._get),
                (evt.EVT_RELEASED, self._route),
            ],
        )
        assert server is not None
        self.peer = Peer(AE_TITLE, "127.0.0.1", server.server_address[1])

        def stop() -> None:
            for thread in self._routing:
                thread.join()
            server.shutdown()

        return stop

    def _narrow(self, event: Event) -> None:
        refused = {*self.refuses, *([] if self.has_find else [StudyRootQueryRetrieveInformationModelFind])}
        acceptor = event.assoc.acceptor
        acceptor.supported_contexts = [
            each for each in acceptor.supported_contexts if each.abstract_syntax not in refused
        ]

    def _weigh(self, event: Event) -> None:
        if isinstance(event.pdu, P_DATA_TF) and event.pdu.pdu_length > self.breaks_at_bytes:
            event.assoc.abort()

    def _store(self, event: Event) -> int:
        dataset = dcmread(BytesIO(event.encoded_dataset()))
        kept = self.keeps(copy.deepcopy(dataset))
        if kept is not None:
            self.held.setdefault(str(kept.SOPInstanceUID), kept)
            if kept.SOPClassUID == CTImageStorage:
                self._coming.setdefault(event.assoc, []).append(kept)
        return SUCCESS

    def _route(self, event: Event) -> None:
        images = self._coming.pop(event.assoc, [])
        if images and self.gateway is not None:
            thread = threading.Thread(target=self._send_on, args=(images, self.gateway))
            self._routing.append(thread)
            thread.start()

    def _send_on(self, images: list[Dataset], gateway: Peer) -> None:
        paths = []
        for number, image in enumerate(images):
            if (sent := self.routes(copy.deepcopy(image))) is not None:
                paths.append(self.folder / f"{threading.get_ident()}-{number}.dcm")
                dcmwrite(paths[-1], sent, enforce_file_format=True)
        send_files(paths, gateway, AE_TITLE)

    def _find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        groups = {}
        for one in self._matching(asked):
            groups.setdefault(one[_KEYS[asked.QueryRetrieveLevel]].value, one)
        for one in groups.values():
            answer = Dataset()
            for key in asked:
                if key.keyword != "QueryRetrieveLevel":
                    setattr(answer, key.keyword, one.get(key.keyword))
            yield PENDING, answer

    def _get(self, event: Event) -> Iterator[int | tuple[int, Dataset | None]]:
        found = self._matching(event.identifier)
        yield len(found)
        for one in found:
            yield PENDING, one

    def _matching(self, asked: Dataset) -> list[Dataset]:
        keys = [key for key in _KEYS.values() if asked.get(key)]
        return [one for one in list(self.held.values()) if all(one.get(k) == asked.get(k) for k in keys)]
