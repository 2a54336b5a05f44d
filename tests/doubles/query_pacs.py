"""A PACS that answers C-FIND as it is told: rightly, wrongly, late, never."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from gateway.adapters.dicom.peer import Peer
from gateway.adapters.tls import Tls

SERIES = "1.2.3.4"
"""Whose number is told where no series is named."""
PENDING, SUCCESS, DOES_NOT_MATCH = 0xFF00, 0x0000, 0xA900
Answers = Iterator[tuple[int, Dataset | None]]
Find = Callable[[Event], Answers]


def answer(**said: object) -> tuple[int, Dataset]:
    made = Dataset()
    for keyword, value in said.items():
        setattr(made, keyword, value)
    return PENDING, made


def images(*uids: str, **said: object) -> Find:
    """Answers at IMAGE level with these, at SERIES level with nothing."""

    def find(event: Event) -> Answers:
        if event.identifier.QueryRetrieveLevel == "IMAGE":
            asked = {key: event.identifier.get(key) for key in ("StudyInstanceUID", "SeriesInstanceUID")}
            for uid in uids:
                yield answer(**{**asked, "SOPInstanceUID": uid, **said})

    return find


def counts(number: object, image_status: int = DOES_NOT_MATCH, **said: object) -> Find:
    """Knows only how many images a series has."""

    def find(event: Event) -> Answers:
        if event.identifier.QueryRetrieveLevel == "IMAGE":
            yield image_status, None
        else:
            series_uid = event.identifier.SeriesInstanceUID or SERIES
            counted = {"SeriesInstanceUID": series_uid, "NumberOfSeriesRelatedInstances": number}
            yield answer(**{**counted, **said})

    return find


@contextmanager
def pacs(find: Find, *, takes_queries: bool = True, tls: Tls | None = None) -> Iterator[Peer]:
    entity = AE("PACS")
    entity.add_supported_context(Verification)
    if takes_queries:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[(evt.EVT_C_FIND, find)],
        ssl_context=tls.context() if tls is not None else None,
    )
    assert server is not None
    try:
        yield Peer("PACS", "127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
