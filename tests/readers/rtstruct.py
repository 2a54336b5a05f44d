"""Reads a structure set by rt-utils and by dicompyler-core: the pixels of each region, as they see them.

Run in an environment of its own (`.venv-rtstruct`), which has neither the gateway nor the converter:
`python rtstruct.py SERIES_DIR RTSTRUCT.dcm OUT.npz`. Writes for each region's name two masks, (frames, rows,
columns), in the order of the slices' heights: "rt_utils NAME" and "dicompyler NAME".
"""

import sys
from pathlib import Path

import numpy as np
from dicompylercore import dicomparser, dvhcalc
from pydicom import dcmread
from rt_utils import RTStructBuilder


def sorted_images(folder):
    images = [dcmread(path) for path in sorted(Path(folder).iterdir())]
    row, column = np.array(images[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    return sorted(images, key=lambda image: np.array(image.ImagePositionPatient, float) @ normal)


def by_rt_utils(folder, path, images):
    read = RTStructBuilder.create_from(folder, path)
    places = [str(image.SOPInstanceUID) for image in read.series_data]
    order = [places.index(image.SOPInstanceUID) for image in images]
    rows, columns = images[0].Rows, images[0].Columns
    side = min(
        rows, columns
    )  # it exchanges rows and columns where a slice is not square, and cuts the rest off
    for name in read.get_roi_names():
        mask = np.zeros((len(images), rows, columns), bool)
        mask[:, :side, :side] = read.get_roi_mask_by_name(name)[:side, :side, order].transpose(2, 0, 1)
        yield name, mask


def by_dicompyler(path, images):
    """Its points and its test of which pixels lie within.

    It knows planes across z only, so that the points are carried onto the image's rows and columns first.
    """
    read = dicomparser.DicomParser(path)
    rows, columns = images[0].Rows, images[0].Columns
    lut = {"lut": (np.arange(columns), np.arange(rows)), "x_lut_index": 0}
    x, y = np.meshgrid(*lut["lut"])
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    for number, structure in read.GetStructures().items():
        mask = np.zeros((len(images), rows, columns), bool)
        for plane in read.GetStructureCoordinates(number).values():
            for contour in plane:
                points = np.array(contour["data"], float)
                frame, points = on_image(points, images)
                mask[frame] ^= dvhcalc.get_contour_mask(lut, number, grid, points)
        yield structure["name"], mask


def on_image(points, images):
    """The image on which a contour lies, and its points there: column, row."""
    across, down = np.array(images[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(across, down)
    positions = np.array([image.ImagePositionPatient for image in images], float)
    frame = int(np.abs(positions @ normal - points[0] @ normal).argmin())
    row_mm, column_mm = map(float, images[0].PixelSpacing)
    away = points - positions[frame]
    return frame, np.stack([away @ across / column_mm, away @ down / row_mm], axis=1)


def main(folder, path, out):
    images = sorted_images(folder)
    masks = {f"rt_utils {name}": mask for name, mask in by_rt_utils(folder, path, images)}
    masks.update({f"dicompyler {name}": mask for name, mask in by_dicompyler(path, images)})
    np.savez_compressed(out, **masks)


if __name__ == "__main__":
    main(*sys.argv[1:])
