"""Draws docs/pictures/landing.png: labels at the places that their DICOM-SEG gives them, on the phantom.

`python -m benchmarks.geometry.picture PYTHON_WITH_TOTALSEGMENTATOR`. Every pixel is drawn as the piece of the
patient that it is, so that leaning slices lean.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.geometry.cases import CASES, Case
from benchmarks.geometry.landing import Slice, landing, segmented, source_slices, truths
from benchmarks.geometry.ours import outcome
from benchmarks.geometry.phantoms import BALLS, MIDDLE_MM
from benchmarks.geometry.ways import by_dcmqi, by_totalsegmentator, niftis

OUT = Path(__file__).parents[2] / "docs" / "pictures" / "landing.png"
PIXELS_PER_MM = 3.0
PANEL, GAP, HEAD = (450, 330), 14, 52
BACKGROUND, INK, FAINT = (17, 19, 24), (236, 238, 242), (150, 156, 168)
COLOURS = {1: (239, 138, 60), 2: (94, 190, 226)}


@dataclass(frozen=True)
class View:
    """A cut through the patient: LPS axes across and down the picture, and where it cuts the third."""

    across: int
    down: int
    down_sign: int
    normal: int
    at_mm: float
    sides: tuple[str, str, str, str]

    def on_picture(self, places_mm: NDArray[np.float64]) -> list[tuple[float, float]]:
        """Places (n, 3) to pixels of a panel."""
        from_middle = (places_mm - MIDDLE_MM) * PIXELS_PER_MM
        x = PANEL[0] / 2 + from_middle[:, self.across]
        y = HEAD + (PANEL[1] - HEAD) / 2 + self.down_sign * from_middle[:, self.down]
        return list(zip(x.tolist(), y.tolist(), strict=True))


SAGITTAL = View(1, 2, -1, 0, BALLS[0].middle_mm[0], ("A", "P", "H", "F"))
AXIAL = View(0, 1, 1, 2, 140.0, ("R", "L", "A", "P"))


def main(totalsegmentator: Annotated[Path, typer.Argument(help="A Python that has it")]) -> None:
    """Draw the four panels."""
    tilted, prone = (
        next(case for case in CASES if case.name == name) for name in ("gantry tilt, forwards", "prone (HFP)")
    )
    with TemporaryDirectory(prefix="iris-geometry-") as name:
        folders = [Path(name) / str(number) for number in range(2)]
        for folder, case in zip(folders, (tilted, prone), strict=True):
            folder.mkdir()
            outcome(case, folder)
        (plain, *_) = niftis(folders[0] / "series", folders[0] / "niftis")
        by_dcmqi(folders[0] / "series", plain, tilted.engine, folders[0] / "dcmqi.dcm")
        by_totalsegmentator(totalsegmentator, folders[1] / "series", prone.engine, folders[1] / "ts.dcm")
        panels = [
            _panel(SAGITTAL, tilted, folders[0], "seg.dcm", "Gantry tilt 15°, IRIS"),
            _panel(SAGITTAL, tilted, folders[0], "dcmqi.dcm", "Gantry tilt 15°, dcm2niix and dcmqi"),
            _panel(AXIAL, prone, folders[1], "seg.dcm", "Prone, IRIS"),
            _panel(AXIAL, prone, folders[1], "ts.dcm", "Prone, TotalSegmentator"),
        ]
    canvas = Image.new("RGB", (2 * PANEL[0] + 3 * GAP, 2 * PANEL[1] + 3 * GAP), BACKGROUND)
    for number, panel in enumerate(panels):
        column, row = number % 2, number // 2
        canvas.paste(panel, (GAP + column * (PANEL[0] + GAP), GAP + row * (PANEL[1] + GAP)))
    canvas.quantize(128).save(OUT, optimize=True)


def _panel(view: View, case: Case, folder: Path, name: str, title: str) -> Image.Image:
    found = landing(folder / name, truths(folder / "series", case.engine))
    panel = Image.new("RGB", PANEL, (0, 0, 0))
    draw = ImageDraw.Draw(panel, "RGBA")
    for path in sorted((folder / "series").iterdir()):
        for one, values in source_slices(path):
            for corners, value in _cut(view, one, values):
                shade = int(np.interp(value, (-1000, 0, 800, 1000), (0, 70, 120, 135)))
                draw.polygon(corners, (shade, shade, shade))
    for one in segmented(folder / name):
        for corners, label in _cut(view, one, one.labels):
            if label:
                draw.polygon(corners, (*COLOURS[int(label)], 165))
    for ball in BALLS:
        _outline(draw, view, ball.middle_mm, ball.radius_mm)
    draw.rectangle((0, 0, PANEL[0], HEAD), (*BACKGROUND, 255))
    draw.text((4, 4), title, INK, _font(17))
    draw.text((4, 27), f"labels where the header puts them: {found.in_words(case.engine)}", FAINT, _font(14))
    _sides(draw, view.sides)
    return panel


def _cut(
    view: View, one: Slice, values: NDArray[np.generic]
) -> Iterator[tuple[list[tuple[float, float]], float]]:
    """The pixels of a slice that the view cuts, each as four corners on the picture, with its value.

    A slice is as thick as the phantoms' are apart, along the patient's own axis.
    """
    rows, columns = values.shape
    row, column = np.mgrid[:rows, :columns]
    places = np.stack([column, row, np.ones_like(row)], -1) @ one.affine.T
    across, down, thick = one.affine[:, 0], one.affine[:, 1], np.array([0.0, 0.0, 3.2])
    sides = [side for side in (across, down, thick) if abs(side[view.normal]) < 1e-6]
    reach = max(abs(side[view.normal]) for side in (across, down, thick))
    inside = np.abs(places[..., view.normal] - view.at_mm) <= reach / 2
    for place, value in zip(places[inside], values[inside], strict=True):
        first, second = sides[0] / 2, sides[1] / 2
        corners = np.array([-first - second, first - second, first + second, second - first]) + place
        yield view.on_picture(corners), float(value)


def _outline(draw: ImageDraw.ImageDraw, view: View, middle_mm: Sequence[float], radius_mm: float) -> None:
    """Where the ball really is."""
    off_mm = abs(middle_mm[view.normal] - view.at_mm)
    if off_mm < radius_mm:
        ((x, y),) = view.on_picture(np.array([middle_mm]))
        radius = float(np.sqrt(radius_mm**2 - off_mm**2)) * PIXELS_PER_MM
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=INK, width=2)


def _sides(draw: ImageDraw.ImageDraw, sides: tuple[str, str, str, str]) -> None:
    width, height = PANEL
    middle = HEAD + (height - HEAD) / 2
    places = (
        (6, middle, "lm"),
        (width - 6, middle, "rm"),
        (width / 2, HEAD + 4, "mt"),
        (width / 2, height - 4, "mb"),
    )
    for letter, (x, y, anchor) in zip(sides, places, strict=True):
        draw.text((x, y), letter, INK, _font(15), anchor=anchor, stroke_width=2, stroke_fill=BACKGROUND)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


if __name__ == "__main__":
    typer.run(main)
