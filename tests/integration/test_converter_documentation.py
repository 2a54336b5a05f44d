"""The example in docs/converter.md runs as it stands."""

import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from batch_job.contract import engine_facts
from converter.derived.series import write_series

DOCUMENT = Path(__file__).parents[2] / "docs" / "converter.md"


def test_example_in_the_documentation_brings_labels_there_and_back(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    labels = data / "ct-torso-3mm" / "labels.nii.gz"
    write_series(data / "ct-torso-3mm" / "ct.nii.gz", tmp_path / "series")
    (tmp_path / "labels.nii.gz").write_bytes(labels.read_bytes())
    (tmp_path / "names.json").write_text(json.dumps(engine_facts("totalsegmentator").tasks["total"].labels))
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(example, "example", "exec"), found)
    assert found["names"][5] == "liver"
    back, original = (nib.as_closest_canonical(nib.load(path)) for path in ("back.nii.gz", labels))
    assert np.array_equal(np.asanyarray(back.dataobj), np.asanyarray(original.dataobj))
    assert sorted(found["names"]) == [v for v in np.unique(np.asanyarray(original.dataobj)).tolist() if v]
