"""What a destination gets where that is left to it: asked once for a job, then frozen."""

from collections.abc import Collection
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from converter.seg.settings import LABEL_MAP_SEGMENTATION_STORAGE, SOP_CLASSES, SegmentationType
from gateway.adapters.dicom.implementation import Implementation
from gateway.adapters.errors import Away, CalledOff
from gateway.config import Config, Overlay
from gateway.config.outputs import OUTPUTS, Form
from gateway.ledger.destinations import KnownDestination, KnownForm, learn
from gateway.ledger.records import utc_now
from gateway.ledger.states import JobEvent, JobState
from gateway.taken import Taken

BINARY = str(SOP_CLASSES[SegmentationType.BINARY])
LABELMAP = str(LABEL_MAP_SEGMENTATION_STORAGE)
SR = OUTPUTS["sr"].sop_class_uid
RLE, PLAIN = str(RLELossless), str(ExplicitVRLittleEndian)
PICTURE = OUTPUTS["overlay"].sop_class_uid
RTSTRUCT = OUTPUTS["rtstruct"].sop_class_uid


class Asked:
    """A destination that takes these SOP classes; while it is away, nobody can ask it."""

    def __init__(self, *sop_classes: str, away: type[Away] | None = None, syntaxes: str = "") -> None:
        self.sop_classes, self.away, self.syntaxes, self.times = sop_classes, away, syntaxes, 0

    def __call__(self, forms: Collection[Form]) -> Taken:
        self.times += 1
        if self.away is not None:
            raise self.away("PACS@127.0.0.1:1 cannot be reached")
        taken = (
            form
            for form in forms
            if form.sop_class_uid in self.sop_classes
            and (not self.syntaxes or form.transfer_syntax_uid == self.syntaxes)
        )
        return Taken(frozenset(taken), Implementation("1.2.3"))


def auto(*names: str, outputs: Any = (), seg: Any = None) -> Config:
    destinations = [{"name": name, "folder": "/srv", "outputs": outputs or []} for name in names]
    return Config(
        destination=destinations,
        seg=seg or {"type": "auto"},
        rule=[{"name": "ct", "outputs": ["seg", "sr", "rtstruct"]}],
    )


def sent(site: Any) -> set[tuple[str, str, str]]:
    """Destination, output and SOP class of each delivery."""
    rows = site.ledger.read(
        "SELECT destination, output, sop_class_uid FROM deliveries JOIN result_objects"
        " USING (sop_instance_uid) WHERE is_current = 1 AND state = 'pending'"
    )
    return {(row["destination"], row["output"], row["sop_class_uid"]) for row in rows}


def again(site: Any, event: JobEvent | None = None) -> None:
    """Encode once more, as after a kill; with an event as a person asks for."""
    if event is not None:
        with site.ledger.transaction() as transaction:
            transaction.move_job(site.job().job_key, JobEvent.FAILED)
        with site.ledger.transaction() as transaction:
            transaction.move_job(site.job().job_key, event)
    with site.ledger.transaction() as transaction:
        transaction.execute("UPDATE jobs SET state = ?", (JobState.SEGMENTED,))
    site.encode(site.job())


def test_destinations_that_differ_get_each_its_own_form_and_the_report_that_refers_to_it(
    segmented: Any,
) -> None:
    takes = {"new": Asked(BINARY, LABELMAP, SR), "old": Asked(BINARY, SR)}
    site = segmented("seg", "sr", config=auto("new", "old"), takes=takes)
    site.encode(site.job())
    assert sent(site) == {
        ("new", "seg", LABELMAP),
        ("old", "seg", BINARY),
        ("new", "sr", SR),
        ("old", "sr", SR),
    }
    assert len(site.ledger.read("SELECT * FROM result_objects WHERE output = 'sr'")) == 2
    assert site.job().warnings == ()


