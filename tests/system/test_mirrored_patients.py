"""Whoever mirrors a patient, or exchanges head and feet, gets no result delivered that does not say so.

The gateway is a copy with an engine that knows an organ by what it looks like, as networks do, on whatever
side of the body that stands.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from pydicom import dcmread

from converter.derived.series import write_series
from tests.guide import copy_of_the_checkout

ENGINE: Final = '''"""The engine `looks`: an organ is what measures as that organ does."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from batch_job.contract import EngineInfo, engine_facts

from . import Segmented, Work

FACTS = engine_facts("looks")


class Looks:
    info = EngineInfo(name=FACTS.name, version=FACTS.version, weights=FACTS.weights)

    def check(self, task: str, options: Mapping[str, Any]) -> EngineInfo:
        return self.info

    def segment(self, work: Work) -> Segmented:
        names = FACTS.tasks[work.task].labels
        labels = np.zeros(work.image.values.shape, np.uint8)
        for value in names:
            labels[work.image.values == 200 + value] = value
        return Segmented(labels, names)
'''
ORGANS: Final = {
    # name: slices, rows and columns; the patient's left is where columns are many
    "lung_left": (slice(11, 15), slice(16, 30), slice(28, 36)),
    "lung_right": (slice(11, 15), slice(16, 30), slice(11, 19)),
    "heart": (slice(11, 15), slice(18, 28), slice(22, 27)),
    "liver": (slice(6, 10), slice(16, 26), slice(11, 20)),
    "spleen": (slice(6, 10), slice(16, 26), slice(30, 36)),
    "kidney_left": (slice(4, 7), slice(27, 32), slice(29, 33)),
    "kidney_right": (slice(4, 7), slice(27, 32), slice(14, 18)),
    "urinary_bladder": (slice(1, 3), slice(18, 28), slice(20, 28)),
}
FACTS: Final = {
    "name": "looks",
    "about": "organs of phantoms",
    "loader": "batch_job.engines.looks:Looks",
    "version": "1",
    "algorithm_family": ["123105", "Histogram Analysis"],
    "bytes_a_voxel": 12,
    "default_task": "organs",
    "tasks": {
        "organs": {
            "modality": "CT",
            "labels": {str(value): name for value, name in enumerate(ORGANS, start=1)},
        }
    },
}
SLICES: Final = 16
GRAVE: Final = {"sides_contradict", "regions_contradict"}
CHANGES: Final[dict[str, Callable[[np.ndarray], np.ndarray]]] = {
    "as it is": lambda hu: hu,
    "mirrored": lambda hu: hu[:, :, ::-1],
    "head and feet exchanged": lambda hu: hu[::-1],
}


def put_organs(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Let the images of a body show organs, and change what they show; headers stay as they are."""
    images = {path: dcmread(path) for path in sorted(folder.glob("*.dcm"))}
    hu = np.stack([image.pixel_array.astype(int) - 1024 for image in images.values()])
    for value, where in enumerate(ORGANS.values(), start=1):
        hu[where] = 200 + value
    for (path, image), plane in zip(images.items(), change(hu), strict=True):
        image.PixelData = np.ascontiguousarray(plane + 1024).astype("<u2").tobytes()
        image.save_as(path)


@pytest.mark.long
def test_mirrored_and_turned_over_patients_are_held_and_the_others_result_is_delivered(
    make_world: Callable[..., Any], write_study: Callable[..., str], tmp_path: Path
) -> None:
    copy, results = copy_of_the_checkout(tmp_path / "copy"), tmp_path / "results"
    (copy / "batch_job" / "engines" / "looks.py").write_text(ENGINE)
    (copy / "batch_job" / "catalogue" / "looks.json").write_text(json.dumps(FACTS))
    results.mkdir()
    world = make_world(
        config=f'[engine]\nname = "looks"\n[[destination]]\nname = "disk"\nfolder = "{results}"\n'
    )
    world.python = sys.executable
    uids = {}
    for what, change in CHANGES.items():
        uids[what] = write_study(tmp_path / what, seed=what, slices=SLICES)
        put_organs(tmp_path / what, change)
    world.start(PYTHONPATH=str(copy), PYTHONSAFEPATH="1")
    for what in CHANGES:
        world.send(tmp_path / what)
    over = ("done", "held", "failed")
    found = {}
    for what, uid in uids.items():
        study = world.until(uid, lambda study: study["state"] in over)
        (job,) = study["jobs"]
        found[what] = study["state"], {flag["code"] for flag in job["flags"]} & GRAVE
    assert found == {
        "as it is": ("done", set()),
        "mirrored": ("held", {"sides_contradict"}),
        "head and feet exchanged": ("held", {"regions_contradict"}),
    }
    assert {path.parts[len(results.parts)] for path in results.rglob("*.dcm")} == {uids["as it is"]}


@pytest.mark.long
def test_no_good_series_is_held(
    make_world: Callable[..., Any], data: Path, demo_study: Path, tmp_path: Path
) -> None:
    """Of real patients: a CT as a PACS sends it, and one of a torso."""
    results, torso = tmp_path / "results", tmp_path / "torso"
    results.mkdir()
    torso.mkdir()
    write_series(data / "ct-torso-3mm" / "ct.nii.gz", torso)
    world = make_world(config=f'[[destination]]\nname = "disk"\nfolder = "{results}"\n')
    world.start()
    for folder in (demo_study, torso):
        world.send(folder)
        uid = str(dcmread(next(folder.rglob("*.dcm")), stop_before_pixels=True).StudyInstanceUID)
        study = world.until(uid, lambda study: study["state"] in ("done", "held", "failed"))
        assert study["state"] == "done", study["reason"]
        assert not {flag["code"] for job in study["jobs"] for flag in job["flags"]} & GRAVE
        assert list((results / uid).rglob("*.dcm"))
