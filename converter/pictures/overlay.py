"""The output overlay: a series of colour pictures, a slice each, with structures as lines over the grey.

Each says where it lies, so that it scrolls along with the images. The legend stands beside the image, on the
right, so that the first pixel is where it was.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from converter.errors import EncodingFailed
from converter.results.labelled import Labelled, Writer
from converter.results.settings import MARK, ResultSettings, WrittenObject, made_with
from converter.staged_file import flush_folder, write_whole
from converter.uids import derived_uid

from .contours import contours, line_width
from .grey import brightness_of
from .ink import BACKGROUND, INK, font, in_plain_letters, remarks
from .instances import Instances, OwnFacts, add_plane, picture_header
from .legend import Entry, Legend
from .planes import Planes, ends_of, planes_of
from .settings import Drawing

THREADS: Final = 2
SAMPLES: Final = 5
"""As many pictures are made to learn how large one gets compressed."""
LONGEST_DESCRIPTION: Final = 64
BYTES_IN_MB: Final = 1e6


def overlay_version(drawing: Drawing) -> str:
    """Changes whenever the bytes would."""
    return f"{made_with('4')} pillow {metadata.version('pillow')} {drawing}"


def overlay_writer(drawing: Drawing) -> Writer:
    """What `iris encode` makes it with."""

    def write(labelled: Labelled, settings: ResultSettings, folder: Path) -> Sequence[WrittenObject]:
        return encode_overlay(labelled, settings, drawing, folder)

    return Writer(overlay_version(drawing), write)


OVERLAY: Final = overlay_writer(Drawing())
"""Of the source's own slices, uncompressed."""


def encode_overlay(
    labelled: Labelled, settings: ResultSettings, drawing: Drawing, folder: Path
) -> tuple[WrittenObject, ...]:
    """Write a series of pictures, `UID.dcm` each; the first has the settings' UID.

    Raises
    ------
    EncodingFailed
        Nothing to draw, or planes that these images do not have.
    ConversionFailed
        The images' pixels cannot be read.
    OSError
    """
    if not labelled.values:
        raise EncodingFailed("the label map is empty; there is nothing to draw")
    with brightness_of(labelled.volume) as grey:
        planes = planes_of(labelled.volume, labelled.labels, grey, drawing.cut)
        return _Series(labelled, settings, drawing, planes, folder).written()


