"""DICOM objects by STOW-RS: what is answered, what is kept, and what broken requests leave (PS3.18 10.5)."""

import copy
import errno
import io
import json
import os
import re
import socket
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom.sop_class import Verification

from gateway.api.app import create_api
from gateway.api.callers.access import Access
from gateway.api.ledger_actions import LedgerActions
from gateway.api.ledger_store import LedgerStore
from gateway.api.probes.readiness import Readiness
from gateway.api.server import ApiServer
from gateway.demo.orthanc import Orthanc, find_orthanc
from gateway.events import AssociationClosed
from gateway.listener.intake.incoming import IncomingFile
from gateway.listener.statuses import (
    CANNOT_UNDERSTAND,
    KEPT_ASIDE,
    NOT_OF_THIS_STUDY,
    OUT_OF_RESOURCES,
    TOO_LONG,
)
from tests.conftest import find_dicomweb
from tests.nifti import uploads_of

SENDER, ADMIN = "a-sender-token", "an-admin-token"
BOUNDARY = "the-boundary"
HEADERS = {
    "Authorization": f"Bearer {SENDER}",
    "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
}


@dataclass
class Site:
    """A listener, and the API that is its second door."""

    gate: Any
    address: tuple[str, int]
    client: httpx.Client

    @property
    def url(self) -> str:
        return "http://{}:{}/dicom-web".format(*self.address)

    def post(self, body: Any, study_uid: str = "", **headers: str) -> httpx.Response:
        path = f"/studies/{study_uid}" if study_uid else "/studies"
        return self.client.post(self.url + path, content=body, headers=HEADERS | headers)

    @contextmanager
    def begun(self, sent: bytes) -> Iterator[socket.socket]:
        """A request whose body has begun so, and is not over."""
        with socket.create_connection(self.address, timeout=60) as peer:
            head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
            peer.sendall(f"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n{head}".encode())
            peer.sendall(b"Content-Length: 100000000\r\n\r\n" + sent)
            yield peer

    def endings(self) -> list[tuple[bool, frozenset[str]]]:
        """How requests ended, and the studies that they touched."""
        heard = [event for event in self.gate.heard if isinstance(event, AssociationClosed)]
        return [(event.released, event.study_uids) for event in heard]


@pytest.fixture
def make_site(make_gate: Callable[..., Any]) -> Iterator[Callable[..., Site]]:
    servers = []
    client = httpx.Client(trust_env=False, verify=False, timeout=30)  # it loads no certificates

    def make(access: Access | None = None, **given: Any) -> Site:
        gate = make_gate(**given)
        api = create_api(
            LedgerStore(gate.ledger),
            LedgerActions(gate.ledger),
            lambda: Readiness(True),
            None,
            access or Access(ADMIN, SENDER),
            None,  # type: ignore[arg-type]
            uploads_of(gate.ledger, gate.data_dir),
            door=gate.listener.state,
            stow=gate.listener.stow,
        )
        server = ApiServer(api, "127.0.0.1", 0)
        server.start()
        servers.append(server)
        return Site(gate, server.address, client)

    yield make
    client.close()
    for server in servers:
        server.stop()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


@pytest.fixture
def slices(small_study: Path) -> list[Dataset]:
    """Eight uncompressed CT slices."""
    return [dcmread(path) for path in sorted(small_study.iterdir())]


