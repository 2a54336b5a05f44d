"""Makes the README's pictures from the data in this repository: `python docs/pictures/make.py`."""

import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from batch_job.contract import find_task
from converter.derived.series import write_series
from converter.label_file import encode_label_file
from converter.series import read_series
from gateway.demo.picture import draw_segmentation
from gateway.demo.run import run_demo
from gateway.making.terms import label_table

HERE = Path(__file__).parent
TORSO = HERE.parents[1] / "tests" / "data" / "ct-torso-3mm"


def main() -> None:
    """Draw both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        _draw_encoded(Path(folder))
        demo = Path(folder) / "iris-demo"
        if run_demo(folder=demo, study=None, keep=False, pacs="auto", console=Console()) == 0:
            shutil.copyfile(demo / "picture.png", HERE / "demo.png")


def _draw_encoded(folder: Path) -> None:
    """`iris encode` on a series derived from the torso CT, with the labels that TotalSegmentator gave it."""
    series = folder / "series"
    write_series(TORSO / "ct.nii.gz", series)
    seg = folder / "seg.dcm"
    encode_label_file(series, TORSO / "labels.nii.gz", seg, label_table(*find_task("total")))
    draw_segmentation(
        seg,
        read_series(series),
        HERE / "encode.png",
        title="iris encode --task total: 41 structures in one DICOM-SEG",
        caption="A series derived from TotalSegmentator's example CT, with its model's labels (Apache-2.0)",
    )


if __name__ == "__main__":
    main()
