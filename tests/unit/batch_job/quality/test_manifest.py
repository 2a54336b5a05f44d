"""Flags reach the gateway: a real run writes them into its manifest."""

import hashlib
import json
from pathlib import Path

from batch_job.contract import STATISTICS_NAME, Manifest, read_manifest
from batch_job.interruption import Interruption
from batch_job.place import Attempt
from batch_job.run import run_in_steps
from batch_job.shared import Shared

CT = Path(__file__).parents[3] / "data" / "ct-torso-3mm" / "ct.nii.gz"


def test_manifest_of_a_run_has_its_flags_and_statistics_say_the_same(tmp_path: Path) -> None:
    content = CT.read_bytes()
    (tmp_path / "input.nii.gz").write_bytes(content)
    request = {
        "contract": 1,
        "job_key": "key-1",
        "task": "tissue",
        "engine": "threshold",
        "input": {"name": "input.nii.gz", "sha256": hashlib.sha256(content).hexdigest()},
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    for _ in run_in_steps(str(tmp_path), Attempt(), Shared(Interruption())):
        pass
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert {(flag.code, flag.structure) for flag in manifest.flags} == {
        ("truncated", "lung_left"),
        ("truncated", "lung_right"),
    }
    statistics = json.loads((tmp_path / STATISTICS_NAME).read_text())
    assert statistics["lung_left"]["truncated"] is True
    assert statistics["lung_left"]["intensity_unit"] == "HU"


def test_manifest_of_an_earlier_version_has_no_flags() -> None:
    text = {
        "contract": 1,
        "job_key": "key-1",
        "outputs": {},
        "labels": {},
        "engine": {"name": "threshold", "version": "1.0.0", "weights": ""},
        "seconds": {},
        "peak_rss_mb": 1.0,
        "attempt": 1,
    }
    assert Manifest.from_json(json.dumps(text)).flags == ()
