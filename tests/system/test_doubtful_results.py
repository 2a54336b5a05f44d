"""A result with doubts goes through the whole gateway: it is held or marked, and every place says why."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage

from gateway.adapters.dicom.peer import parse_peer


@pytest.fixture
def world_with_folder(make_world: Callable[..., Any], tmp_path: Path) -> Any:
    """A gateway whose destination is a folder."""
    (tmp_path / "results").mkdir()
    return make_world(config=f'[[destination]]\nname = "disk"\nfolder = "{tmp_path / "results"}"\n')


def delivered(tmp_path: Path) -> Dataset:
    (path,) = (tmp_path / "results").rglob("*.dcm")
    return dcmread(path)


def shift(folder: Path) -> None:
    """Let air measure about -880 instead of -1000; noise, since one value alone is taken for padding."""
    noise = np.random.default_rng(1)
    for path in sorted(folder.glob("*.dcm")):
        image = dcmread(path)
        image.RescaleIntercept = -900
        noisy = image.pixel_array + noise.integers(-10, 10, image.pixel_array.shape)
        image.PixelData = noisy.clip(0).astype("<u2").tobytes()
        image.save_as(path)


def test_ct_that_is_not_in_hounsfield_units_is_held_with_the_sentence_and_released_marked(
    world_with_folder: Any, write_study: Callable[..., str], tmp_path: Path
) -> None:
    study_uid = write_study(tmp_path / "study", seed="shifted")
    shift(tmp_path / "study")
    world_with_folder.start()
    world_with_folder.send(tmp_path / "study")
    study = world_with_folder.until(study_uid, lambda study: study["state"] == "held")
    (job,) = study["jobs"]
    (air,) = [flag for flag in job["flags"] if flag["code"] == "air_not_minus_1000"]
    assert air["sentence"] in job["reason"]
    assert not list((tmp_path / "results").rglob("*.dcm"))
    assert b'iris_flags{code="air_not_minus_1000"} 1.0' in world_with_folder.file("/metrics")

    world_with_folder.post(f"/api/v1/quarantine/{job['job_key']}/release")
    world_with_folder.until(study_uid, lambda study: study["state"] == "done")
    seg = delivered(tmp_path)
    assert seg.SeriesDescription.startswith("CHECK:")
    assert "air not minus 1000" in seg.ContentDescription


def test_study_whose_sender_broke_off_says_so_on_job_and_result(
    world_with_folder: Any, write_study: Callable[..., str], tmp_path: Path
) -> None:
    study_uid = write_study(tmp_path / "study", seed="broken off")
    world_with_folder.start()
    peer = parse_peer((world_with_folder.data_dir / "dicom-address").read_text().strip())
    sender = AE("SENDER")
    sender.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = sender.associate(peer.host, peer.port, ae_title=peer.ae_title)
    for path in sorted((tmp_path / "study").glob("*.dcm")):
        assert association.send_c_store(path).Status == 0
    association.abort()
    study = world_with_folder.until(study_uid, lambda study: study["state"] == "done")
    assert study["jobs"][0]["flags"][0]["code"] == "closed_after_abort"
    assert "closed after abort" in delivered(tmp_path).ContentDescription