@pytest.mark.parametrize(
    ("syntaxes", "syntax", "is_label_map"),
    [("1.2.840.10008.1.2.1", "", True), ("1.2.840.10008.1.2.1", "rle", False), ("1.2.3", "", False)],
    ids=["only uncompressed", "only as configured", "in none"],
)
def test_label_map_is_made_in_a_transfer_syntax_that_is_taken(
    segmented: Any, syntaxes: str, syntax: str, is_label_map: bool
) -> None:
    config = auto("pacs", seg={"type": "auto", "transfer_syntax": syntax})
    site = segmented("seg", config=config, takes={"pacs": Asked(LABELMAP, syntaxes=syntaxes)})
    site.encode(site.job())
    made = site.objects()["seg"]
    assert made.SOPClassUID == (LABELMAP if is_label_map else BINARY)
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_destination_that_is_away_gets_what_all_take_and_the_result_does_not_change_when_it_is_back(
    segmented: Any,
) -> None:
    pacs = Asked(BINARY, LABELMAP, away=Away)
    site = segmented("seg", "sr", config=auto("pacs", outputs="auto"), takes={"pacs": pacs})
    site.encode(site.job())
    before = sent(site)
    assert before == {("pacs", "seg", BINARY), ("pacs", "sr", SR)}
    (warning,) = site.job().warnings
    assert warning == (
        "pacs: it could not be asked what it takes (PACS@127.0.0.1:1 cannot be reached): "
        "every output is sent, the segmentation as BINARY"
    )
    first = {name: one.SOPInstanceUID for name, one in site.objects().items()}
    pacs.away = None
    again(site)
    assert {name: one.SOPInstanceUID for name, one in site.objects().items()} == first
    assert pacs.times == 1


