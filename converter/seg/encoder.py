"""Label map to DICOM-SEG on the original slices, read back and compared before anybody sees it.

`seg.header` makes the object, `seg.planes` its pixels, `seg.writer` writes both, `seg.file` reads them back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import config

from ..errors import EncodingFailed, LabelsDoNotFit
from ..results.header import of_this_header
from ..results.labelled import Labelled, Writer
from ..results.settings import ResultSettings, made_with
from ..series import Volume
from ..source_header import copied_header_digest
from ..staged_file import StagedFile
from ..terminology import PRIVATE_SCHEME, Structure
from ..voxels.geometry import frame_affine_lps
from ..voxels.grid import needs_another_grid
from .file import SegmentationFile, open_segmentation
from .header import Header, segmentation_header
from .places import Place, Places
from .planes import LabelPlanes, MaskedRows, MaskPlanes, Planes, Window, bounding_window
from .settings import (
    BYTE_BITS,
    SOP_CLASSES,
    Encoded,
    Encoding,
    SegmentationSettings,
    SegmentationType,
)
from .writer import FrameOrder, frame_order, write_segmentation

__all__ = [
    "ENCODER_VERSION",
    "Encoded",
    "Encoding",
    "SegmentationSettings",
    "SegmentationType",
    "copied_header_digest",
    "encode_masks",
    "encode_segmentation",
    "segmentation_writer",
]

ENCODER_VERSION = made_with("10")
"""Changes whenever the bytes would."""

NOTHING_TO_ENCODE = "the label map is empty; there is nothing to encode"


def encode_segmentation(
    volume: Volume,
    labels: NDArray[np.uint8],
    names: Mapping[int, str],
    settings: SegmentationSettings,
    out: Path,
) -> Encoded:
    """Write a DICOM-SEG (PS3.3 A.51) and read it back.

    Segments are numbered 1 to n without gaps in the order of the label values that occur (PS3.3
    C.8.20.2.4); the engine's own value stands in the Segment Description.

    Parameters
    ----------
    volume
        Of images, or `grid.even_volume` of one: then no frame lies on an image, and all are the source.
    labels
        (frames, rows, columns), uint8, on the volume's frames.
    names
        Label value to structure name, for every value that occurs.

    Raises
    ------
    LabelsDoNotFit
        Another shape than the volume's, or a value without a name.
    EncodingFailed
        Nothing to encode, or what was written does not read back as it should; there is no file then.
    OSError
    """
    _check_shape(volume, labels)
    planes = LabelPlanes(labels)
    values = planes.values
    nameless = [value for value in values if value not in names]
    if nameless:
        raise LabelsDoNotFit(
            f"the label table has no name for {', '.join(map(str, nameless))}; add them, or "
            "take the table of the task that found them"
        )
    return _encode(volume, planes, values, [names[value] for value in values], settings, out)


def segmentation_writer(encoding: Encoding) -> Writer:
    """What writes segmentations of one encoding."""

    def write(labelled: Labelled, settings: ResultSettings, out: Path) -> tuple[Encoded]:
        said = {each.name: getattr(settings, each.name) for each in fields(ResultSettings)}
        seg = SegmentationSettings(**said, encoding=encoding, flags=labelled.flags)
        return (encode_segmentation(labelled.volume, labelled.labels, labelled.names, seg, out),)

    return Writer(f"{ENCODER_VERSION} {encoding}", write)


def encode_masks(
    volume: Volume,
    masks: Mapping[str, NDArray[Any]],
    settings: SegmentationSettings,
    out: Path,
) -> Encoded:
    """Write a BINARY DICOM-SEG of structures that may overlap; otherwise as `encode_segmentation`.

    Parameters
    ----------
    masks
        Structure name to (frames, rows, columns), zero where it is not. Empty ones are left out; the label
        values in the Segment Descriptions are the places in the mapping, from 1.

    Raises
    ------
    LabelsDoNotFit, EncodingFailed, OSError
    """
    found: dict[int, str] = {}
    for value, (name, mask) in enumerate(masks.items(), start=1):
        _check_shape(volume, mask)
        if mask.any():
            found[value] = name
    if not found:
        raise EncodingFailed(NOTHING_TO_ENCODE)
    planes = MaskPlanes([masks[name] for name in found.values()])
    return _encode(volume, planes, list(found), list(found.values()), settings, out)


def _check_shape(volume: Volume, labels: NDArray[Any]) -> None:
    expected = (len(volume.frames), volume.rows, volume.columns)
    if labels.shape != expected:
        raise LabelsDoNotFit(f"the labels have the shape {labels.shape}, the series {expected}")


def _encode(
    volume: Volume,
    planes: Planes,
    values: Sequence[int],
    names: Sequence[str],
    settings: SegmentationSettings,
    out: Path,
) -> Encoded:
    if not values:
        raise EncodingFailed(NOTHING_TO_ENCODE)
    structures = [settings.structure(name) for name in names]
    window, shown = Window(0, 0, volume.rows, volume.columns), volume
    if settings.encoding.is_cropped:
        window = bounding_window(planes)
        planes, shown = planes.within(window), _part_of(volume, window)
    order = frame_order(planes.extents.presence, settings.encoding.type)
    header = _header(shown, values, structures, order, settings, planes)
    digest = _write_and_compare(header, volume, shown, planes, order, window, out)
    return Encoded(
        path=out,
        sha256=digest,
        sop_instance_uid=settings.sop_instance_uid,
        sop_class_uid=str(SOP_CLASSES[settings.encoding.type]),
        segments=tuple(found.name for found in structures),
        warnings=tuple(_warnings(structures, shown, settings)),
    )


def _warnings(
    structures: Sequence[Structure], shown: Volume, settings: SegmentationSettings
) -> Iterator[str]:
    for found in structures:
        if found.is_private:
            yield f"{found.name} has no standard code and got a private one ({PRIVATE_SCHEME})"
    if needs_another_grid(shown):
        yield (
            "the slices lean or are unevenly spaced: readers that take frames for an even grid (dcmqi, so 3D "
            "Slicer) show the segmentation centimetres beside, or not at all; seg.even_grid (iris encode "
            "--even-grid) makes one on an even grid for them"
        )
    if settings.encoding.type is SegmentationType.BINARY and shown.columns % BYTE_BITS:
        yield (
            f"rows of {shown.columns} pixels end within a byte, which some viewers draw wrongly (OHIF 3.13, "
            "Weasis up to 4.6.6); a label map they draw right"
        )


def _part_of(volume: Volume, window: Window) -> Volume:
    """The volume as if its slices were that part only."""
    positions = [
        frame_affine_lps(volume, number)[:3] @ (window.column, window.row, 1)
        for number in range(len(volume.frames))
    ]
    return replace(
        volume,
        rows=window.rows,
        columns=window.columns,
        frames=tuple(
            replace(frame, position_lps_mm=(float(x), float(y), float(z)))
            for frame, (x, y, z) in zip(volume.frames, positions, strict=True)
        ),
    )


def _header(
    shown: Volume,
    values: Sequence[int],
    structures: Sequence[Structure],
    order: FrameOrder,
    settings: SegmentationSettings,
    planes: Planes,
) -> Header:
    is_overlapping = isinstance(planes, MaskPlanes) and planes.overlap()
    with of_this_header("a segmentation"):
        return segmentation_header(
            shown, values, structures, order.used_frames, settings, is_overlapping=is_overlapping
        )


# -- writing ------------------------------------------------------------------------------------------------


def _write_and_compare(
    header: Header,
    volume: Volume,
    shown: Volume,
    planes: Planes,
    order: FrameOrder,
    window: Window,
    out: Path,
) -> str:
    """Write next to `out`, read back, compare every pixel, and only then put it in its place."""
    staged = StagedFile(out)
    try:
        with config.disable_value_validation():
            write_segmentation(staged, header, planes, shown, order)
        staged.finish()
        _check_reads_back(staged.temporary, volume, planes, order, window)
        staged.commit()
        return staged.sha256
    finally:
        staged.discard()


def _check_reads_back(path: Path, volume: Volume, planes: Planes, order: FrameOrder, window: Window) -> None:
    """Every frame is where it should be and shows what it should, and together they show every pixel."""
    failed = EncodingFailed("the segmentation does not read back as its labels; nothing was written")
    shown = 0
    try:
        with open_segmentation(path) as file:
            places = Places(file, volume)
            if places.are_turned:
                raise failed
            is_labelmap = file.type is SegmentationType.LABELMAP
            found = zip(places.places(), file.segments, _shown_pixels(file, planes, order), strict=True)
            wanted = zip(order.frames.tolist(), order.segments.tolist(), strict=True)
            for (place, number, pixels), (frame, segment) in zip(found, wanted, strict=True):
                is_there = place == Place(frame, window) and number == (0 if is_labelmap else segment + 1)
                if not is_there or pixels is None:
                    raise failed
                shown += pixels
    except (LabelsDoNotFit, ValueError):
        raise failed from None
    if shown != planes.pixel_count():
        raise failed


def _shown_pixels(file: SegmentationFile, planes: Planes, order: FrameOrder) -> Iterator[int | None]:
    """How many pixels each frame of the file shows; None where they are not those that it should show."""
    wanted = zip(order.segments.tolist(), order.frames.tolist(), strict=True)
    if file.is_packed_by_frame:
        for packed, (segment, frame) in zip(file.packed_frames(), wanted, strict=True):
            yield _packed_pixels(packed, planes.masked_rows(segment, frame), planes.shape[1])
    elif file.type is SegmentationType.LABELMAP and isinstance(planes, LabelPlanes):
        for plane, (_, frame) in zip(file.planes(), wanted, strict=True):
            yield int(np.count_nonzero(plane)) if np.array_equal(plane, planes.numbers(frame)) else None
    else:
        for plane, (segment, frame) in zip(file.planes(), wanted, strict=True):
            first_row, mask = planes.masked_rows(segment, frame)
            rows = plane[first_row : first_row + len(mask)].view(np.bool_)
            yield None if (rows ^ mask).any() else int(np.count_nonzero(plane.view(np.bool_)))


def _packed_pixels(packed: bytes, wanted: MaskedRows, columns: int) -> int | None:
    """The same of a frame's packed bits: unpacked only where the segment is, since all others must be 0."""
    mask = wanted.mask.reshape(-1)
    begin = wanted.first_row * columns // BYTE_BITS  # whole bytes, since parts begin at such a row
    end = begin - (-mask.size // BYTE_BITS)
    bits = np.unpackbits(np.frombuffer(packed[begin:end], np.uint8), bitorder="little").view(np.bool_)
    pixels = np.count_nonzero(bits)
    is_same = not (bits[: mask.size] ^ mask).any() and pixels == np.count_nonzero(bits[: mask.size])
    is_empty = packed[:begin] == bytes(begin) and packed[end:] == bytes(len(packed) - end)
    return int(pixels) if is_same and is_empty else None
