"""What the way inside was proven for: which versions, and which ways of calling.

Whatever else is found is done the plain way, by TotalSegmentator's own functions.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, Final

VERSIONS: Final = {"TotalSegmentator": "2.18.0", "nnunetv2": "2.6.0"}
"""`tests/engine/test_inside.py` shows for these that labels are the same in every voxel."""

KNOWN: Final[Mapping[str, Any]] = {
    "tta": False, "preview": False, "statistics": False, "test": 0, "v1_order": False,
    "remove_small_blobs": False, "higher_order_resampling_LEGACY": False, "save_probabilities": None,
    "cascade": None, "save_lowres": False, "resampling_order": 1, "use_cropped_logits_resampling": False,
    "multilabel_image": True, "output_type": "nifti",
}  # fmt: skip
"""Arguments of `nnUNet_predict_image` that have this value here; those that are not named may have any."""


class NotCovered(Exception):
    """Something that is done the plain way; the text says what."""


def check_versions() -> None:
    """Raise NotCovered where a package has another version than those that it was proven for."""
    for name, version in VERSIONS.items():
        found = metadata.version(name)
        if found != version:
            raise NotCovered(f"it was proven for {name} {version}, and this is {found}")


def check_device(device: str) -> None:
    """Raise NotCovered where TotalSegmentator would resample on the GPU, which changes labels."""
    from totalsegmentator import resampling

    if device != "cpu" and resampling.cupy_available and resampling.cucim_available:
        raise NotCovered("cupy and cucim are there, with which it resamples on the GPU")


def bound(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of a call of TotalSegmentator's function for an image, by name.

    Raises
    ------
    NotCovered
        One of them asks for what is not done here.
    """
    call = inspect.signature(function).bind(*args, **kwargs)
    call.apply_defaults()
    for name, value in KNOWN.items():
        if call.arguments[name] != value:
            raise NotCovered(f"{name} is asked for")
    if call.arguments["output_task_name"] is None:
        call.arguments["output_task_name"] = call.arguments["task_name"]
    return call.arguments
