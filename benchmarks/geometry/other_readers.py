"""Readers that need other versions than ours: `python other_readers.py SEG.dcm LABELS.nii.gz`.

In an environment of their own: `pip install "pydicom<3" pydicom-seg itk`. pydicom-seg reads a segmentation
with its geometry; ITK and SimpleITK know no segmentations and give all frames as one stack, so only bits are
compared.
"""

import sys

import itk
import numpy as np
import pydicom
import pydicom_seg
import SimpleITK as sitk  # noqa: N813


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def main() -> None:
    """Compare each reader's labels with the label map that was encoded."""
    segmentation, labels = sys.argv[1:]
    dataset = pydicom.dcmread(segmentation)
    read = pydicom_seg.MultiClassReader().read(dataset).image
    there = sitk.Resample(sitk.ReadImage(labels), read, sitk.Transform(), sitk.sitkNearestNeighbor)
    numbers, values = (sitk.GetArrayFromImage(image).ravel().tolist() for image in (read, there))
    pairs = set(zip(numbers, values, strict=True))
    names = {segment.SegmentNumber: segment.SegmentLabel for segment in dataset.SegmentSequence}
    one_to_one = len(pairs) == len(names) + 1 == len({value for _, value in pairs})
    say(f"pydicom-seg: {len(pairs) - 1} segments, each label on its voxels: {one_to_one}")
    bits = dataset.pixel_array > 0
    for name, found in (
        ("ITK", itk.array_from_image(itk.imread(segmentation))),
        ("SimpleITK", sitk.GetArrayFromImage(sitk.ReadImage(segmentation))),
    ):
        say(f"{name}: {len(found)} frames, the same bits: {np.array_equal(found > 0, bits)}")


if __name__ == "__main__":
    main()
