"""Tiny networks in the folders that TotalSegmentator expects, of known outcome: classes follow intensity.

A two-stage PlainConvUNet with kernels of one voxel and no norm: its one feature is the intensity, and each
class's logit is the tangent of a parabola at that class's intensity, so that the largest logit belongs to the
nearest one. Ten kilobytes instead of a hundred megabytes; what remains is TotalSegmentator's own work.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunet_folder import write_folder
from torch import nn

from batch_job.engines.totalsegmentator.plan import SubModel

HU_A_UNIT: Final = 500.0
SHIFT: Final = 3.0
"""Keeps the feature positive, where the nonlinearity changes nothing."""
CLIP_HU: Final = (-1024.0, 2000.0)
NEVER: Final = -30.0
"""The bias of a class that has no intensity; the logits are of 16 bits, so not much lower."""


def write(
    root: Path, model: SubModel, labels: Mapping[str, int], bands_hu: Mapping[str, float], patch: int = 64
) -> Path:
    """Write one network.

    Parameters
    ----------
    labels
        Name to value, without the background.
    bands_hu
        The intensity of each class that shall be found, `background` among them.

    Returns
    -------
    Path
        The network's folder.
    """
    architecture, configuration = _architecture(), model.configuration.split("__")[-1]
    folds = {
        fold: _parameters(architecture, {"background": 0, **labels}, bands_hu) for fold in model.folds or (0,)
    }
    return write_folder(root, model, labels, folds, _plans(model, configuration, architecture, patch))


def _architecture() -> dict[str, Any]:
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [1, 1],
            "conv_op": "torch.nn.Conv3d",
            "kernel_sizes": [[1, 1, 1], [1, 1, 1]],
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": None,
            "norm_op_kwargs": {},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _parameters(
    architecture: Mapping[str, Any], labels: Mapping[str, int], bands_hu: Mapping[str, float]
) -> dict[str, torch.Tensor]:
    kwargs = {**architecture["arch_kwargs"], "conv_op": nn.Conv3d, "nonlin": nn.LeakyReLU}
    network = PlainConvUNet(input_channels=1, num_classes=len(labels), **kwargs)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        first = network.encoder.stages[0][0].convs[0].conv
        first.weight.fill_(1.0)
        first.bias.fill_(SHIFT)
        network.decoder.stages[0].convs[0].conv.weight[0, 1] = 1.0  # the skip connection, nothing from below
        last = network.decoder.seg_layers[0]
        last.bias.fill_(NEVER)
        for name, hu in bands_hu.items():
            middle = hu / HU_A_UNIT + SHIFT
            last.weight[labels[name]] = 2 * middle
            last.bias[labels[name]] = -(middle**2)
    return network.state_dict()


def _plans(
    model: SubModel, configuration: str, architecture: Mapping[str, Any], patch: int
) -> dict[str, Any]:
    x_mm, y_mm, z_mm = model.spacing_mm or (1.5, 1.5, 1.5)
    to_shape = "resample_data_or_seg_to_shape"
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    return {
        "dataset_name": model.name,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "mean": 0.0,
                "std": HU_A_UNIT,
                "percentile_00_5": CLIP_HU[0],
                "percentile_99_5": CLIP_HU[1],
            }
        },
        "configurations": {
            configuration: {
                "data_identifier": "tiny",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [patch] * 3,
                "spacing": [z_mm, y_mm, x_mm],
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": to_shape,
                "resampling_fn_seg": to_shape,
                "resampling_fn_probabilities": to_shape,
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
                "resampling_fn_probabilities_kwargs": resampling,
                "architecture": architecture,
            }
        },
    }
