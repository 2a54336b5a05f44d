"""Networks of random numbers: their logits are close to each other everywhere, so that every bit counts.

The tiny ones are convolutions with norms, as nnU-Net's; the full-size ones have the stages and features of
TotalSegmentator's own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunet_folder import write_folder
from torch import nn

from batch_job.engines.totalsegmentator.plan import SubModel

_IMPORTED: Final = ("conv_op", "norm_op", "dropout_op", "nonlin")


@dataclass(frozen=True)
class Shape:
    """How large a network is, and on what grid it works."""

    features: Sequence[int] = (4, 8)
    convolutions: int = 1
    patch: int = 16
    spacing_mm: tuple[float, float, float] | None = None
    """(z, y, x); None: what TotalSegmentator resamples to."""
    order: int = 3
    """Of the interpolation with which nnU-Net comes to that spacing."""
    normalization: str = "CTNormalization"


FULL_SIZE: Final = Shape(features=(32, 64, 128, 256, 320, 320), convolutions=2, patch=64)
"""Of half the patch that TotalSegmentator's have, along each axis: an eighth of the time."""


def write(root: Path, model: SubModel, labels: Mapping[str, int], shape: Shape, seed: int) -> None:
    """Write a network, with its folds; where a model names none, with two."""
    architecture, configuration = _architecture(shape), model.configuration.split("__")[-1]
    folds = {fold: _parameters(architecture, len(labels) + 1, seed + fold) for fold in model.folds or (0, 1)}
    write_folder(root, model, labels, folds, _plans(model, configuration, architecture, shape))


def _architecture(shape: Shape) -> dict[str, Any]:
    stages = len(shape.features)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(shape.features),
            "conv_op": "torch.nn.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
            "n_conv_per_stage": [shape.convolutions] * stages,
            "n_conv_per_stage_decoder": [shape.convolutions] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": list(_IMPORTED),
    }


def _parameters(architecture: Mapping[str, Any], heads: int, seed: int) -> dict[str, torch.Tensor]:
    kwargs = {
        **architecture["arch_kwargs"],
        "conv_op": nn.Conv3d,
        "norm_op": nn.InstanceNorm3d,
        "nonlin": nn.LeakyReLU,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PlainConvUNet(input_channels=1, num_classes=heads, **kwargs)
    for last in network.decoder.seg_layers:
        # The background gets about half of the voxels, so that of several networks each is seen.
        last.bias.data[0] += math.log(heads) / 3
    return dict(network.state_dict())


def _plans(
    model: SubModel, configuration: str, architecture: Mapping[str, Any], shape: Shape
) -> dict[str, Any]:
    x_mm, y_mm, z_mm = model.spacing_mm or (1.5, 1.5, 1.5)
    to_shape = "resample_data_or_seg_to_shape"
    resampling = {"is_seg": False, "order": shape.order, "order_z": 0, "force_separate_z": None}
    return {
        "dataset_name": model.name,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 37.3, "std": 311.7, "percentile_00_5": -1004.0, "percentile_99_5": 1533.0}
        },
        "configurations": {
            configuration: {
                "data_identifier": "random",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [shape.patch] * 3,
                "spacing": list(shape.spacing_mm or (z_mm, y_mm, x_mm)),
                "normalization_schemes": [shape.normalization],
                "use_mask_for_norm": [False],
                "resampling_fn_data": to_shape,
                "resampling_fn_seg": to_shape,
                "resampling_fn_probabilities": to_shape,
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
                "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
                "architecture": architecture,
            }
        },
    }
