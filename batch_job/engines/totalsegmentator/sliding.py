"""A network's labels for a volume: patch by patch, summed and divided as nnU-Net does it, to the last bit.

nnU-Net keeps sums in 16 bits and adds in 32, and near ties hang on that: sums, weights and quotients here are
the same numbers. What differs is how they are come by: a class at a time through memory that stays in the
cache, and the largest is looked for where the logits are.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from numpy.typing import NDArray

from .networks import Network

OnPatch = Callable[[int, int], None]
"""Told how many patches are done, and of how many."""


def logits_of(network: Network, volume: torch.Tensor, on_patch: OnPatch) -> torch.Tensor:
    """The mean of the folds' logits, (class, z, y, x), 16 bits, on the device where it has room for them."""
    with torch.inference_mode():
        return _mean_logits(network, volume, on_patch)


def _mean_logits(network: Network, volume: torch.Tensor, on_patch: OnPatch) -> torch.Tensor:
    logits: torch.Tensor | None = None
    for number, fold in enumerate(network.folds):
        network.predictor.network = fold

        def told(done: int, patches: int, before: int = number) -> None:
            on_patch(before * patches + done, len(network.folds) * patches)

        found = _slide(network.predictor, volume, told)
        if logits is None:
            logits = found
        else:
            logits += found.to(logits.device)
    assert logits is not None
    if len(network.folds) > 1:
        logits /= len(network.folds)
    return logits


def largest(logits: torch.Tensor) -> NDArray[np.uint8]:
    """The class with the largest logit in each voxel; of equal ones the first.

    Raises
    ------
    RuntimeError
        A logit is infinite: 16 bits did not hold a sum.
    """
    if logits.is_cuda:
        _forbid_infinite(logits)
        return np.asarray(logits.argmax(0).to(torch.uint8).cpu())
    labels = np.empty(logits.shape[1:], np.uint8)
    for plane, target in zip(logits.unbind(1), labels, strict=True):
        values = plane.float().numpy()
        if not np.isfinite(values.sum()):
            _forbid_infinite(plane)
            target[...] = values.argmax(0)  # of a voxel without a number it takes the first such class
            continue
        target[...] = 0
        best = values[0].copy()
        for number, each in enumerate(values[1:], start=1):
            wins = np.greater(each, best)
            np.maximum(best, each, out=best)
            np.maximum(target, wins.view(np.uint8) * np.uint8(number), out=target)
    return labels


def _forbid_infinite(logits: torch.Tensor) -> None:
    if torch.isinf(logits).any():
        raise RuntimeError("a network's sums went beyond what 16 bits hold")


def _slide(predictor: Any, volume: torch.Tensor, on_patch: OnPatch) -> torch.Tensor:
    if predictor.device.type == "cuda":
        logits: torch.Tensor = predictor.predict_sliding_window_return_logits(volume)
        return logits
    patch = predictor.configuration_manager.patch_size
    padded, inner = pad_nd_image(volume, patch, "constant", {"value": 0}, True, None)
    places = predictor._internal_get_sliding_window_slicers(padded.shape[1:])
    weight = compute_gaussian(
        tuple(patch), sigma_scale=1.0 / 8, value_scaling_factor=10, device=volume.device
    )
    sums = torch.zeros((predictor.label_manager.num_segmentation_heads, *padded.shape[1:]), dtype=torch.half)
    weights = torch.zeros(padded.shape[1:], dtype=torch.half)
    add = _Adder(weight)
    for done, place in enumerate(places, start=1):
        tile = torch.clone(padded[place][None], memory_format=torch.contiguous_format)
        found = predictor._internal_maybe_mirror_and_predict(tile)[0]
        for total, each in zip(sums, found, strict=True):
            add(total[place[1:]], each)
        weights[place[1:]] += weight
        on_patch(done, len(places))
    return torch.div(sums, weights, out=sums)[(slice(None), *inner[1:])]


class _Adder:
    """Adds a weighted class of a patch to its sum, by way of memory that is used again."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight = weight.float()
        self._half = torch.empty_like(weight)
        self._sum = torch.empty_like(self._weight)

    def __call__(self, total: torch.Tensor, values: torch.Tensor) -> None:
        values *= self._weight
        self._half.copy_(total)
        self._sum.copy_(self._half)
        self._sum += values
        self._half.copy_(self._sum)
        total.copy_(self._half)
