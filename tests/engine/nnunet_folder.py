"""A network as nnU-Net leaves it in the folder that TotalSegmentator expects, whatever its numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from batch_job.engines.totalsegmentator.plan import SubModel

Parameters = Mapping[str, torch.Tensor]


def write_folder(
    root: Path,
    model: SubModel,
    labels: Mapping[str, int],
    folds: Mapping[int, Parameters],
    plans: Mapping[str, Any],
) -> Path:
    """Write its checkpoints, labels and plans; the network's folder.

    Parameters
    ----------
    labels
        Name to value, without the background.
    folds
        The parameters of each fold.
    """
    folder = root / model.name / model.configuration
    for fold, parameters in folds.items():
        (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
        checkpoint = {
            "network_weights": parameters,
            "trainer_name": model.configuration.split("__")[0],
            "init_args": {"configuration": model.configuration.split("__")[-1]},
            "inference_allowed_mirroring_axes": None,
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **labels},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / "plans.json").write_text(json.dumps(plans))
    return folder
