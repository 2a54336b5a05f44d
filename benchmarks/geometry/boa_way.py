"""BOA's own way from DICOM to DICOM-SEG, with a stand-in for its networks.

Runs in BOA's environment, its checkout on the path: `python boa_way.py DICOM_DIR OUT.dcm LIMIT BODIES`. All
is BOA's (which series it takes, reading with SimpleITK, writing with pydicom-seg) but for the label map, and
for the upload, which is written to OUT instead.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import dicomweb_client.api
import nibabel as nib
import numpy as np
import pydicom.uid

from benchmarks.beside_boa.stand_in import BOA_VALUES
from benchmarks.geometry.engine import NAMES, Engine


def _only_its_parts(package: str) -> None:
    """Let a package's modules be imported without what its `__init__` imports, networks and all."""
    spec = find_spec(package)
    assert spec is not None
    module = ModuleType(package)
    module.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[package] = module


def main() -> None:
    """Segment one series."""
    dicom, out, limit, bodies = sys.argv[1:]
    engine = Engine(float(limit), int(bodies))
    _only_its_parts("body_organ_analysis")
    # pydicom-seg 0.4.1 imports what pydicom 3 no longer has, and BOA's lock has both: mended, or there is no
    # result at all.
    mended: Any = ModuleType("pydicom._storage_sopclass_uids")
    mended.SegmentationStorage = pydicom.uid.SegmentationStorage
    sys.modules[mended.__name__] = mended
    from body_organ_analysis.compute import io

    class ToFile:
        """What BOA takes for Orthanc."""

        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def store_instances(self, instances: Sequence[Any]) -> None:
            instances[0].save_as(out, enforce_file_format=True)

    client: Any = dicomweb_client.api
    client.DICOMwebClient = ToFile
    os.environ.update({"UPLOAD_USER": "x", "UPLOAD_PWD": "x", "SEGMENTATION_UPLOAD_URL": "x"})
    with tempfile.TemporaryDirectory() as name:
        nifti, _ = io.get_image_info(Path(dicom), Path(name))
        image: Any = nib.load(nifti)
        marked = engine.mark(np.asanyarray(image.dataobj))
        labels = np.zeros_like(marked)
        for label, body in NAMES.items():
            labels[marked == label] = BOA_VALUES[body]
        nib.save(nib.Nifti1Image(labels, image.affine), Path(name) / "total.nii.gz")
        io.store_dicoms(Path(dicom), Path(name))


if __name__ == "__main__":
    main()
