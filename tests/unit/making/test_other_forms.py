"""What a destination does not take when it is sent is made in another form, as another object."""

from pathlib import Path
from typing import Any

import pytest

from converter.seg.settings import LABEL_MAP_SEGMENTATION_STORAGE
from gateway.adapters.dicom.implementation import Implementation
from gateway.config import Config
from gateway.config.outputs import OUTPUTS
from gateway.delivery.another_form import AnotherForm
from gateway.delivery.asking import Asking
from gateway.events import Bus
from gateway.ledger.records import DeliveryRow
from gateway.ledger.results import result_object
from gateway.ledger.states import DeliveryEvent, JobState
from gateway.taken import Taken

LABELMAP, BINARY = str(LABEL_MAP_SEGMENTATION_STORAGE), OUTPUTS["seg"].sop_class_uid
ALL = ("seg", "sr")


class Peer:
    """Takes these SOP classes, if anybody asks."""

    def __init__(self, *taken: str) -> None:
        self.taken = taken

    def takes(self, forms: Any) -> Taken:
        taken = frozenset(form for form in forms if form.sop_class_uid in self.taken)
        return Taken(taken, Implementation("1.2.3"))

    def __str__(self) -> str:
        return "PACS@127.0.0.1:1"


class Case:
    """A result on its way to destinations that were not asked before it was made."""

    def __init__(
        self, segmented: Any, peers: dict[str, Peer], outputs: Any = (), kind: str = "labelmap"
    ) -> None:
        destinations = [{"name": name, "folder": "/srv", "outputs": outputs or []} for name in peers]
        config = Config(
            destination=destinations, seg={"type": kind}, rule=[{"name": "ct", "outputs": list(ALL)}]
        )
        self.peers, self._asked = peers, dict[str, Any]({"nobody": None})
        self.site = segmented(*ALL, config=config, takes=self._asked)
        carriers = [(to, peers[to.name]) for to in config.destination]
        self.asking = Asking(config, carriers, self.site.ledger, Bus())  # type: ignore[arg-type]
        self.another = AnotherForm(self.site.ledger, self.asking)
        self.site.encode(self.site.job())
        for name in peers:  # from now on they answer
            self._asked[name] = lambda forms, name=name: self.asking.takes(name, forms)

    def deliveries(self, state: str = "pending") -> dict[tuple[str, str], DeliveryRow]:
        rows = self.site.ledger.read(
            "SELECT d.*, o.sop_class_uid FROM deliveries d JOIN result_objects o USING (sop_instance_uid)"
            " WHERE d.state = ?",
            (state,),
        )
        found = {}
        for row in map(dict, rows):
            sop_class_uid = row.pop("sop_class_uid")
            found[row["destination"], sop_class_uid] = DeliveryRow.model_validate(row)
        return found

    def refuse(self, to: str, sop_class_uid: str) -> bool:
        """As the delivery worker does."""
        delivery = self.deliveries()[to, sop_class_uid]
        made = result_object(self.site.ledger, delivery.sop_instance_uid)
        assert made is not None
        path: Path = self.site.folder / made.path
        form = self.another.remember(to, path)
        with self.site.ledger.transaction() as transaction:
            return self.another.is_made(transaction, delivery, form, "it does not take it; then retry")

    def arrive(self, to: str) -> set[str]:
        """What went there."""
        found = {key: row for key, row in self.deliveries().items() if key[0] == to}
        with self.site.ledger.transaction() as transaction:
            for row in found.values():
                transaction.move_delivery(row.key, DeliveryEvent.SENT)
        return {row.sop_instance_uid for row in found.values()}


SR = OUTPUTS["sr"].sop_class_uid


def test_label_map_that_is_refused_is_made_binary_for_that_destination_alone(segmented: Any) -> None:
    case = Case(segmented, {"new": Peer(LABELMAP, SR), "old": Peer(BINARY, SR)})
    arrived = case.arrive("new")
    assert case.refuse("old", LABELMAP)
    assert case.site.job().state is JobState.SEGMENTED
    assert case.deliveries() == {}
    refused = case.deliveries("superseded")["old", LABELMAP]
    assert refused.reason == "it is made in another form: it does not take it"
    case.site.encode(case.site.job())
    assert set(case.deliveries()) == {("old", BINARY), ("old", SR)}
    assert {row.sop_instance_uid for row in case.deliveries("sent").values()} == arrived  # and no revision
    assert "rev" not in case.site.objects()["seg"].SeriesDescription
    assert case.site.job().warnings == (
        f"old: it does not take Label Map Segmentation Storage ({LABELMAP}): its segmentation is BINARY",
    )
    case.arrive("old")
    assert case.site.job().state is JobState.DELIVERED


def test_further_form_is_of_the_same_result_so_the_next_revision_is_the_second(segmented: Any) -> None:
    case = Case(segmented, {"new": Peer(LABELMAP, SR), "old": Peer(BINARY, SR)})
    case.arrive("new")
    case.refuse("old", LABELMAP)
    case.site.encode(case.site.job())
    assert len(case.site.ledger.read("SELECT DISTINCT made_at FROM result_objects WHERE is_current = 1")) == 1


@pytest.mark.parametrize("kind", ["binary", "auto"])
def test_segmentation_without_another_form_is_not_made_again(segmented: Any, kind: str) -> None:
    case = Case(segmented, {"old": Peer(SR)}, kind=kind)
    is_made = case.refuse("old", BINARY)
    if is_made:  # a label map was never refused: it is asked for
        case.site.encode(case.site.job())
        is_made = case.refuse("old", BINARY)
    assert not is_made
    assert case.site.job().state is JobState.ENCODED


def test_what_may_be_left_out_is_left_out(segmented: Any) -> None:
    case = Case(segmented, {"old": Peer(SR)}, outputs="auto", kind="binary")
    assert case.refuse("old", BINARY)
    case.site.encode(case.site.job())
    assert set(case.deliveries()) == {("old", SR)}


def test_refusals_of_two_destinations_at_once_are_settled_by_one_making(segmented: Any) -> None:
    case = Case(segmented, {"old": Peer(BINARY, SR), "older": Peer(BINARY, SR)})
    assert case.refuse("old", LABELMAP)
    assert case.refuse("older", LABELMAP)
    case.site.encode(case.site.job())
    assert set(case.deliveries()) == {(to, each) for to in ("old", "older") for each in (BINARY, SR)}
