"""A network's labels for a volume: patch by patch, summed and divided as nnU-Net does it, to the last bit.

nnU-Net keeps sums in 16 bits and adds in 32, and near ties hang on that: sums, weights and quotients here are
the same numbers. What differs is how they are come by: a class at a time through memory that stays in the
cache, and the largest is looked for where the logits are. On a GPU it is nnU-Net's own loop.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from numpy.typing import NDArray

from .networks import Network
from .prediction import following

OnShare = Callable[[float], None]
"""Told how far a network is, 0 to 1."""


class Sums:
    """Memory for a network's sums, which the next network uses again."""

    def __init__(self) -> None:
        self._flat = torch.empty(0, dtype=torch.half)

    def zeros(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Zeros of this shape, until it is asked for the next."""
        count = math.prod(shape)
        if self._flat.numel() < count:
            self._flat = torch.empty(0, dtype=torch.half)  # let go of the smaller one first
            self._flat = torch.empty(count, dtype=torch.half)
        return self._flat[:count].zero_().view(shape)


def logits_of(network: Network, volume: torch.Tensor, sums: Sums, on_share: OnShare) -> torch.Tensor:
    """The mean of the folds' logits, (class, z, y, x), 16 bits, on the device where it has room for them.

    They lie in `sums` and are lost when that is used for the next network.
    """
    folds, mean = len(network.folds), None
    with torch.inference_mode():
        for number, fold in enumerate(network.folds):
            network.predictor.network = fold

            def told(share: float, before: int = number) -> None:
                on_share((before + share) / folds)

            logits = _slide(network.predictor, volume, sums, told)
            if folds == 1:
                return logits
            # Summed in main memory, as nnU-Net does.
            mean = logits.cpu().clone() if mean is None else mean.add_(logits.cpu())
        assert mean is not None
        return mean.div_(folds)


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
    floats = torch.empty(logits[:, 0].shape)
    values = floats.numpy()
    for plane, target in zip(logits.unbind(1), labels, strict=True):
        floats.copy_(plane)
        if not np.isfinite(values.sum()):
            _forbid_infinite(plane)
            target[...] = values.argmax(0)  # of a voxel without a number it takes the first such class
            continue
        target[...] = 0
        best = values[0].copy()
        for number, each in enumerate(values[1:], start=1):
            wins = np.greater(each, best)
            if wins.any():  # most classes are nowhere in a plane
                np.maximum(best, each, out=best)
                np.maximum(target, wins.view(np.uint8) * np.uint8(number), out=target)
    return labels


def _forbid_infinite(logits: torch.Tensor) -> None:
    if torch.isinf(logits).any():
        raise RuntimeError("a network's sums went beyond what 16 bits hold")


def _slide(predictor: Any, volume: torch.Tensor, sums: Sums, on_share: OnShare) -> torch.Tensor:
    if _is_on_gpu(predictor):
        with following(1, on_share):
            logits: torch.Tensor = predictor.predict_sliding_window_return_logits(volume)
            return logits
    patch = predictor.configuration_manager.patch_size
    padded, inner = pad_nd_image(volume, patch, "constant", {"value": 0}, True, None)
    places = predictor._internal_get_sliding_window_slicers(padded.shape[1:])
    weight = compute_gaussian(
        tuple(patch), sigma_scale=1.0 / 8, value_scaling_factor=10, device=volume.device
    )
    total = sums.zeros((predictor.label_manager.num_segmentation_heads, *padded.shape[1:]))
    weights = torch.zeros(padded.shape[1:], dtype=torch.half)
    add = _Adder(weight)
    for done, place in enumerate(places, start=1):
        tile = torch.clone(padded[place][None], memory_format=torch.contiguous_format)
        found = predictor._internal_maybe_mirror_and_predict(tile)[0]
        for each, values in zip(total, found, strict=True):
            add(each[place[1:]], values)
        weights[place[1:]] += weight
        on_share(done / len(places))
    return torch.div(total, weights, out=total)[(slice(None), *inner[1:])]


def _is_on_gpu(predictor: Any) -> bool:
    return bool(predictor.device.type == "cuda")


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
