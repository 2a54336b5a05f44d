"""What a DICOMweb service may answer, and what then becomes of an object (PS3.18 10.5)."""

import base64
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RTStructureSetStorage,
    SegmentationStorage,
)

from converter.seg.settings import LABEL_MAP_SEGMENTATION_STORAGE as LABEL_MAP
from gateway.adapters.errors import Away, CalledOff, Unanswered
from gateway.config import Destination
from gateway.config.outputs import Form
from gateway.delivery.carriers import stow
from gateway.delivery.carriers.carrier import Outcome
from gateway.delivery.carriers.stow import StowCarrier
from tests.certificates import Authority
from tests.doubles.dicomweb_server import DicomWebServer, Said, both, failed, served, stored
from tests.unit.delivery.test_carriers import write_seg

UID = "2.25.7"
SECRET = "s3cret-word"


@pytest.fixture
def seg(tmp_path: Path) -> Path:
    return write_seg(tmp_path / "seg.dcm")


@pytest.fixture
def service() -> Iterator[DicomWebServer]:
    with served(DicomWebServer()) as service:
        yield service


@pytest.fixture
def carrier_of(service: DicomWebServer) -> Callable[..., StowCarrier]:
    def make(**keys: Any) -> StowCarrier:
        return StowCarrier(Destination(**{"name": "web", "stow": service.url, **keys}))

    return make


@pytest.fixture
def carrier(carrier_of: Callable[..., StowCarrier]) -> StowCarrier:
    return carrier_of()


@pytest.mark.parametrize(
    ("said", "outcome", "words"),
    [
        (Said(200, stored(UID)), Outcome.ARRIVED, "0x0000: stored"),
        (Said(200, [stored(UID)]), Outcome.ARRIVED, "0x0000: stored"),
        (
            Said(202, stored(UID, warning=0xB000)),
            Outcome.ARRIVED,
            "0xB000: stored, with data elements changed",
        ),
        (Said(202, stored(UID, warning=0xB006)), Outcome.ARRIVED, "without some of its data elements"),
        (Said(202, stored(UID, warning=0xB007)), Outcome.ARRIVED, "does not match its SOP class"),
        (Said(409, failed(UID, 0xA700)), Outcome.AGAIN, "out of resources"),
        (Said(409, failed(UID)), Outcome.AGAIN, "0x0110"),
        (Said(200, failed(UID, 0xA900)), Outcome.REFUSED, "does not match its SOP class; settle it there"),
        (Said(202, failed(UID, 0xC000)), Outcome.REFUSED, "cannot understand"),
        (Said(409, failed(UID, 0xC122)), Outcome.NOT_TAKEN, "does not support the transfer syntax"),
        (Said(409, failed(UID, 0x0122)), Outcome.NOT_TAKEN, "does not support the SOP class"),
        (Said(400, b"<html>"), Outcome.REFUSED, "answered 400: it refuses the object"),
        (Said(409, b""), Outcome.REFUSED, "see its log"),
        (Said(413, b""), Outcome.REFUSED, "longer than it takes; raise the limit there"),
        (Said(415, b""), Outcome.NOT_TAKEN, "does not take the transfer syntax"),
        (Said(500, b"John Doe"), Outcome.UNKNOWN, "answered 500: it failed to store the object"),
        (Said(200, b"<html>sign in</html>"), Outcome.UNKNOWN, "a search does not show it"),
        (Said(200, {"00081199": {"Value": ["?"]}}), Outcome.UNKNOWN, "a search does not show it"),
        (Said(200, stored("1.2.3")), Outcome.UNKNOWN, "a search does not show it"),
        (Said(200, b"[" * 100_000), Outcome.UNKNOWN, "a search does not show it"),
        (Said(-1), Outcome.UNKNOWN, "broke off; see its log"),
    ],
)
def test_answer_is_understood_for_the_object(
    service: DicomWebServer, carrier: StowCarrier, seg: Path, said: Said, outcome: Outcome, words: str
) -> None:
    service.say(said)
    receipt = carrier.carry(seg)
    assert (receipt.outcome, words in receipt.sentence) == (outcome, True), receipt
    assert "John" not in receipt.sentence
    (post,) = service.posts
    assert post.path == "/dicom-web/studies"
    assert post.parts() == [seg.read_bytes()]


