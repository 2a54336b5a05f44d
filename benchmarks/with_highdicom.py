"""highdicom's own way, as its documentation shows it: label map to segmentation, and back.

Run as `python -m benchmarks.with_highdicom WHAT ...`. A user's script: nothing of the converter is in it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from benchmarks.stopwatch import synced, timed


def headers_of(series: Path) -> list[Dataset]:
    """Every slice's header, from the feet to the head."""
    headers = [dcmread(path, stop_before_pixels=True) for path in series.iterdir()]
    return sorted(headers, key=lambda header: float(header.ImagePositionPatient[2]))


def encode(kind: str, series: Path, labels: Path, segments: Path, out: Path) -> None:
    """BINARY uncompressed, or LABELMAP with RLE."""
    headers = headers_of(series)
    with timed():
        array = np.asanyarray(_loaded(labels).dataobj)
        seg = hd.seg.Segmentation(
            source_images=headers,
            pixel_array=np.ascontiguousarray(array[:, ::-1].transpose(2, 1, 0)),
            segmentation_type=kind,
            segment_descriptions=_descriptions(segments),
            series_instance_uid=generate_uid(),
            series_number=300,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="Benchmark",
            manufacturer_model_name="highdicom",
            software_versions="1",
            device_serial_number="1",
            transfer_syntax_uid=ExplicitVRLittleEndian if kind == "BINARY" else RLELossless,
        )
        seg.save_as(out)
        synced(out)


def decode(segmentation: Path, series: Path, like: Path, out: Path) -> None:
    """To a label map NIfTI on the grid of another one."""
    headers = headers_of(series)
    with timed():
        frames = _frames(segmentation, headers)
        nib.save(nib.Nifti1Image(frames.transpose(2, 1, 0)[:, ::-1], _loaded(like).affine), out)
        synced(out)


def read(segmentation: Path, series: Path, out: Path) -> None:
    """To an array; it is kept beside the clock."""
    headers = headers_of(series)
    with timed():
        frames = _frames(segmentation, headers)
    np.save(out, frames)


def _frames(segmentation: Path, headers: list[Dataset]) -> NDArray[np.uint8]:
    """The label map, (frames, rows, columns), on the slices of the headers."""
    seg = hd.seg.segread(segmentation)
    frames: NDArray[np.uint8] = seg.get_pixels_by_source_instance(
        source_sop_instance_uids=[header.SOPInstanceUID for header in headers], combine_segments=True
    )
    return frames


def _loaded(path: Path) -> Any:
    return nib.load(path)


def _descriptions(segments: Path) -> list[hd.seg.SegmentDescription]:
    def concept(item: dict[str, str]) -> hd.sr.CodedConcept:
        return hd.sr.CodedConcept(item["CodeValue"], item["CodingSchemeDesignator"], item["CodeMeaning"])

    return [
        hd.seg.SegmentDescription(
            segment_number=item["labelID"],
            segment_label=item["SegmentLabel"],
            segmented_property_category=concept(item["SegmentedPropertyCategoryCodeSequence"]),
            segmented_property_type=concept(item["SegmentedPropertyTypeCodeSequence"]),
            algorithm_type="AUTOMATIC",
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                name="benchmark", family=hd.sr.CodedConcept("123109", "DCM", "Manual Processing"), version="1"
            ),
            display_color=hd.color.CIELabColor.from_rgb(*item["recommendedDisplayRGBValue"]),
        )
        for item in json.loads(segments.read_text())
    ]


def main(what: str, *arguments: str) -> None:
    """Do one thing, with paths as they come on the command line."""
    paths = [Path(argument) for argument in arguments]
    if what == "decode":
        decode(*paths)
    elif what == "read":
        read(*paths)
    else:
        encode(what, *paths)


if __name__ == "__main__":
    main(*sys.argv[1:])
