"""MOOSE's own way from DICOM to its label map, with a stand-in for its network; MOOSE writes NIfTI only.

Runs in an environment of its own: `python moose_way.py DICOM_DIR OUT.nii.gz LIMIT BODIES`. All is MOOSE's
(reading with dicom2nifti or else dcm2niix, turning, resampling to 1.5 mm and back, writing) but for two
things: nnU-Net's prediction is the stand-in engine, and the model's weights are not there. So torch and
nnU-Net are not even imported.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.geometry.engine import Engine

NETWORKS = ("torch", "nnunetv2", "nnunetv2.inference", "nnunetv2.inference.predict_from_raw_data")


def _without_networks() -> None:
    for name in NETWORKS:
        sys.modules[name] = ModuleType(name)
    vars(sys.modules[NETWORKS[-1]])["nnUNetPredictor"] = object


def _model(identifier: str, _: Any) -> Any:
    """What MOOSE asks of a model of CT; without weights."""
    from moosez.constants import DEFAULT_SPACING

    return SimpleNamespace(
        model_identifier=identifier,
        voxel_spacing=DEFAULT_SPACING,
        modality="CT",
        modality_full="CT",
        multilabel_prefix="",
    )


def main() -> None:
    """Segment one series."""
    dicom, out, limit, bodies = sys.argv[1:]
    engine = Engine(float(limit), int(bodies))
    _without_networks()
    import moosez.moosez as moose
    from moosez import file_utilities, image_conversion, predict, system, workflows

    def predicted(values: Any, *_: Any) -> Any:
        return engine.mark(np.asarray(values))

    workflows.models.Model = _model
    predict.predict_from_array_by_iterator = predicted
    moose.add_custom_trainers_to_local_nnunetv2 = lambda: None
    with tempfile.TemporaryDirectory() as name:
        system.MODELS_DIRECTORY_PATH = f"{name}/models"
        subject = Path(name) / "subject"
        shutil.copytree(dicom, subject / "images")
        image_conversion.standardize_subject(name, subject.name)
        images = file_utilities.get_modality_NIFTI_files(str(subject), "CT_")
        if not images:
            raise SystemExit("MOOSE found no image of CT that it can read")
        (written,), _ = moose.moose(images[0], "clin_ct_organs", f"{name}", "cpu")
        shutil.move(str(written), out)


if __name__ == "__main__":
    main()