def _file(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def _part(content: bytes, media_type: str = "application/dicom") -> bytes:
    return f"--{BOUNDARY}\r\nContent-Type: {media_type}\r\n\r\n".encode() + content + b"\r\n"


def _body(*contents: bytes) -> bytes:
    return b"".join(map(_part, contents)) + f"--{BOUNDARY}--\r\n".encode()


def _answered(answer: httpx.Response) -> dict[str, list[tuple[str, int | None]]]:
    """Instance UID and reason of each item, by sequence."""
    module = Dataset.from_json(answer.json())
    return {
        name: [
            (item.get("ReferencedSOPInstanceUID", ""), item.get("FailureReason", item.get("WarningReason")))
            for item in module.get(name, ())
        ]
        for name in ("ReferencedSOPSequence", "FailedSOPSequence", "OtherFailuresSequence")
        if name in module
    }


def _uids(datasets: Sequence[Dataset]) -> set[str]:
    return {str(dataset.SOPInstanceUID) for dataset in datasets}


# -- stored -----------------------------------------------------------------------------------------------


def test_study_of_a_real_client_is_stored_and_its_request_is_a_release(
    site: Site, slices: list[Dataset]
) -> None:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {SENDER}"
    client = DICOMwebClient(site.url, session=session)
    study_uid = str(slices[0].StudyInstanceUID)
    answer = client.store_instances(slices, study_instance_uid=study_uid)
    assert {item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence} == _uids(slices)
    assert "FailedSOPSequence" not in answer
    assert {row.sop_instance_uid for row in site.gate.instances()} == _uids(slices)
    assert {row.sender for row in site.gate.instances()} == {"sender-token"}
    assert site.endings() == [(True, frozenset({study_uid}))]
    assert [line.event for line in site.gate.timeline()][-1] == "association.released"
    assert site.gate.files("incoming") == []


@pytest.mark.peer("orthanc", "orthanc-dicomweb")
def test_orthanc_sends_a_study_as_documented(site: Site, slices: list[Dataset], tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "pacs.md").read_text(encoding="utf-8")
    (found,) = [block for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL) if "DicomWeb" in block]
    found = found.replace("https://iris.example/dicom-web", site.url)
    found = found.replace("A-TOKEN-OF-THE-ROLE-sender", SENDER)
    program, plugin = find_orthanc(), find_dicomweb()
    assert program
    configuration = {**json.loads(found), "Plugins": [plugin]}
    orthanc = Orthanc(tmp_path / "orthanc", program, configuration=configuration)
    try:
        orthanc.start()
        base, auth = orthanc.rest
        with httpx.Client(base_url=base, auth=auth, trust_env=False, timeout=30) as rest:
            for dataset in slices:
                assert rest.post("/instances", content=_file(dataset)).is_success
            job = {"Resources": rest.get("/studies").json()}
            assert rest.post("/dicom-web/servers/iris/stow", json=job).is_success, orthanc.log.read_text()
    finally:
        orthanc.stop()
    assert {row.sop_instance_uid for row in site.gate.instances()} == _uids(slices)
    assert site.endings() == [(True, frozenset({str(slices[0].StudyInstanceUID)}))]


def test_object_that_almost_holds_the_boundary_is_kept_as_it_was_sent(
    site: Site, slices: list[Dataset]
) -> None:
    traps = f"\r\n--{BOUNDARY[:-1]}\r\n--{BOUNDARY}x\r\n--\r\r\n{BOUNDARY}\r\n--{BOUNDARY}-\r\n".encode()
    contents = set()
    for piece_bytes, dataset in zip((1, 37, 4096), slices, strict=False):
        dataset.Rows, dataset.Columns = 4, 64
        dataset.PixelData = (traps * 9)[:512]
        contents.add(content := _file(dataset))
        body = _body(content)
        pieces = (body[start : start + piece_bytes] for start in range(0, len(body), piece_bytes))
        assert site.post(pieces).status_code == 200
    assert {path.read_bytes() for path in site.gate.files("instances")} == contents


def test_answer_in_xml_says_the_same_as_in_json(site: Site, slices: list[Dataset]) -> None:
    body = _body(_file(slices[0]), b"no DICOM")
    answer = site.post(body, Accept="application/dicom+xml, application/dicom+json;q=0.5")
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/dicom+xml")
    space = {"": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}
    root = ElementTree.fromstring(answer.content)
    stored = root.findall("./DicomAttribute[@keyword='ReferencedSOPSequence']/Item", space)
    (uid,) = stored[0].findall("./DicomAttribute[@tag='00081155']/Value", space)
    (reason,) = root.findall(".//DicomAttribute[@keyword='FailureReason']/Value", space)
    assert (uid.text, reason.text) == (slices[0].SOPInstanceUID, str(CANNOT_UNDERSTAND))
    assert _answered(site.post(body)) == {
        "ReferencedSOPSequence": [(uid.text, None)],
        "OtherFailuresSequence": [("", CANNOT_UNDERSTAND)],
    }