@pytest.mark.parametrize("status", [301, 308, 401, 403, 404, 405, 408, 429, 501, 502, 503, 504, 507])
def test_answer_that_any_object_would_get_is_waited_out(
    service: DicomWebServer, carrier: StowCarrier, seg: Path, status: int
) -> None:
    service.say(Said(status, b"", {"Location": "http://127.0.0.1:1/elsewhere"}), Said(200, stored(UID)))
    with pytest.raises(Away, match=f"^STOW-RS at {service.url} answered {status}: it .*"):
        carrier.carry(seg)
    assert carrier.carry(seg).outcome is Outcome.ARRIVED


@pytest.mark.parametrize(
    ("answer", "search_status"), [(Said(504, b""), 200), (Said(409, failed(UID, 0x0111)), -1)]
)
def test_service_that_leaves_open_whether_it_has_the_object_may_have_it(
    service: DicomWebServer, carrier: StowCarrier, seg: Path, answer: Said, search_status: int
) -> None:
    service.say(answer)
    service.search_status = search_status
    with suppress(Unanswered):
        assert carrier.carry(seg).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("wait", ["120", "date"])
def test_service_that_asks_for_time_is_not_asked_before(
    service: DicomWebServer, carrier: StowCarrier, seg: Path, wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)
    service.say(Said(429, b"", {"Retry-After": until if wait == "date" else wait}))
    for _ in range(2):
        with pytest.raises(Away, match=r"asks us to wait 1(19|20) s"):
            carrier.carry(seg)
    assert len(service.posts) == 1
    now_s = stow.time.monotonic()
    monkeypatch.setattr(stow.time, "monotonic", lambda: now_s + 121)
    service.say(Said(200, stored(UID)))
    assert carrier.carry(seg).outcome is Outcome.ARRIVED


@pytest.mark.parametrize(
    ("holds", "search_status", "outcome"),
    [([UID], 200, Outcome.ARRIVED), ([], 200, Outcome.UNKNOWN), ([], 404, Outcome.ARRIVED)],
)
def test_duplicate_counts_as_arrived_unless_a_search_does_not_show_it(
    service: DicomWebServer,
    carrier: StowCarrier,
    seg: Path,
    holds: list[str],
    search_status: int,
    outcome: Outcome,
) -> None:
    service.say(Said(409, failed(UID, 0x0111)))
    service.holds, service.search_status = holds, search_status
    assert carrier.carry(seg).outcome is outcome
    assert "/studies/1.2.3/series/1.2.3.9/instances?" in service.asked[-1].path


def test_service_that_is_not_there_is_waited_for(seg: Path) -> None:
    carrier = StowCarrier(Destination(name="web", stow="http://127.0.0.1:1/dicom-web"))
    for call in (carrier.check, lambda: carrier.carry(seg)):
        with pytest.raises(Away, match="does not answer; see whether it runs"):
            call()


def test_request_that_waits_is_broken_off_and_none_follows(
    service: DicomWebServer, carrier: StowCarrier, seg: Path
) -> None:
    service.waits = threading.Event()
    ends: list[BaseException] = []

    def carry() -> None:
        try:
            carrier.carry(seg)
        except Away as error:
            ends.append(error)

    thread = threading.Thread(target=carry)
    thread.start()
    assert service.is_held.wait(120)
    carrier.interrupt()
    thread.join(120)
    service.waits.set()
    assert not thread.is_alive()
    with pytest.raises(CalledOff):
        carrier.carry(seg)
    assert [type(end) for end in ends] == [CalledOff]
    assert len(service.posts) == 1


# -- several at once --------------------------------------------------------------------------------------


@pytest.fixture
def segs(tmp_path: Path) -> list[Path]:
    return [write_seg(tmp_path / f"{number}.dcm", uid=f"2.25.{number}") for number in range(4)]


