"""A volume on a network's grid: what nnU-Net makes of it before the network, and the labels' way back.

nnU-Net's own functions are called where they decide what comes out; what it writes into files and reads again
is handed on. The few bytes of an image of the same geometry are read by nnU-Net's own reader: what it says of
the spacing decides how nnU-Net resamples.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import (
    bounding_box_to_slice,
    get_bbox_from_mask,
    insert_crop_into_image,
)
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from numpy.typing import NDArray

from .networks import Network
from .proven import NotCovered
from .sliding import OnShare, Sums, largest, logits_of


@dataclass(frozen=True)
class Volume:
    """Voxels on a network's grid.

    Parameters
    ----------
    name
        As TotalSegmentator calls it: `s01`, and `s02`, `s03` where an image was cut in three.
    values
        (z, y, x), contiguous.
    spacing_mm
        (z, y, x), as nnU-Net reads it.
    """

    name: str
    values: NDArray[np.float32]
    spacing_mm: tuple[float, ...]
    _boxes: dict[tuple[int, ...], Any] = field(default_factory=dict, compare=False)

    @cached_property
    def digest(self) -> str:
        """Tells volumes apart."""
        content = hashlib.sha256(repr((self.values.shape, self.spacing_mm)).encode())
        content.update(self.values.data)
        return content.hexdigest()

    def labels(self, network: Network, sums: Sums, on_share: OnShare) -> NDArray[np.uint8]:
        """What the network finds, (z, y, x).

        Raises
        ------
        NotCovered
            nnU-Net has other parts for this network than those that are known here.
        """
        predictor = network.predictor
        plans, configuration = predictor.plans_manager, predictor.configuration_manager
        _check(plans, configuration)
        order = tuple(plans.transpose_forward)
        spacing_mm = [self.spacing_mm[axis] for axis in order]
        data, box = self._normalized(network, order)
        # Two-dimensional networks leave the distance of slices as it is.
        target_mm = [*spacing_mm[: 3 - len(configuration.spacing)], *configuration.spacing]
        shape = data.shape[1:]
        data = configuration.resampling_fn_data(
            data, compute_new_shape(shape, spacing_mm, target_mm), spacing_mm, target_mm
        )
        logits = logits_of(network, torch.from_numpy(data), sums, on_share)
        if tuple(logits.shape[1:]) == shape and not predictor.label_manager.has_regions:
            found = largest(logits)
        else:
            resampled = configuration.resampling_fn_probabilities(logits.cpu(), shape, target_mm, spacing_mm)
            del logits
            found = np.asarray(predictor.label_manager.convert_logits_to_segmentation(resampled))
        whole = np.zeros([self.values.shape[axis] for axis in order], np.uint8)
        inserted: NDArray[np.uint8] = insert_crop_into_image(whole, found, box)
        return inserted.transpose(plans.transpose_backward)

    def _normalized(self, network: Network, order: tuple[int, ...]) -> tuple[NDArray[np.float32], Any]:
        """Cut to what is not zero, in the network's order of axes, with its intensities; and the box."""
        predictor = network.predictor
        configuration = predictor.configuration_manager
        # A copy of the whole, cut then: sums over it, as for its mean, go over memory in nnU-Net's order.
        data = self.values[None].copy().transpose(0, *(axis + 1 for axis in order))
        if any(configuration.use_mask_for_norm):
            data, mask, box = crop_to_nonzero(data)
        else:
            box = self._box(data, order)
            data = data[(slice(None), *bounding_box_to_slice(box))]
            mask = np.broadcast_to(np.int8(0), data.shape)
        normalize = DefaultPreprocessor(verbose=False)._normalize
        properties = predictor.plans_manager.foreground_intensity_properties_per_channel
        return normalize(data, mask, configuration, properties), box

    def _box(self, data: NDArray[np.float32], order: tuple[int, ...]) -> Any:
        """The box around what is not zero; holes in it, which nnU-Net fills, cannot make it larger."""
        if order not in self._boxes:
            self._boxes[order] = get_bbox_from_mask(data[0] != 0)
        return self._boxes[order]


def spacing_of(affine: NDArray[np.float64], shape: tuple[int, ...], scratch: Path) -> tuple[float, ...]:
    """The spacing, (z, y, x) mm, that nnU-Net's reader finds in an image with this affine.

    Raises
    ------
    NotCovered
        It takes the image for a flat one.
    """
    _, said = _read_by_nnunet(affine, shape, scratch)
    return tuple(float(each) for each in said["spacing"])


def written_zooms(affine: NDArray[np.float64], shape: tuple[int, ...], scratch: Path) -> tuple[float, ...]:
    """The spacing, (x, y, z) mm, that the labels have which nnU-Net writes of an image with this affine.

    Raises
    ------
    NotCovered
        nnU-Net takes the image for a flat one.
    """
    voxels, said = _read_by_nnunet(affine, shape, scratch)
    path = scratch / "written.nii.gz"
    SimpleITKIO().write_seg(voxels[0].astype(np.uint8), str(path), said)
    written: Any = nib.load(path)
    path.unlink()
    return tuple(written.header.get_zooms())


def _read_by_nnunet(affine: NDArray[np.float64], shape: tuple[int, ...], scratch: Path) -> tuple[Any, Any]:
    """What nnU-Net reads of the smallest image of the same geometry: voxels, and what is said of them."""
    path = scratch / "geometry.nii"
    # One slice stays one slice: the reader leaves such an axis out.
    smallest = np.zeros([min(count, 2) for count in shape], np.int32)
    nib.save(nib.Nifti1Image(smallest, affine), path)
    voxels, said = SimpleITKIO().read_images((str(path),))
    if len(said["sitk_stuff"]["spacing"]) != len(shape):
        raise NotCovered("the image has a single slice")
    return voxels, said


def _check(plans: Any, configuration: Any) -> None:
    if plans.image_reader_writer_class is not SimpleITKIO:
        raise NotCovered("a network's images are read in another way")
    if configuration.preprocessor_class is not DefaultPreprocessor:
        raise NotCovered("a network's images are prepared in another way")
    if configuration.previous_stage_name is not None:
        raise NotCovered("a network needs the result of another one")
