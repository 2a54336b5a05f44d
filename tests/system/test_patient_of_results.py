"""Results whose patient was corrected in the PACS meanwhile, in a real Orthanc."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread

from gateway.adapters.dicom.peer import Peer, parse_peer
from gateway.delivery.sending import send_files
from tests.rejections import rejection_note

from .conftest import write_study

pytestmark = pytest.mark.peer("orthanc")

PACS = "pacs"


class Pacs:
    """An Orthanc by its REST API."""

    def __init__(self, orthanc: Any) -> None:
        self.peer = orthanc.peer
        address, user = orthanc.rest
        self._client = httpx.Client(base_url=address, auth=user, trust_env=False)

    def rename(self, study_uid: str, **to: str) -> None:
        """Correct the patient of all that it holds of a study, as a clerk does there."""
        patient = self._client.get(f"/studies/{self._study(study_uid)}/patient").json()["ID"]
        kept = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
        wanted = {"Replace": to, "Keep": kept, "Force": True, "KeepSource": False}
        answer = self._client.post(f"/patients/{patient}/modify", json=wanted)
        assert answer.is_success, answer.text

    def reorder(self, study_uid: str, folder: Path, accession_number: str) -> None:
        """Correct the order of the images that it holds of a study."""
        files = sorted(self.fetch(study_uid, folder).iterdir())
        self._client.delete(f"/studies/{self._study(study_uid)}")
        for path in files:
            image = dcmread(path)
            image.AccessionNumber = accession_number
            image.save_as(path)
        send_files(files, self.peer, "IRIS")

    def fetch(self, study_uid: str, folder: Path) -> Path:
        """All images that it holds of a study."""
        folder.mkdir()
        for instance in self._client.get(f"/studies/{self._study(study_uid)}/instances").json():
            content = self._client.get(f"/instances/{instance['ID']}/file").content
            path = folder / f"{instance['ID']}.dcm"
            path.write_bytes(content)
            if dcmread(path, specific_tags=["Modality"]).Modality != "CT":
                path.unlink()
        return folder

    def patients_of(self, study_uid: str, modality: str) -> list[str]:
        """The Patient ID of each series of a modality."""
        query = {"StudyInstanceUID": study_uid, "Modality": modality}
        found = self._client.post("/tools/find", json={"Level": "Series", "Query": query, "Expand": True})
        return sorted(
            self._client.get(f"/series/{series['ID']}/study").json()["PatientMainDicomTags"]["PatientID"]
            for series in found.json()
        )

    def objects_of(self, study_uid: str, modality: str, folder: Path) -> list[Path]:
        """What it holds of a study in series of a modality."""
        query = {"StudyInstanceUID": study_uid, "Modality": modality}
        found = self._client.post("/tools/find", json={"Level": "Series", "Query": query, "Expand": True})
        paths = []
        for instance in (each for series in found.json() for each in series["Instances"]):
            paths.append(folder / f"{instance}.dcm")
            paths[-1].write_bytes(self._client.get(f"/instances/{instance}/file").content)
        return paths

    def _study(self, study_uid: str) -> str:
        query = {"Level": "Study", "Query": {"StudyInstanceUID": study_uid}}
        (found,) = self._client.post("/tools/find", json=query).json()
        return str(found)


def world_peer(world: Any) -> Peer:
    return parse_peer((world.data_dir / "dicom-address").read_text().strip())


@pytest.fixture
def pacs(orthanc: Any) -> Pacs:
    return Pacs(orthanc)


@pytest.fixture
def world(make_world: Callable[..., Any], pacs: Pacs) -> Any:
    world = make_world((PACS, pacs.peer.ae_title, pacs.peer.port))
    world.start()
    return world


def settled(study: dict[str, Any]) -> bool:
    return study["state"] in ("held", "done", "failed")


def test_result_of_a_patient_who_was_corrected_in_the_pacs_waits_for_the_correction(
    world: Any, pacs: Pacs, tmp_path: Path
) -> None:
    study_uid = write_study(tmp_path / "study")
    send_files(sorted((tmp_path / "study").glob("*.dcm")), pacs.peer, "IRIS")
    pacs.rename(study_uid, PatientID="TEST-2", PatientName="Other^Body")
    world.send(tmp_path / "study")
    held = world.until(study_uid, settled)
    assert held["state"] == "held", held
    assert "pacs has this study under another Patient ID" in held["reason"]
    assert held["jobs"][0]["state"] == "quarantined"
    assert pacs.patients_of(study_uid, "SEG") == []

    world.send(pacs.fetch(study_uid, tmp_path / "corrected"))
    study = world.until(study_uid, lambda study: bool(study["state"] == "done"))
    assert study["reason"] == "delivered"
    assert pacs.patients_of(study_uid, "SEG") == ["TEST-2"]
    assert pacs.patients_of(study_uid, "CT") == ["TEST-2"]
    assert len(study["jobs"]) == 1
    log = world.log.read_text()
    assert "TEST-2" not in log
    assert "TEST-1" not in log


@pytest.mark.long
def test_result_that_a_person_releases_goes_as_it_is(world: Any, pacs: Pacs, tmp_path: Path) -> None:
    study_uid = write_study(tmp_path / "study")
    send_files(sorted((tmp_path / "study").glob("*.dcm")), pacs.peer, "IRIS")
    pacs.reorder(study_uid, tmp_path / "reordered", "A2")
    world.send(tmp_path / "study")
    held = world.until(study_uid, settled)
    assert "another Accession Number" in held["reason"]
    world.post(f"/api/v1/quarantine/{held['jobs'][0]['job_key']}/release")
    study = world.until(study_uid, lambda study: bool(study["state"] == "done"))
    assert [delivery["state"] for delivery in study["deliveries"]] == ["sent"]
    assert pacs.patients_of(study_uid, "SEG") == ["TEST-1"]


# -- what was delivered before ------------------------------------------------------------------------------


def test_result_under_the_earlier_patient_is_rejected_or_a_person_is_told(
    make_world: Callable[..., Any], pacs: Pacs, tmp_path: Path
) -> None:
    title, port = pacs.peer.ae_title, pacs.peer.port
    world = make_world(("keeps", title, port), (PACS, title, port), config='supersede = "iocm"\n')
    world.start()
    study_uid = write_study(tmp_path / "study")
    world.send(tmp_path / "study")
    world.until(study_uid, settled)
    (old,) = pacs.objects_of(study_uid, "SEG", tmp_path)

    for path in (tmp_path / "study").glob("*.dcm"):
        image = dcmread(path)
        image.PatientID = "TEST-2"
        image.save_as(path)
    world.send(tmp_path / "study")
    study = world.until(study_uid, lambda study: len(pacs.patients_of(study_uid, "KO")) == 1)
    assert pacs.patients_of(study_uid, "SEG") == ["TEST-1", "TEST-2"]
    assert pacs.patients_of(study_uid, "KO") == ["TEST-1"]
    (note_file,) = pacs.objects_of(study_uid, "KO", tmp_path)
    note = dcmread(note_file)
    assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
    (named,) = [item for item in note.ContentSequence if "ReferencedSOPSequence" in item]
    assert named.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == dcmread(old).SOPInstanceUID
    study = world.until(study_uid, lambda study: bool(study["jobs"][0]["warnings"]))
    assert study["jobs"][0]["warnings"] == [
        "keeps still has 1 object of an earlier result of this study under another patient:"
        " reject or delete it there by hand"
    ]
    # The PACS sends the note to all that it sends the images to.
    assert [each.status for each in send_files([note_file], world_peer(world), "SENDER")] == [0x0000]
    assert world.until(study_uid, settled)["state"] == "done"


@pytest.mark.long
def test_result_that_the_pacs_gave_to_the_right_patient_is_rejected_there_after_the_newer_one(
    make_world: Callable[..., Any], pacs: Pacs, tmp_path: Path
) -> None:
    world = make_world((PACS, pacs.peer.ae_title, pacs.peer.port), config='supersede = "iocm"\n')
    world.start()
    study_uid = write_study(tmp_path / "study")
    send_files(sorted((tmp_path / "study").glob("*.dcm")), pacs.peer, "IRIS")
    world.send(tmp_path / "study")
    assert world.until(study_uid, settled)["state"] == "done"
    pacs.rename(study_uid, PatientID="TEST-2", PatientName="Other^Body")
    world.send(pacs.fetch(study_uid, tmp_path / "corrected"))
    world.until(study_uid, lambda _: bool(pacs.patients_of(study_uid, "KO")))
    assert pacs.patients_of(study_uid, "KO") == ["TEST-2"]
    assert pacs.patients_of(study_uid, "SEG") == ["TEST-2", "TEST-2"]
    (note,) = map(dcmread, pacs.objects_of(study_uid, "KO", tmp_path))
    assert note.ConceptNameCodeSequence[0].CodeValue == "113001"


@pytest.mark.long
def test_rejected_slice_ends_in_a_result_of_what_remains_and_the_earlier_one_is_rejected(
    make_world: Callable[..., Any], pacs: Pacs, tmp_path: Path
) -> None:
    world = make_world((PACS, pacs.peer.ae_title, pacs.peer.port), config='supersede = "iocm"\n')
    world.start()
    study_uid = write_study(tmp_path / "study")
    world.send(tmp_path / "study")
    world.until(study_uid, settled)
    (old,) = map(dcmread, pacs.objects_of(study_uid, "SEG", tmp_path))
    last = dcmread(tmp_path / "study" / "007.dcm")
    note = rejection_note([last])
    (tmp_path / "note").mkdir()
    note.save_as(tmp_path / "note" / "note.dcm", enforce_file_format=True)
    world.send(tmp_path / "note")
    world.send(tmp_path / "note")
    study = world.until(study_uid, lambda study: settled(study) and len(study["jobs"]) == 2)
    assert study["state"] == "done", study
    first, second = map(dcmread, pacs.objects_of(study_uid, "SEG", tmp_path))
    (new,) = (seg for seg in (first, second) if seg.SOPInstanceUID != old.SOPInstanceUID)
    (series,) = new.ReferencedSeriesSequence
    assert len(series.ReferencedInstanceSequence) == 7
    (said,) = map(dcmread, pacs.objects_of(study_uid, "KO", tmp_path))
    assert said.ContentSequence[-1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert said.ConceptNameCodeSequence[0].CodeValue == "113001"