def test_many_parts_are_each_answered(site: Site, slices: list[Dataset]) -> None:
    reports = [_report(slices[0], number) for number in range(40)]
    answer = site.post(_body(*map(_file, reports)))
    assert answer.status_code == 200
    assert {uid for uid, _ in _answered(answer)["ReferencedSOPSequence"]} == _uids(reports)
    assert len(site.gate.files("instances")) == 40


@pytest.mark.long
def test_a_thousand_parts_are_each_answered(site: Site, slices: list[Dataset]) -> None:
    contents = [_file(_report(slices[0], number)) for number in range(1000)]
    answer = site.post(_body(*contents))
    assert len(_answered(answer)["ReferencedSOPSequence"]) == 1000
    assert {path.read_bytes() for path in site.gate.files("instances")} == set(contents)


def _report(ct: Dataset, number: int) -> Dataset:
    report = Dataset()
    report.file_meta = copy.deepcopy(ct.file_meta)
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", f"1.2.3.4.{number}"
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    report.StudyInstanceUID, report.SeriesInstanceUID = ct.StudyInstanceUID, "1.2.3.5"
    report.Modality, report.PatientID = "SR", "SMALL-1"
    return report


def test_file_without_a_right_length_of_its_meta_information_is_told_from_its_correction(
    site: Site, slices: list[Dataset]
) -> None:
    for name in ("Before^Correction", "After^Correction"):
        slices[0].PatientName = name
        content = _file(slices[0])
        without = content[:132] + content[144:]  # PS3.10 7.1: the group length comes first
        assert site.post(_body(without)).status_code == 200
    first, second = site.gate.instances()
    assert (first.revision, second.revision) == (1, 2)
    assert first.pixel_sha256 == second.pixel_sha256
    assert first.header_sha256 != second.header_sha256


# -- refused, or kept aside -------------------------------------------------------------------------------


def test_damaged_and_foreign_parts_do_not_keep_the_others_out(site: Site, slices: list[Dataset]) -> None:
    torn = _file(slices[1])[:-1000]
    body = (
        _part(_file(slices[0]))
        + _part(torn)
        + _part(b"not DICOM at all")
        + _part(b"{}", "application/dicom+json")
        + _body(_file(slices[2]))
    )
    answer = site.post(body)
    assert answer.status_code == 202
    assert _answered(answer) == {
        "ReferencedSOPSequence": [
            (slices[0].SOPInstanceUID, None),
            (slices[1].SOPInstanceUID, KEPT_ASIDE),
            (slices[2].SOPInstanceUID, None),
        ],
        "OtherFailuresSequence": [("", CANNOT_UNDERSTAND)] * 2,
    }
    assert sorted(row.reason for row in site.gate.quarantine()) == ["not_dicom", "pixels_cut_short"]
    assert site.endings()[0][0]  # it was all there was to come


def test_object_with_a_transfer_syntax_that_is_none_is_not_taken(site: Site, slices: list[Dataset]) -> None:
    slices[0].file_meta.TransferSyntaxUID = "1.2.3"
    stream = io.BytesIO()
    dcmwrite(stream, slices[0], implicit_vr=False, little_endian=True)
    answer = site.post(_body(stream.getvalue()))
    assert answer.status_code == 409
    assert "1 not taken: cannot be parsed" in answer.headers["warning"]
    assert _answered(answer) == {
        "FailedSOPSequence": [(slices[0].SOPInstanceUID, CANNOT_UNDERSTAND)],
    }


def test_object_of_another_study_than_the_address_says_fails(site: Site, slices: list[Dataset]) -> None:
    slices[1].StudyInstanceUID = other = generate_uid()
    answer = site.post(_body(_file(slices[0]), _file(slices[1])), other)
    assert answer.status_code == 202
    assert _answered(answer) == {
        "ReferencedSOPSequence": [(slices[1].SOPInstanceUID, None)],
        "FailedSOPSequence": [(slices[0].SOPInstanceUID, NOT_OF_THIS_STUDY)],
    }
    assert answer.headers["warning"] == (
        '299 iris "of 2 parts: 1 not taken: of another study than the address says (0xC409)"'
    )
    assert {row.reason for row in site.gate.quarantine()} == {"another_study"}


