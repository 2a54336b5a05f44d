"""What a patient's header says stands in nothing that leaves the ledger and the authenticated API.

A value is planted in every attribute, malformed in most, and all is searched for it: what was printed and
logged, metrics, probes, names of files, and everything in the job folders, which may lie in a bucket.
"""

import gzip
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import build_context
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification

from gateway.adapters.dicom.peer import association, parse_peer
from gateway.adapters.dicom.storing import StoredObject, store
from tests.told import Web

from .conftest import RecordingPacs, World

PLANTED = "MUELLER"
TEXTS = ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"]
NEEDED = [
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "PatientPosition",
    "BurnedInAnnotation",
]
GROUPS = (0x0008, 0x0010, 0x0018, 0x0020, 0x0028, 0x0032, 0x0038, 0x0040, 0x0088)
"""Those that images and requests have."""
NOT_OURS = ("instances", "quarantine", "results", "ledger.sqlite", "incoming")
"""Where what came is kept: on this machine, for those who may read it."""


def planted(image: Dataset) -> bytes:
    """The image with the value in every attribute of text that the gateway can do without."""
    for number, (representation, _, _, retired, keyword) in DicomDictionary.items():
        tag = Tag(number)
        if tag.group in GROUPS and not retired and representation in TEXTS and keyword not in NEEDED:
            value = f"{PLANTED}^{tag:08X} ".encode()
            image._dict[tag] = RawDataElement(tag, representation, len(value), value, 0, False, True)
    content = encode(image, False, True)
    assert content is not None
    return content


def objects(folder: Path) -> Iterator[bytes]:
    """A series with the value everywhere, and objects that are damaged in many ways."""
    images = [dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    whole = [planted(image) for image in images]
    yield from whole
    position = whole[0].index(b"\x20\x00\x32\x00DS")
    length = int.from_bytes(whole[0][position + 6 : position + 8], "little")
    malformed = (PLANTED * 20).encode()[:length]
    yield whole[0][: position + 8] + malformed + whole[0][position + 8 + length :]  # a geometry that is none
    yield whole[0][: len(whole[0]) // 2]
    yield whole[0].replace(b"DA", b"ZZ")
    yield whole[0][:-2] + b"\7\7"  # the same UID with other pixels
    images[1].StudyInstanceUID = generate_uid()  # its series in another study
    yield planted(images[1])
    del images[2].StudyInstanceUID
    yield planted(images[2])
    yield 200 * PLANTED.encode()


def answers_to(world: World, contents: Sequence[bytes], folder: Path) -> list[int | None]:
    """Send data sets, whatever they are, under UIDs that are the images' or the value; the statuses."""
    peer = parse_peer((world.data_dir / "dicom-address").read_text().strip())
    answers = []
    with association(peer, "SENDER", [build_context(CTImageStorage, ExplicitVRLittleEndian)]) as opened:
        for number, content in enumerate(contents, 1):
            path = folder / f"{number}.bin"
            path.write_bytes(content)
            behind = content.partition(b"\x08\x00\x18\x00UI")[2]
            uid = behind[2 : 2 + int.from_bytes(behind[:2], "little")].rstrip(b"\0").decode()
            sent = StoredObject(path, CTImageStorage, uid or PLANTED, ExplicitVRLittleEndian, 0)
            answers.append(store(opened, opened.accepted_contexts[0].context_id, sent, number))
    return answers


@contextmanager
def process_beside(world: World) -> Iterator[None]:
    """Keep the gateway's own process busy: the next association is served by the one beside it."""
    peer = parse_peer((world.data_dir / "dicom-address").read_text().strip())
    contexts = [build_context(Verification)]
    with association(peer, "OTHER", contexts):
        with association(peer, "OTHER", contexts):
            pass  # it is started for this one
        deadline = time.monotonic() + 60.0
        while b"\niris_listener_processes 1" not in probed(world, "/metrics"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield


def client(world: World) -> httpx.Client:
    """The API, for the administrator."""
    address = (world.data_dir / "api-address").read_text().strip()
    token = (world.data_dir / "admin-token").read_text().strip()
    return httpx.Client(base_url=address, trust_env=False, headers={"Authorization": f"Bearer {token}"})


def probed(world: World, path: str) -> bytes:
    """What it answers there."""
    with client(world) as asking:
        return asking.get(path).raise_for_status().content


def ask_wrongly(world: World) -> None:
    """What people ask for by a patient's name, and files that are called by it."""
    with client(world) as asked:
        asked.get("/api/v1/studies", params={"q": PLANTED, "since": PLANTED, "limit": PLANTED})
        asked.get(f"/api/v1/studies/{PLANTED}")
        asked.post(f"/api/v1/jobs/{PLANTED}/retry")
        asked.post(f"/api/v1/studies/{PLANTED}/use", json={"series_uid": PLANTED, "number": PLANTED})
        asked.post("/api/v1/actions", json={"action": PLANTED, "filter": {"q": PLANTED}})
        asked.post("/api/v1/nifti", files={"file": (f"{PLANTED}.nii.gz", gzip.compress(PLANTED.encode()))})
        asked.get(f"/{PLANTED}")


def shown(world: World) -> Iterator[tuple[str, bytes]]:
    """All that others may come to see, with the names of files as content too."""
    yield "what was printed", world.log.read_bytes()
    for path in sorted(world.data_dir.rglob("*")):
        where = path.relative_to(world.data_dir)
        yield str(where), str(where).encode()
        if path.is_file() and not str(where).startswith(NOT_OURS):
            content = path.read_bytes()
            yield str(where), gzip.decompress(content) if path.suffix == ".gz" else content


@pytest.fixture
def world(make_world: Callable[..., World], recording_pacs: RecordingPacs, web: Web) -> World:
    hook = f'{{ url = "{web.url}", secret = "s", on = ["failed", "held", "waiting"] }}'
    notify = f"[notify]\nwaiting_minutes = 1e-3\nwebhooks = [{hook}]\n"
    return make_world(("recorder", "RECORDER", recording_pacs.port), config=notify)


def test_values_of_a_header_stand_in_nothing_that_is_logged_measured_or_sent_away(
    world: World, write_study: Callable[..., str], tmp_path: Path, web: Web, collector: Web
) -> None:
    study_uid = write_study(tmp_path / "study", slices=4)
    world.start(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}")
    with process_beside(world):
        answers = answers_to(world, list(objects(tmp_path / "study")), tmp_path)
    assert answers[:4] == [0x0000] * 4
    assert 0x0000 not in answers[4:]
    done = world.until(study_uid, lambda study: study["state"] in ("done", "failed", "held"))
    assert done["jobs"], "a job folder is to be searched"
    ask_wrongly(world)
    probes = [probed(world, path) for path in ("/metrics", "/readyz")]
    world.stop()
    sent = [str(request).encode() for request in (*web.got, *collector.got)]
    for probe in (*probes, *sent):
        assert PLANTED.encode() not in probe
    looked_at = [name for name, content in shown(world) if PLANTED.encode() not in content]
    assert [name for name, _ in shown(world) if name not in looked_at] == []
    assert {"request.json", "manifest.json", "input.nii.gz"} <= {Path(name).name for name in looked_at}
