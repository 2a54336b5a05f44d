"""What BOA's worker finds in place of its networks: this folder stands first on its Python's path.

Its task, its reading, checking, encoding and uploading are its own files, and its `analyze_ct` is too; torch,
TotalSegmentator and their statistics are not installed, and are modules without content here.
`compute_all_models` writes the stand-in's label map under BOA's own numbers for liver and spleen.
"""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
    return module


def _compute_all_models(ct_path: Path, segmentation_folder: Path, **_: Any) -> dict[str, Any]:
    from benchmarks.beside_boa.stand_in import BOA_VALUES, segment

    seconds, running = float(os.environ["BESIDE_SECONDS"]), Path(os.environ["BESIDE_RUNNING"])
    segment(Path(ct_path), Path(segmentation_folder) / "total.nii.gz", seconds, running, BOA_VALUES)
    return {}


def _statistics(**_: Any) -> tuple[list[Any], Any, None]:
    import pandas  # type: ignore[import-untyped]

    return [], pandas.DataFrame({"region": ["liver"]}), None


def _predict(**_: Any) -> None:
    raise RuntimeError("no contrast is predicted here")  # BOA goes on without


def _nothing(*_: Any, **__: Any) -> None:
    pass


cuda = _module("torch.cuda", is_available=lambda: False)
_module("torch", cuda=cuda, version=_module("torch.version", cuda=None))
_module("cv2")
_module("boa_contrast", predict=_predict)
setting = _module(
    "totalsegmentator.config", set_config_key=_nothing, setup_nnunet=_nothing, setup_totalseg=_nothing
)
_module("totalsegmentator", __path__=[], config=setting)
_module("body_organ_analysis.compute.inference", compute_all_models=_compute_all_models)
_module("body_organ_analysis.compute.ts_metrics", compute_segmentator_metrics=_statistics)
if os.environ.get("BESIDE_MENDED") == "1":
    # pydicom-seg 0.4.1 imports what pydicom 3 no longer has, and BOA's lock has both: nothing is uploaded.
    import pydicom.uid

    _module("pydicom._storage_sopclass_uids", SegmentationStorage=pydicom.uid.SegmentationStorage)
