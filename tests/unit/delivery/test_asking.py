"""Destinations are asked for all that their rules send, and sent nothing; what they refuse is told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    ComprehensiveSRStorage,
    SegmentationStorage,
    Verification,
)

from converter.seg.settings import LABEL_MAP_SEGMENTATION_STORAGE
from gateway.adapters.dicom.implementation import Implementation
from gateway.adapters.errors import Away
from gateway.config import Config
from gateway.config.outputs import Form
from gateway.delivery.asking import Asking, ask, findings, wanted_forms
from gateway.delivery.carriers.catalogue import carrier_of, carriers_of
from gateway.events import Bus
from gateway.ledger.destinations import KnownDestination, KnownForm, known_destinations, learn
from gateway.ledger.records import utc_text
from gateway.ledger.store import Ledger
from gateway.taken import Taken

LABELMAP, BINARY = str(LABEL_MAP_SEGMENTATION_STORAGE), str(SegmentationStorage)
PLAIN, RLE = str(ExplicitVRLittleEndian), str(RLELossless)
ORTHANC = Implementation("1.2.276.0.7230010.3.0.3.6.7", "OFFIS_DCMTK_367", True)


def to_pacs(port: int = 1, outputs: Any = (), **sections: Any) -> Config:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port, "outputs": outputs or []}
    return Config(destination=[pacs], **sections)


@contextmanager
def pacs(*accepted: str) -> Iterator[tuple[int, list[str]]]:
    """A PACS that takes these SOP classes, and what it was asked to store."""
    entity, stored = AE("PACS"), list[str]()
    for each in (Verification, *accepted):
        entity.add_supported_context(each)

    def store(event: evt.Event) -> int:
        stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield server.server_address[1], stored
    finally:
        server.shutdown()


class Asked:
    """A destination that says what it takes."""

    def __init__(self, *taken: Form, by: Implementation | None = ORTHANC) -> None:
        self.taken: frozenset[Form] | None = frozenset(taken)
        self.by, self.times = by, 0

    def takes(self, forms: Any) -> Taken:
        self.times += 1
        if self.taken is None:
            raise Away("PACS@127.0.0.1:1 cannot be reached; check it")
        return Taken(self.taken & frozenset(forms), self.by)

    def __str__(self) -> str:
        return "PACS@127.0.0.1:1"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


@pytest.fixture
def asking(ledger: Ledger) -> Callable[..., Asking]:
    def make(config: Config, carrier: Any) -> Asking:
        return Asking(config, [(config.destination[0], carrier)], ledger, Bus())

    return make


def found(config: Config, *taken: Form, by: Implementation = ORTHANC) -> list[str]:
    known = ask(Asked(*taken, by=by), wanted_forms(config, config.destination[0]))  # type: ignore[arg-type]
    return [each.sentence for each in findings(config, config.destination[0], known)]


def test_pacs_is_asked_for_what_its_rules_send_and_nothing_is_stored() -> None:
    rules = [{"name": "ct", "outputs": ["seg", "sr"]}]
    with pacs(BINARY, ComprehensiveSRStorage) as (port, stored):
        config = to_pacs(port, rule=rules, seg={"type": "labelmap"})
        to = config.destination[0]
        known = ask(carrier_of(config, to), wanted_forms(config, to))
    assert {form for form, each in known.by_form.items() if each.is_taken} == {Form(BINARY, PLAIN)}
    assert known.product == "a program made with pynetdicom"
    assert [(each.output, each.is_served, each.is_left_to_it) for each in findings(config, to, known)] == [
        ("seg", True, False),
        ("sr", False, False),
    ]
    assert stored == []


def test_orthanc_that_refuses_label_maps_is_told_with_class_uid_and_the_way_out() -> None:
    assert found(to_pacs(seg={"type": "labelmap"}), Form(BINARY, PLAIN)) == [
        f"pacs, Orthanc, does not take Label Map Segmentation Storage ({LABELMAP}): its segmentation is"
        ' BINARY; set "UnknownSopClassAccepted": true in its configuration, and restart it'
    ]


def test_transfer_syntax_that_is_refused_is_named() -> None:
    (said,) = found(to_pacs(seg={"type": "labelmap"}), Form(LABELMAP, PLAIN), Form(BINARY, PLAIN))
    assert f"({LABELMAP}) in RLE Lossless ({RLE}): its segmentation is uncompressed;" in said


def test_output_that_is_refused_in_every_form_is_not_delivered_or_left_out_where_that_is_left_to_it() -> None:
    (told,) = found(to_pacs())
    assert f"Segmentation Storage ({BINARY}): seg is not delivered; " in told
    assert "seg is left out for it" in found(to_pacs(outputs="auto"))[0]


def test_rejection_notes_are_asked_for_where_they_are_sent() -> None:
    config = to_pacs()
    notes = config.destination[0].model_copy(update={"supersede": "iocm"})
    (said,) = found(config.model_copy(update={"destination": [notes]}), Form(BINARY, PLAIN))
    assert "Key Object Selection Document Storage" in said
    assert "earlier results are not rejected there; " in said


def test_destination_that_takes_everything_gives_nothing_to_tell() -> None:
    assert found(to_pacs(), Form(BINARY, PLAIN)) == []


def test_worker_remembers_what_is_refused_and_is_in_trouble_until_it_is_taken(
    asking: Callable[..., Asking], ledger: Ledger
) -> None:
    carrier = Asked(Form(BINARY, PLAIN))
    worker = asking(to_pacs(seg={"type": "labelmap"}), carrier)
    worker.work()
    assert [each[:39] for each in worker.complaints()] == ["pacs, Orthanc, does not take Label Map "]
    known = known_destinations(ledger)["pacs"]
    assert (known.address, known.product) == ("PACS@127.0.0.1:1", "Orthanc")
    assert known.refused == {Form(LABELMAP, RLE), Form(LABELMAP, PLAIN)}
    assert worker.work() > 3600
    assert carrier.times == 1
    carrier.taken = frozenset({Form(BINARY, PLAIN), Form(LABELMAP, RLE), Form(LABELMAP, PLAIN)})
    worker.takes("pacs", [Form(LABELMAP, RLE)])  # as for a job
    assert worker.complaints() == []


def test_destination_that_cannot_be_asked_is_asked_again_soon_and_keeps_what_is_known(
    asking: Callable[..., Asking], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = Asked(Form(BINARY, PLAIN))
    worker = asking(to_pacs(), carrier)
    worker.work()
    carrier.taken = None
    monkeypatch.setitem(worker._due, "pacs", 0.0)
    assert worker.work() <= 60
    why = "pacs could not be asked what it takes: PACS@127.0.0.1:1 cannot be reached; check it"
    assert worker.complaints() == [why]
    assert known_destinations(ledger)["pacs"].by_form[Form(BINARY, PLAIN)].is_taken


def test_service_that_cannot_be_asked_takes_what_is_certain_and_not_what_it_refused_when_it_was_sent(
    asking: Callable[..., Asking], ledger: Ledger
) -> None:
    pair = Form(BINARY, PLAIN), Form(LABELMAP, PLAIN)
    worker = asking(to_pacs(), Asked(pair[0], by=None))
    assert worker.takes("pacs", pair).forms == {pair[0]}
    said = (KnownForm(*pair[0], False, "", "", utc_text(datetime.now(UTC))),)
    with ledger.transaction() as transaction:
        learn(transaction, "pacs", KnownDestination("PACS@127.0.0.1:1", forms=said))
    assert worker.takes("pacs", pair).forms == set()


def test_refusal_is_believed_for_a_day_and_not_at_another_address(ledger: Ledger) -> None:
    now = utc_text(datetime.now(UTC))
    refused = KnownForm(BINARY, PLAIN, False, "", "", now)
    long_ago = utc_text(datetime.now(UTC) - timedelta(hours=26))
    assert KnownDestination(forms=(refused,)).refused
    assert not KnownDestination(forms=(replace(refused, said_at=long_ago),)).refused
    other = KnownForm(LABELMAP, PLAIN, True, "", "", now)
    for address, forms in (("here", (refused,)), ("here", (other,)), ("there", (other,))):
        with ledger.transaction() as transaction:
            learn(transaction, "pacs", KnownDestination(address, "Orthanc", "x", now, forms))
        if address == "here":
            both = known_destinations(ledger)["pacs"].forms
    assert both == (refused, other)
    assert known_destinations(ledger)["pacs"].forms == (other,)


def test_kinds_of_destinations_that_cannot_be_asked_give_nothing_to_tell(tmp_path: Path) -> None:
    config = Config(destination=[{"name": "share", "folder": str(tmp_path)}], seg={"type": "labelmap"})
    ((to, carrier),) = carriers_of(config)
    assert findings(config, to, ask(carrier, wanted_forms(config, to))) == []
