"""A correction as files for training: what is in them, and what is not."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.corrections.exporting import export_correction
from gateway.workers.attempts import CannotGoOn
from tests.edited import as_dcmjs_does


@pytest.fixture
def correction(site: Any) -> Any:
    """Of the liver a slice less, and a segment that somebody typed a name for."""
    masks = site.masks
    masks["Liver"] = masks["Liver"].copy()
    masks["Liver"][6] = False
    masks["Smith's lesion"] = np.zeros_like(masks["Liver"])
    masks["Smith's lesion"][0, 5:9, 5:9] = True
    site.receive(as_dcmjs_does(site.volume, masks, site.folder / "e.dcm"))
    (row,) = site.look()
    return row.model_copy(update={"key": "c" * 64})


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def test_export_has_image_and_both_label_maps_on_one_grid(site: Any, correction: Any, tmp_path: Path) -> None:
    assert export_correction(correction, site.ledger, site.folder, tmp_path)
    folder = tmp_path / correction.key
    assert {path.name for path in folder.iterdir()} == {
        *("image.nii.gz", "labels.nii.gz", "corrected.nii.gz", "correction.json")
    }
    (image, grid), (ours, on), (theirs, other) = (
        read(folder / f"{name}.nii.gz") for name in ("image", "labels", "corrected")
    )
    assert image.shape == ours.shape == theirs.shape
    assert np.allclose(grid, on) and np.allclose(grid, other)  # noqa: PT018 (one grid)
    assert [int((ours == value).sum()) for value in (1, 2, 5, 6)] == [2400, 600, 160, 0]
    assert [int((theirs == value).sum()) for value in (1, 2, 5, 6)] == [2000, 600, 160, 16]
    assert not export_correction(correction, site.ledger, site.folder, tmp_path)


def test_description_names_structures_and_nothing_of_the_patient_nor_what_was_typed(
    site: Any, correction: Any, tmp_path: Path
) -> None:
    export_correction(correction, site.ledger, site.folder, tmp_path)
    text = (tmp_path / correction.key / "correction.json").read_text()
    said = json.loads(text)
    assert said["labels"] == {"1": "liver", "2": "spleen", "5": "kidney_right", "6": "added_1"}
    assert (said["task"], said["engine"], said["engine_version"]) == ("total", "threshold", "1")
    assert [(one["label"], one["dice"]) for one in said["structures"]] == [
        (1, round(10 / 11, 4)), (2, 1.0), (5, 1.0), (6, None),
    ]  # fmt: skip
    uids = [site.volume.study_uid, site.volume.series_uid, correction.sop_instance_uid, "2.25.7"]
    for secret in (*uids, "Smith", "Small", "SMALL-1"):
        assert secret not in text


def test_export_that_was_ended_in_the_middle_is_done_anew(site: Any, correction: Any, tmp_path: Path) -> None:
    part = tmp_path / f".{correction.key}.part"
    part.mkdir()
    (part / "image.nii.gz").write_bytes(b"half")
    assert export_correction(correction, site.ledger, site.folder, tmp_path)
    assert not part.exists()
    assert read(tmp_path / correction.key / "image.nii.gz")[0].shape == (64, 64, 8)


def test_correction_whose_images_were_removed_cannot_be_exported(
    site: Any, correction: Any, tmp_path: Path
) -> None:
    with site.ledger.transaction() as transaction:
        transaction.execute("UPDATE instances SET removed_at = 'then'")
    with pytest.raises(CannotGoOn, match="removed here"):
        export_correction(correction, site.ledger, site.folder, tmp_path)
    assert list(tmp_path.glob("c*")) == []


def test_commands_list_and_write_corrections(
    site: Any, correction: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRIS_SITE__DATA_DIR", str(site.folder))
    listed = json.loads(CliRunner().invoke(app, ["corrections", "--json"]).stdout)
    (item,) = listed["items"]
    assert (item["state"], item["evidence"], item["job_key"]) == ("compared", "labels", "b" * 64)
    assert [one["change_ml"] for one in item["structures"]][:2] == [-50.0, 0.0]
    said = CliRunner().invoke(app, ["corrections"]).stdout
    assert "0.9091" in said
    said = CliRunner().invoke(app, ["study", site.volume.study_uid]).stdout
    assert "compared  liver Dice 0.9091 (-50.0 ml); Smith's lesion added (2.0 ml)" in said
    written = CliRunner().invoke(app, ["corrections", "export", str(tmp_path / "out")])
    assert "1 written, 0 there already, 0 left out" in written.stdout
    (folder,) = (tmp_path / "out").iterdir()
    assert (folder / "correction.json").exists()
