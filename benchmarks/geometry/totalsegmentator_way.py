"""TotalSegmentator's own way from DICOM to DICOM-SEG, with a stand-in for its network.

Runs in an environment of its own: `python totalsegmentator_way.py DICOM_DIR OUT.dcm LIMIT BODIES`. All is
TotalSegmentator's (reading with dicom2nifti, turning, resampling to 3 mm and back, writing) but for two
things: nnU-Net's prediction is the stand-in engine, so that neither weights nor a likeness to a patient are
needed, and nothing is downloaded.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.geometry.engine import NAMES, Engine


def main() -> None:
    """Segment one series."""
    dicom, out, limit, bodies = sys.argv[1:]
    engine = Engine(float(limit), int(bodies))
    with tempfile.TemporaryDirectory() as home:
        os.environ["TOTALSEG_HOME_DIR"] = home
        config = {"totalseg_id": "x", "send_usage_stats": False, "prediction_counter": 0}
        (Path(home) / "config.json").write_text(json.dumps(config))
        from totalsegmentator import nnunet, python_api
        from totalsegmentator.map_to_binary import class_map

        value_of = {name: value for value, name in class_map["total"].items()}

        def predict(dir_in: Path, dir_out: Path, *_: Any, **__: Any) -> None:
            image: Any = nib.load(Path(dir_in) / "s01_0000.nii.gz")
            marked = engine.mark(np.asanyarray(image.dataobj))
            labels = np.zeros_like(marked)
            for label, name in NAMES.items():
                labels[marked == label] = value_of[name]
            nib.save(nib.Nifti1Image(labels, image.affine), Path(dir_out) / "s01.nii.gz")

        nnunet.nnUNetv2_predict = predict
        python_api.download_pretrained_weights = lambda *_: None
        python_api.totalsegmentator(
            Path(dicom), Path(out), fast=True, ml=True, output_type="dicom_seg", device="cpu", quiet=True
        )


if __name__ == "__main__":
    main()