def test_job_that_a_person_retries_asks_anew_and_forgets_what_was_said(
    segmented: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.making.allotment.RESTS_S", 0.0)
    pacs = Asked(BINARY, LABELMAP, away=Away)
    site = segmented("seg", config=auto("pacs"), takes={"pacs": pacs})
    site.encode(site.job())
    pacs.away = None
    again(site, JobEvent.RETRIED)
    assert site.objects()["seg"].SOPClassUID == LABELMAP
    assert site.job().warnings == ()


def learnt(site: Any, name: str, *forms: tuple[str, str, bool]) -> None:
    """The gateway knows, of a day or an earlier process, whether a destination takes these."""
    said = tuple(KnownForm(*form, "", "", utc_now()) for form in forms)
    with site.ledger.transaction() as transaction:
        learn(transaction, name, KnownDestination("", "", "", utc_now(), said))


def test_destination_that_was_asked_before_gets_the_same_while_it_is_away(segmented: Any) -> None:
    site = segmented("seg", config=auto("pacs"), takes={"pacs": Asked(away=Away)})
    learnt(site, "pacs", (LABELMAP, RLE, True), (LABELMAP, PLAIN, True), (BINARY, PLAIN, True))
    site.encode(site.job())
    assert site.objects()["seg"].SOPClassUID == LABELMAP


def labelmap(*names: str, outputs: Any = ()) -> Config:
    return auto(*names, outputs=outputs, seg={"type": "labelmap"})


@pytest.mark.parametrize("away", [None, Away], ids=["asked", "remembered"])
def test_destination_that_refuses_what_is_configured_gets_the_next_form_and_that_is_said(
    segmented: Any, away: type[Away] | None
) -> None:
    takes = {"old": Asked(BINARY, SR, away=away), "new": Asked(LABELMAP, SR)}
    site = segmented("seg", "sr", config=labelmap(*takes), takes=takes)
    learnt(site, "old", (LABELMAP, RLE, False), (LABELMAP, PLAIN, False), (BINARY, PLAIN, True))
    site.encode(site.job())
    assert sent(site) == {
        ("old", "seg", BINARY),
        ("new", "seg", LABELMAP),
        ("old", "sr", SR),
        ("new", "sr", SR),
    }
    assert site.job().warnings == (
        f"old: it does not take Label Map Segmentation Storage ({LABELMAP}): its segmentation is BINARY",
    )
    assert (takes["old"].times, takes["new"].times) == (1, 0)


def test_label_map_that_is_refused_in_rle_only_is_made_uncompressed(segmented: Any) -> None:
    pacs = Asked(LABELMAP, syntaxes=PLAIN)
    site = segmented("seg", config=labelmap("pacs"), takes={"pacs": pacs})
    learnt(site, "pacs", (LABELMAP, RLE, False))
    site.encode(site.job())
    assert site.objects()["seg"].file_meta.TransferSyntaxUID == PLAIN
    (said,) = site.job().warnings
    assert said.endswith(f"in RLE Lossless ({RLE}): its segmentation is uncompressed")


def test_destination_that_refused_and_takes_it_now_gets_what_is_configured(segmented: Any) -> None:
    site = segmented("seg", config=labelmap("pacs"), takes={"pacs": Asked(LABELMAP)})
    learnt(site, "pacs", (LABELMAP, RLE, False))
    site.encode(site.job())
    assert sent(site) == {("pacs", "seg", LABELMAP)}
    assert site.job().warnings == ()


def test_destination_that_takes_no_segmentation_gets_pictures_in_its_place_where_it_is_left_to_it(
    segmented: Any,
) -> None:
    takes = {"viewer": Asked(PICTURE), "pacs": Asked(BINARY, PICTURE)}
    config = auto(*takes, outputs="auto", seg={"type": "binary"})
    site = segmented("seg", config=config, takes=takes)
    site.encode(site.job())
    assert sent(site) == {
        ("viewer", "overlay", PICTURE),
        ("viewer", "summary", PICTURE),
        ("pacs", "seg", BINARY),
    }
    assert site.job().warnings == (
        "viewer: it does not take seg, left out for it; it gets overlay, summary instead of a segmentation",
    )
    numbers = {int(made.SeriesNumber) for made in site.objects().values()}
    assert len(numbers) == 3


def test_gateway_that_stops_while_it_asks_decides_nothing(segmented: Any) -> None:
    site = segmented("seg", config=auto("pacs"), takes={"pacs": Asked(away=CalledOff)})
    with pytest.raises(CalledOff):
        site.encode(site.job())
    assert site.ledger.read("SELECT * FROM events WHERE event = 'job.destination_asked'") == []


def test_output_that_a_destination_does_not_take_is_left_out_for_it_and_that_is_said(segmented: Any) -> None:
    takes = {"pacs": Asked(BINARY, SR), "other": Asked(BINARY, SR)}
    site = segmented(
        "seg", "sr", "rtstruct", config=auto("pacs", outputs="auto", seg={"type": "binary"}), takes=takes
    )
    site.encode(site.job())
    assert sent(site) == {("pacs", "seg", BINARY), ("pacs", "sr", SR)}
    assert set(site.objects()) == {"seg", "sr"}
    assert site.job().warnings == ("pacs: it does not take rtstruct, left out for it",)


def test_destination_that_takes_no_segmentation_is_not_said_to_get_one(segmented: Any) -> None:
    config = auto("pacs", outputs="auto")
    site = segmented("seg", "sr", "rtstruct", config=config, takes={"pacs": Asked(SR)})
    site.encode(site.job())
    assert site.job().warnings == ("pacs: it does not take seg, rtstruct, left out for it",)


def drawn(syntax: str, *names: str, outputs: Any = ()) -> Config:
    config = auto(*names, outputs=outputs, seg={"type": "binary"})
    return config.model_copy(update={"overlay": Overlay(transfer_syntax=syntax)})


def pictures_sent(site: Any) -> dict[str, set[str]]:
    """Destination to the transfer syntaxes of the pictures that go there."""
    rows = site.ledger.read(
        "SELECT destination, path FROM deliveries JOIN result_objects USING (sop_instance_uid)"
        " WHERE is_current = 1 AND state = 'pending' AND output = 'overlay'"
    )
    found: dict[str, set[str]] = {}
    for row in rows:
        syntax = dcmread(site.folder / row["path"], stop_before_pixels=True).file_meta.TransferSyntaxUID
        found.setdefault(row["destination"], set()).add(str(syntax))
    return found


@pytest.mark.parametrize("outputs", [(), "auto"], ids=["told", "asked"])
def test_destination_that_takes_pictures_uncompressed_only_gets_them_so_and_another_compressed(
    segmented: Any, outputs: Any
) -> None:
    takes = {
        "old": Asked(BINARY, PICTURE, syntaxes=ExplicitVRLittleEndian),
        "new": Asked(BINARY, PICTURE),
        "away": Asked(away=Away),
    }
    config = drawn("jpegls", *takes, outputs=outputs)
    site = segmented("overlay", config=config, takes=takes)
    site.encode(site.job())
    plain = {str(ExplicitVRLittleEndian)}
    assert pictures_sent(site) == {"old": plain, "new": {str(JPEGLSLossless)}, "away": plain}
    assert [each.split(":")[0] for each in site.job().warnings] == ["away"]
    again(site)
    assert [each.times for each in takes.values()] == [1, 1, 1]


def test_pictures_are_made_in_the_smallest_syntax_that_is_taken_where_that_is_left_to_the_destination(
    segmented: Any,
) -> None:
    takes = {"rle": Asked(PICTURE, syntaxes=RLELossless), "all": Asked(PICTURE), "none": Asked()}
    site = segmented("overlay", config=drawn("auto", *takes), takes=takes)
    site.encode(site.job())
    rle, jpegls, plain = (str(uid) for uid in (RLELossless, JPEGLSLossless, ExplicitVRLittleEndian))
    assert pictures_sent(site) == {"rle": {rle}, "all": {jpegls}, "none": {plain}}


def test_pictures_for_nobody_are_made_as_they_are_configured(segmented: Any) -> None:
    site = segmented("overlay", config=drawn("rle"))
    site.encode(site.job())
    assert site.objects()["overlay"].file_meta.TransferSyntaxUID == RLELossless


def test_destination_that_rests_after_it_was_away_is_said_to_be_away(segmented: Any) -> None:
    pacs = Asked(BINARY, away=Away)
    site = segmented("seg", config=auto("pacs"), takes={"pacs": pacs})
    site.encode(site.job())
    first = site.job().warnings
    again(site, JobEvent.RETRIED)
    assert pacs.times == 1
    assert site.job().warnings == first


def test_segmentation_that_is_taken_as_label_map_only_is_not_left_out(segmented: Any) -> None:
    site = segmented("seg", config=auto("pacs", outputs="auto"), takes={"pacs": Asked(LABELMAP)})
    site.encode(site.job())
    assert sent(site) == {("pacs", "seg", LABELMAP)}


def test_destination_that_takes_nothing_is_sent_everything_so_that_it_refuses_it_aloud(
    segmented: Any,
) -> None:
    site = segmented("seg", "sr", config=auto("pacs", outputs="auto"), takes={"pacs": Asked()})
    site.encode(site.job())
    assert sent(site) == {("pacs", "seg", BINARY), ("pacs", "sr", SR)}


def test_nobody_is_asked_where_nothing_is_left_to_the_destination(segmented: Any) -> None:
    pacs = Asked(LABELMAP)
    site = segmented("seg", config=auto("pacs", seg={"type": "binary"}), takes={"pacs": pacs})
    site.encode(site.job())
    assert pacs.times == 0


def test_outputs_are_of_the_sop_classes_that_the_catalogue_names(segmented: Any) -> None:
    named = {name: facts.sop_class_uid for name, facts in OUTPUTS.items() if not facts.files}
    site = segmented(*named)
    site.encode(site.job())
    assert {name: str(made.SOPClassUID) for name, made in site.objects().items()} == named
