"""Results whose patient was corrected in the PACS meanwhile, in a real Orthanc."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread

from gateway.delivery.sending import send_files

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

    def _study(self, study_uid: str) -> str:
        query = {"Level": "Study", "Query": {"StudyInstanceUID": study_uid}}
        (found,) = self._client.post("/tools/find", json=query).json()
        return str(found)


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