class _Series:
    """One series in the making."""

    def __init__(
        self, labelled: Labelled, settings: ResultSettings, drawing: Drawing, planes: Planes, folder: Path
    ) -> None:
        self._labelled, self._settings, self._drawing = labelled, settings, drawing
        self._planes, self._folder = planes, folder
        self._counts = [_counted(planes.labels(number)) for number in range(len(planes))]
        self._legend = self._made_legend()
        self._line = line_width(*planes.shape)
        self._shape = (self._legend.height, planes.shape[1] + self._legend.width)
        self._colours = np.zeros((256, 3), np.uint8)
        for value in labelled.values:
            self._colours[value] = settings.structure(labelled.names[value]).rgb
        self._sides = _Sides(planes, self._shape[1])
        self._every = 1
        self._instances = self._made_instances()

    def written(self) -> tuple[WrittenObject, ...]:
        """All of them; several are made at a time."""
        self._every = self._step()
        if self._every > 1:  # which they say
            self._instances = self._made_instances()
        numbers = range(self._every // 2, len(self._planes), self._every)
        self._folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(THREADS) as pool:
            written = list(pool.map(self._write, numbers, [n == numbers[0] for n in numbers]))
        flush_folder(self._folder)
        if self._every == 1:
            return tuple(written)
        warning = (
            f"the overlay shows every {_ordinal(self._every)} slice: all {len(self._planes)} would be more "
            f"than {self._drawing.most_mb:g} MB (overlay.max_mb)"
        )
        return (replace(written[0], warnings=(warning,)), *written[1:])

    def _made_legend(self) -> Legend:
        entries = {}
        for value in self._labelled.values:
            found = self._settings.structure(self._labelled.names[value])
            is_flagged = bool(self._labelled.flags_of(self._labelled.names[value]))
            entries[value] = Entry(in_plain_letters(found.words, value), found.rgb, is_flagged)
        algorithm, flags = self._settings.algorithm, self._labelled.flags
        most = max(int(np.count_nonzero(counts[1:])) for counts in self._counts)
        said, warning = [algorithm.name, algorithm.version], remarks(len(flags)) if flags else ""
        return Legend(entries, said, self._planes.shape, most, warning)

    def _made_instances(self) -> Instances:
        planes, settings, volume = self._planes, self._settings, self._labelled.volume
        said = f"Contours of {len(self._labelled.values)} structures drawn on the images; research use only"
        if self._every > 1:
            said = f"Every {_ordinal(self._every)} slice only. {said}"
            settings = replace(settings, series_description=self._thinned(settings.series_description))
        shared = picture_header(volume, settings, self._shape, self._drawing.transfer_syntax_uid, said)
        add_plane(shared, volume, planes.orientation_lps, planes.pixel_spacing_mm, planes.thickness_mm)
        return Instances(shared, volume)

    def _thinned(self, description: str) -> str:
        """Behind the mark of a flagged result, which stays the first word."""
        mark = f"{MARK} " if description.startswith(MARK) else ""
        said = f"{mark}1 of {self._every}: {description.removeprefix(mark)}"
        return said[:LONGEST_DESCRIPTION].rstrip()

    def _step(self) -> int:
        """1 for every slice, n for every n-th."""
        count = len(self._planes)
        size = self._shape[0] * self._shape[1] * 3
        if self._drawing.transfer_syntax_uid.is_encapsulated:
            sample = np.unique(np.linspace(0, count - 1, SAMPLES).astype(int)).tolist()
            uid = self._settings.sop_instance_uid
            size = max(sum(map(len, self._file(number, uid))) for number in sample)
        return max(1, int(np.ceil(size * count / (self._drawing.most_mb * BYTES_IN_MB))))

    def _write(self, number: int, is_first: bool) -> WrittenObject:
        first = self._settings.sop_instance_uid
        uid = first if is_first else derived_uid(first, "picture", str(number))
        out = self._folder / f"{uid}.dcm"
        return WrittenObject(
            path=out,
            sha256=write_whole(out, self._file(number, uid)),
            sop_instance_uid=uid,
            sop_class_uid=self._instances.sop_class_uid,
        )

    def _file(self, number: int, uid: str) -> list[bytes]:
        planes = self._planes
        own = OwnFacts(uid, planes.numbers[number], planes.sources(number), planes.position_lps_mm(number))
        return self._instances.file(own, self._picture(number))

    def _picture(self, number: int) -> NDArray[np.uint8]:
        """The image with its lines, and the strip beside it, (rows, columns, 3)."""
        grey, labels = self._planes.plane(number)
        rows, columns = grey.shape
        canvas = np.empty((*self._shape, 3), np.uint8)
        for channel in range(3):  # three times a plane: thrice as fast as a pixel's three values at a time
            canvas[:rows, :columns, channel] = grey
        at = np.flatnonzero(contours(labels, self._line))
        wide = self._shape[1]
        canvas.reshape(-1, 3)[at + at // columns * (wide - columns)] = self._colours[labels.reshape(-1)[at]]
        self._sides.draw(canvas)
        canvas[rows:, :columns] = BACKGROUND
        self._legend.draw(self._counts[number], canvas[:, columns:])
        return canvas


class _Sides:
    """Small letters at the edges that say which side is which, as viewers that know no directions need.

    Parameters
    ----------
    wide
        Columns of the picture on which they are drawn.
    """

    def __init__(self, planes: Planes, wide: int) -> None:
        rows, columns = planes.shape
        size = 16 if max(rows, columns) >= 512 else 11
        left, right, top, bottom = ends_of(planes.orientation_lps)
        inner = Image.new("L", (columns, rows))
        outer = Image.new("L", (columns, rows))
        places = [
            (left, (3, rows / 2), "lm"),
            (right, (columns - 3, rows / 2), "rm"),
            (top, (columns / 2, 2), "mt"),
            (bottom, (columns / 2, rows - 3), "mb"),
        ]
        for letter, at, anchor in places:
            ImageDraw.Draw(inner).text(at, letter, 255, font(size), anchor=anchor)
            ImageDraw.Draw(outer).text(at, letter, 255, font(size), anchor=anchor, stroke_width=1)
        self._around, self._letters = (
            down * wide + across for down, across in (np.nonzero(np.asarray(m) > 127) for m in (outer, inner))
        )

    def draw(self, image: NDArray[np.uint8]) -> None:
        """Put them on a picture, contiguous, whose image lies at its top left."""
        image.reshape(-1, 3)[self._around] = BACKGROUND
        image.reshape(-1, 3)[self._letters] = INK


def _counted(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each label value, (256,); none of 0."""
    return np.bincount(labels[labels > 0], minlength=256)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number // 10 % 10 != 1 else "th"
    return f"{number}{ending}"
