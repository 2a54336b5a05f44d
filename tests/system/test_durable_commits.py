"""At each commit of a gateway the files that the ledger then speaks of outlive a power cut."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from gateway.adapters.dicom.peer import parse_peer
from gateway.delivery.sending import send_files
from gateway.files.names import DICOM_ADDRESS_NAME

RECORDED_IRIS = Path(__file__).with_name("recorded_iris.py")
KINDS = {"instance", "quarantined", "result", "secret", "staged"}


def test_every_commit_speaks_only_of_files_that_outlive_a_power_cut(
    make_world: Callable[..., Any], recording_pacs: Any, write_study: Callable[..., str], tmp_path: Path
) -> None:
    world = make_world(("pacs", "RECORDER", recording_pacs.port))
    world.program = [str(RECORDED_IRIS)]
    record = tmp_path / "record"
    world.start(IRIS_TEST_RECORD=str(record), IRIS_TEST_DATA_DIR=str(world.data_dir))
    study_uid = write_study(tmp_path / "study")
    world.send(tmp_path / "study")
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)), tmp_path / "image.nii.gz")
    upload = world.upload(tmp_path / "image.nii.gz")
    _send_another_under_the_same_uid(world, tmp_path)
    world.until(study_uid, lambda study: study["state"] == "done" and study["deliveries"])
    world.until(upload["study_key"], lambda study: study["jobs"][0]["state"] == "failed")  # it is no CT
    assert world.stop() == 0
    said = [line.split(" ", 1) for line in record.read_text().splitlines()]
    assert {kind for kind, _ in said} == KINDS
    assert [line for line in said if line[1] != "ok"] == []


def _send_another_under_the_same_uid(world: Any, folder: Path) -> None:
    """Send an image that contradicts one that is kept: it is put aside."""
    path = sorted((folder / "study").iterdir())[0]
    content = path.read_bytes()
    (folder / "other.dcm").write_bytes(content[:-100] + b"\1" * 100)
    peer = parse_peer((world.data_dir / DICOM_ADDRESS_NAME).read_text().strip())
    (result,) = send_files([folder / "other.dcm"], peer, "SENDER")
    assert result.status == 0xB007