def test_objects_go_by_one_request_as_far_as_there_is_room_and_each_has_its_answer(
    service: DicomWebServer, carrier: StowCarrier, segs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "_room_bytes", 3 * segs[0].stat().st_size)
    service.say(Said(202, both(stored("2.25.0"), failed("2.25.1", 0xC000))))
    receipts = carrier.carry_some(carrier.room_for(segs))
    (post,) = service.posts
    assert post.parts() == [path.read_bytes() for path in segs[:3]]
    assert {path: receipt.outcome for path, receipt in receipts.items()} == {
        segs[0]: Outcome.ARRIVED,
        segs[1]: Outcome.REFUSED,
    }


@pytest.mark.parametrize("said", [Said(413, b""), Said(400, b""), Said(-1)])
def test_request_that_is_refused_as_a_whole_says_nothing_of_its_objects_and_makes_later_ones_smaller(
    service: DicomWebServer,
    carrier: StowCarrier,
    segs: list[Path],
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(carrier, "_room_bytes", 4 * segs[0].stat().st_size)
    service.say(said)
    sizes = []
    for _ in range(3):
        service.asked.clear()
        sizes.append(len(together := carrier.room_for(segs)))
        assert len(together) == 1 or carrier.carry_some(together) == {}
    assert sizes == [4, 2, 1]


def test_one_that_is_no_dicom_among_others_goes_alone(
    service: DicomWebServer, carrier: StowCarrier, segs: list[Path]
) -> None:
    segs[1].write_bytes(b"not DICOM")
    assert carrier.carry_some(segs) == {}
    assert carrier.carry(segs[1]).outcome is Outcome.REFUSED
    assert service.asked == []


# -- forms ------------------------------------------------------------------------------------------------


def test_service_takes_what_each_has_to_know(carrier: StowCarrier) -> None:
    known = {
        Form(SegmentationStorage, ExplicitVRLittleEndian),
        Form(RTStructureSetStorage, ImplicitVRLittleEndian),
    }
    unknown = {Form(LABEL_MAP, ExplicitVRLittleEndian), Form(SegmentationStorage, JPEGLSLossless)}
    assert carrier.takes([*known, *unknown]).forms == known


def test_object_in_implicit_vr_goes_in_explicit_vr_and_is_the_same(
    service: DicomWebServer, carrier: StowCarrier, seg: Path
) -> None:
    dataset = dcmread(seg)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.save_as(seg, implicit_vr=True, little_endian=True)
    service.say(Said(200, stored(UID)))
    assert carrier.carry(seg).outcome is Outcome.ARRIVED
    (sent,) = service.posts[0].parts()
    received = dcmread(BytesIO(sent))
    assert received.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert received == dcmread(seg)


# -- who we are -------------------------------------------------------------------------------------------


def test_token_is_read_from_its_file_at_each_request(
    service: DicomWebServer, carrier_of: Callable[..., StowCarrier], seg: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    carrier = carrier_of(token_file=str(token))
    with pytest.raises(Away, match=r"token cannot be read .*; put it there"):
        carrier.carry(seg)
    service.say(Said(200, stored(UID)))
    for word in (SECRET, "another"):
        token.write_text(f"{word}\n")
        carrier.carry(seg)
    assert [post.headers["Authorization"] for post in service.posts] == [f"Bearer {SECRET}", "Bearer another"]


def test_user_and_password_go_as_basic_authentication(
    service: DicomWebServer, carrier_of: Callable[..., StowCarrier], seg: Path, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("pässword")
    carrier_of(user="iris", password_file=str(tmp_path / "password")).carry(seg)
    scheme, _, both = service.posts[0].headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(both).decode()) == ("Basic", "iris:pässword")


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines s3cret-word", b"\xff\xfes3cret-word"])
def test_file_that_holds_no_secret_is_named_and_not_shown(
    service: DicomWebServer, carrier_of: Callable[..., StowCarrier], seg: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(Away, match=r"token .*; write") as away:
        carrier_of(token_file=str(tmp_path / "token")).carry(seg)
    assert SECRET not in str(away.value)
    assert service.asked == []


@pytest.mark.parametrize("status", [401, 503])
def test_secret_stands_in_no_sentence(
    service: DicomWebServer, carrier_of: Callable[..., StowCarrier], seg: Path, tmp_path: Path, status: int
) -> None:
    (tmp_path / "token").write_text(SECRET)
    service.say(Said(status, SECRET.encode()))
    carrier = carrier_of(token_file=str(tmp_path / "token"))
    with pytest.raises(Away) as away:
        carrier.carry(seg)
    assert SECRET not in f"{away.value} {carrier} {away.value.__context__!r}"


def test_service_is_known_by_its_certificate_and_knows_us_by_ours(seg: Path, tmp_path: Path) -> None:
    authority, other = Authority(tmp_path, "authority"), Authority(tmp_path, "other")
    theirs, ours = authority.sign("service"), authority.sign("iris")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*theirs)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    with served(DicomWebServer(lambda _: Said(200, stored(UID))), context) as service:

        def carrier(url: str, ca: Path, *own: Path) -> StowCarrier:
            keys = dict(zip(("certificate", "key"), map(str, own), strict=False))
            return StowCarrier(Destination(name="web", stow=url, tls={"ca": str(ca), **keys}))

        assert carrier(service.url, authority.certificate, *ours).carry(seg).outcome is Outcome.ARRIVED
        with pytest.raises(
            Away, match="cannot be called by TLS: its certificate is not signed by whom we trust"
        ):
            carrier(service.url, other.certificate, *ours).carry(seg)
        elsewhere = service.url.replace("127.0.0.1", "localhost")
        with pytest.raises(Away, match=r"TLS: .*mismatch"):
            carrier(elsewhere, authority.certificate, *ours).carry(seg)
        without = carrier(service.url, authority.certificate).carry
        try:
            assert without(seg).outcome is Outcome.UNKNOWN  # it hung up before its alert was read
        except Away as away:
            assert "refuses our certificate" in str(away)  # noqa: PT017
        assert len(service.posts) == 1


# -- looked at --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said"), [(200, "answers a search"), (204, "answers a search"), (404, "takes objects")]
)
def test_check_stores_nothing_and_names_no_study_that_there_is(
    service: DicomWebServer, carrier: StowCarrier, status: int, said: str
) -> None:
    service.search_status = status
    assert said in carrier.check()
    assert service.posts == []


@pytest.mark.parametrize(("status", "fix"), [(401, "renew what token_file"), (500, "see its log")])
def test_check_says_what_is_wrong_and_the_fix(
    service: DicomWebServer, carrier: StowCarrier, status: int, fix: str
) -> None:
    service.search_status = status
    with pytest.raises(Away, match=f"answered {status}: it .*; .*{fix}|answered {status}: .*; {fix}"):
        carrier.check()


# -- removing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ([Said(204)], ["DELETE"]),
        ([Said(405), Said(204)], ["DELETE", "POST"]),  # dcm4chee-arc rejects
        ([Said(404)], ["DELETE"]),  # and a search does not show it
    ],
)
def test_object_is_deleted_or_rejected_or_was_not_there(
    service: DicomWebServer, carrier: StowCarrier, seg: Path, answers: list[Said], asked: list[str]
) -> None:
    service.holds = [UID] if len(answers) > 1 else []
    service.say(*answers)
    assert carrier.remove(seg).outcome is Outcome.ARRIVED
    assert [one.method for one in service.asked if one.method != "GET"] == asked
    if len(asked) > 1:
        assert service.posts[0].path.endswith(f"/instances/{UID}/reject/113001%5EDCM")


def test_service_that_removes_nothing_is_said_and_one_that_is_busy_is_asked_again(
    service: DicomWebServer, carrier: StowCarrier, seg: Path
) -> None:
    service.holds = [UID]
    service.say(Said(405))
    assert carrier.remove(seg).outcome is Outcome.REFUSED
    service.say(Said(503))
    with pytest.raises(Away, match="takes nothing now"):
        carrier.remove(seg)