@pytest.mark.parametrize("study", ["abc", "not.a.uid", "1.2..3", f"1.{'2' * 63}"])
def test_address_without_a_uid_is_refused_and_nothing_is_read(
    site: Site, slices: list[Dataset], study: str
) -> None:
    answer = site.post(_body(_file(slices[0])), study)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "is no UID" in answer.json()["detail"]
    assert site.gate.quarantine() == site.gate.instances() == []


def test_body_of_another_type_is_refused(site: Site, slices: list[Dataset]) -> None:
    for header in (
        {"Content-Type": "application/dicom"},
        {"Content-Type": ""},
        {"Content-Type": "multipart/form-data; boundary=b"},
        {"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=b'},
        {"Content-Type": 'multipart/related; type="application/dicom"'},
        {"Content-Type": f'multipart/related; type="application/dicom"; boundary={"b" * 257}'},
        {"Content-Encoding": "gzip"},
    ):
        answer = site.post(_body(_file(slices[0])), **header)
        assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json")
    assert site.gate.instances() == []


def test_answer_in_a_type_that_there_is_not_is_refused(site: Site, slices: list[Dataset]) -> None:
    assert site.post(_body(_file(slices[0])), Accept="text/html").status_code == 406
    assert site.gate.instances() == []


def test_body_without_a_part_is_bad(site: Site) -> None:
    for body in ("", "no boundary at all", f"--{BOUNDARY}--\r\n", f"--{BOUNDARY}\r\nbad header"):
        answer = site.post(body.encode())
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
        assert "part" in answer.json()["detail"]
    assert site.endings() == []


# -- whose request it is ----------------------------------------------------------------------------------


def test_sender_token_opens_nothing_else(site: Site) -> None:
    def ask(method: str, path: str) -> int:
        url = site.url.removesuffix("/dicom-web") + path
        return site.client.request(method, url, headers={"Authorization": f"Bearer {SENDER}"}).status_code

    for path in (
        "/api/v1/studies",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/dicom-web",
        "/dicom-web/studiesx",
    ):
        assert ask("GET", path) == 403
    assert ask("POST", "/api/v1/nifti") == 403
    assert ask("GET", "/dicom-web/studies") == 403
    assert ask("GET", "/") == 401  # the page has no use for it


def test_request_without_the_token_is_refused(site: Site, slices: list[Dataset]) -> None:
    for authorization in ("", "Bearer wrong", f"Basic {SENDER}", "Bearer"):
        answer = site.post(_body(_file(slices[0])), Authorization=authorization)
        assert answer.status_code == 401
        assert "sender-token" in answer.json()["detail"]
    assert site.gate.instances() == []
    turned_away = site.gate.listener.turned_away.last()
    assert [(incident.what, incident.address) for incident in turned_away] == [("rejected", "127.0.0.1")] * 4
    assert "it gave no token" in turned_away[0].why


def test_admin_may_send_and_is_named(site: Site, slices: list[Dataset]) -> None:
    assert site.post(_body(_file(slices[0])), Authorization=f"Bearer {ADMIN}").status_code == 200
    assert [row.sender for row in site.gate.instances()] == ["admin-token"]


def test_where_no_token_is_asked_for_anyone_may_send(
    make_site: Callable[..., Site], slices: list[Dataset]
) -> None:
    site = make_site(Access(None))
    assert site.post(_body(_file(slices[0])), Authorization="").status_code == 200
    assert [row.sender for row in site.gate.instances()] == ["anyone"]


# -- broken off -------------------------------------------------------------------------------------------


def test_request_without_its_closing_boundary_is_an_abort(site: Site, slices: list[Dataset]) -> None:
    torn = _part(_file(slices[0])) + _part(_file(slices[1]))[:-2000]
    answer = site.post(torn)
    assert answer.status_code == 202
    assert _answered(answer) == {
        "ReferencedSOPSequence": [(slices[0].SOPInstanceUID, None)],
        "OtherFailuresSequence": [("", CANNOT_UNDERSTAND)],
    }
    assert site.endings() == [(False, frozenset({str(slices[0].StudyInstanceUID)}))]
    assert site.gate.files("incoming") == []


def test_request_of_too_many_parts_is_read_no_further(
    site: Site, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.stow.parts.MOST_PARTS", 2)
    assert site.post(_body(*map(_file, slices[:3]))).status_code == 202
    assert {row.sop_instance_uid for row in site.gate.instances()} == _uids(slices[:2])
    assert [released for released, _ in site.endings()] == [False]


def test_body_that_breaks_in_the_middle_keeps_what_came_before(site: Site, slices: list[Dataset]) -> None:
    broken = _part(_file(slices[0])) + f"--{BOUNDARY}\r\n\0: x\r\n\r\n".encode() + _body(_file(slices[1]))
    answer = site.post(broken)
    assert answer.status_code == 202
    assert {row.sop_instance_uid for row in site.gate.instances()} == _uids(slices[:1])
    assert [released for released, _ in site.endings()] == [False]


def test_request_whose_connection_breaks_is_an_abort_and_leaves_nothing_half(
    site: Site, slices: list[Dataset]
) -> None:
    study_uid = str(slices[0].StudyInstanceUID)
    with site.begun(_part(_file(slices[0])) + _part(_file(slices[1]))[:-2000]):
        site.gate.wait_for(lambda: site.gate.listener.has_open_association(study_uid))
    site.gate.wait_for(site.endings)
    assert site.endings() == [(False, frozenset({study_uid}))]
    assert not site.gate.listener.has_open_association(study_uid)
    assert site.gate.files("incoming") == []
    (incident,) = site.gate.listener.turned_away.last()
    assert (incident.what, incident.calling_ae_title, incident.address) == (
        "aborted",
        "sender-token",
        "127.0.0.1",
    )


# -- no room ----------------------------------------------------------------------------------------------


def test_disk_under_its_mark_takes_no_request(make_site: Callable[..., Site], slices: list[Dataset]) -> None:
    site = make_site(low_water_mb=10**9)
    answer = site.post(_body(_file(slices[0])))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert site.gate.instances() == []
    assert [incident.what for incident in site.gate.listener.turned_away.last()] == ["rejected"]


def test_disk_that_runs_full_leaves_the_object_to_its_sender(
    site: Site, slices: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: IncomingFile) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(IncomingFile, "make_durable", full)
        answer = site.post(_body(_file(slices[0])))
    assert answer.status_code == 503
    assert [reason for each in _answered(answer).values() for _, reason in each] == [OUT_OF_RESOURCES]
    assert site.gate.instances() == []
    assert site.gate.files("incoming") == []
    assert site.post(_body(_file(slices[0]))).status_code == 200


def test_object_that_is_too_long_is_not_kept_and_the_next_one_is(
    make_site: Callable[..., Site], slices: list[Dataset]
) -> None:
    site = make_site(max_object_mb=1)
    answer = site.post(_body(b"\0" * 3_000_000, _file(slices[0])))
    assert answer.status_code == 202
    assert _answered(answer) == {
        "ReferencedSOPSequence": [(slices[0].SOPInstanceUID, None)],
        "OtherFailuresSequence": [("", TOO_LONG)],
    }
    assert site.gate.files("quarantine") == []


def test_requests_and_associations_share_their_places(
    make_site: Callable[..., Site], slices: list[Dataset]
) -> None:
    site = make_site(max_associations=1)
    with site.begun(_part(_file(slices[0]))):
        site.gate.wait_for(lambda: site.gate.listener.state()["associations"] == 1)
        figures = {figure.name: figure.value for figure in site.gate.listener.figures()}
        assert (figures["iris_associations"], figures["iris_stow_requests"]) == (1, 1)
        assert site.gate.associate([(Verification, ExplicitVRLittleEndian)]).is_rejected
        assert site.post(_body(_file(slices[1]))).status_code == 503
    site.gate.wait_for(lambda: site.gate.listener.state()["associations"] == 0)
    with site.gate.association((CTImageStorage, ExplicitVRLittleEndian)):
        assert site.post(_body(_file(slices[1]))).status_code == 503
    site.gate.wait_for(lambda: site.gate.listener.state()["associations"] == 0)
    assert site.post(_body(_file(slices[1]))).status_code == 200
    counted = {(each.name, *each.labels.values()): each.value for each in site.gate.listener.figures()}
    assert counted["iris_associations_rejected_total", "no_place"] == 3
    assert counted["iris_associations_aborted_total", "broken_off"] == 1
    assert counted["iris_instances_received_total", "stow-rs", "0000"] == 1
