"""The page: one sheet of A4 that says what was proven, station by station."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from converter.pictures.ink import Colour
from converter.pictures.pdf_sheet import PdfSheet, pdf_of
from converter.pictures.sheet import HEIGHT, WIDTH, Tone, wrapped

from .phantom import BALLS, BODY, hu_of
from .stations import FormFound, Report, Station, Verdict

MARGIN: Final = 56
_FULL: Final = WIDTH - 2 * MARGIN
_WORD: Final = {
    Verdict.PASSED: "passed",
    Verdict.NOTED: "remark",
    Verdict.NOT_REACHED: "not reached",
    Verdict.FAILED: "FAILED",
}
_MARK: Final[dict[Verdict, Colour]] = {
    Verdict.PASSED: (46, 125, 50),
    Verdict.NOTED: (230, 150, 30),
    Verdict.NOT_REACHED: (190, 192, 198),
    Verdict.FAILED: (200, 40, 40),
}
_RULE: Final[Colour] = (205, 208, 214)
_COLOURS: Final[dict[int, Colour]] = {1: (235, 225, 200), 2: (240, 190, 70), 4: (90, 170, 235)}
_PICTURE_MM_PX: Final = 1.02
"""Pixels of the page for a millimetre of the phantom."""
_MOST_LINES: Final = 3
"""Of what one station found: the whole stands in the terminal and in --json."""


@dataclass(frozen=True)
class Shown:
    """A picture of one position: labels as they came back, or as they must, (rows, columns)."""

    caption: str
    labels: NDArray[np.uint8]
    pixel_mm: tuple[float, float]


def page_of(report: Report, pictures: Sequence[Shown], made_at: datetime) -> bytes:
    """The page as PDF."""
    sheet = PdfSheet()
    page = _Page(sheet)
    page.head(report)
    page.facts(report)
    page.stations(report.stations)
    page.forms(report.forms)
    page.pictures(pictures)
    page.list_of("What is proven", report.proven or ["Nothing yet: the way was not open to its end."])
    page.list_of("What to do", report.to_do or ["Nothing."])
    page.foot()
    return pdf_of([sheet], "IRIS Gateway acceptance test", made_at)


class _Page:
    """Writes from the top down."""

    def __init__(self, sheet: PdfSheet) -> None:
        self._sheet = sheet
        self._top = float(MARGIN)

    def head(self, report: Report) -> None:
        sheet = self._sheet
        sheet.text((MARGIN, self._top), "Acceptance test of the way to the PACS and back", 30, Tone.PLAIN)
        began = report.began.strftime("%Y-%m-%d %H:%M UTC%z").removesuffix("+0000")
        sheet.text((WIDTH - MARGIN, self._top + 10), began, 17, Tone.FAINT, is_right=True)
        self._top += 50
        verdict = Verdict.PASSED if report.failed is None else Verdict.FAILED
        lines = wrapped(sheet, report.in_a_line, 20, _FULL - 40)[:2]
        height = 18 + 26 * len(lines)
        sheet.box((MARGIN, self._top), (10, height), _MARK[verdict])
        tone = Tone.PLAIN if report.failed is None else Tone.WARNING
        for number, line in enumerate(lines):
            sheet.text((MARGIN + 24, self._top + 8 + 26 * number), line, 20, tone)
        self._top += height + 14

    def facts(self, report: Report) -> None:
        for name, text in report.facts.items():
            self._row(name, text)
        self._top += 10

    def stations(self, stations: Sequence[Station]) -> None:
        self._heading("Station", "what was found", "at", "took")
        for station in stations:
            at = station.at.strftime("%H:%M:%S") if station.at else ""
            took = f"{station.seconds:.1f} s" if station.seconds is not None else ""
            self._marked(station.name, station.verdict, station.finding, at, took)
        self._top += 10

    def forms(self, forms: Sequence[FormFound]) -> None:
        if not forms:
            return
        self._heading("Form", "what the PACS does with one that this test made of the balls", "", "")
        for form in forms:
            self._marked(form.name, form.verdict, form.finding, "", "")
        self._top += 10

    def pictures(self, pictures: Sequence[Shown]) -> None:
        if not pictures:
            return
        self._heading("What came back", "bone white, fat yellow, gas blue, body grey", "", "")
        left, tallest = float(MARGIN), 0
        for shown in pictures:
            pixels = _drawn(shown)
            self._sheet.picture((int(left), int(self._top)), pixels)
            self._sheet.text((left, self._top + pixels.shape[0] + 5), shown.caption, 13, Tone.FAINT)
            left += pixels.shape[1] + (_FULL - len(pictures) * pixels.shape[1]) / max(len(pictures) - 1, 1)
            tallest = max(tallest, pixels.shape[0])
        self._top += tallest + 30

    def list_of(self, title: str, sentences: Sequence[str]) -> None:
        self._heading(title, "", "", "")
        for sentence in sentences:
            for number, line in enumerate(wrapped(self._sheet, sentence, 15, _FULL - 24)):
                if self._top > HEIGHT - 110:
                    self._sheet.text((MARGIN, self._top), "The rest stands in the terminal.", 15, Tone.FAINT)
                    return
                if not number:
                    self._sheet.text((MARGIN, self._top), "-", 15, Tone.PLAIN)
                self._sheet.text((MARGIN + 16, self._top), line, 15, Tone.PLAIN)
                self._top += 20
        self._top += 8

    def foot(self) -> None:
        self._sheet.text((MARGIN, HEIGHT - 74), "Accepted by", 15, Tone.FAINT)
        self._sheet.text((MARGIN + 560, HEIGHT - 74), "on", 15, Tone.FAINT)
        for left, width in ((MARGIN + 95, 440), (MARGIN + 590, 200)):
            self._sheet.box((left, HEIGHT - 58), (width, 1), _RULE)
        said = f"iris prove, IRIS Gateway {metadata.version('iris-gateway')}; the patient is a phantom"
        self._sheet.text((MARGIN, HEIGHT - 34), said, 13, Tone.FAINT)
        self._sheet.text((WIDTH - MARGIN, HEIGHT - 34), "Research use", 13, Tone.WARNING, is_right=True)

    def _heading(self, name: str, what: str, at: str, took: str) -> None:
        sheet = self._sheet
        sheet.text((MARGIN, self._top), name, 15, Tone.FAINT)
        sheet.text((MARGIN + 300, self._top), what, 15, Tone.FAINT)
        sheet.text((WIDTH - MARGIN - 90, self._top), at, 15, Tone.FAINT, is_right=True)
        sheet.text((WIDTH - MARGIN, self._top), took, 15, Tone.FAINT, is_right=True)
        sheet.box((MARGIN, self._top + 21), (_FULL, 1), _RULE)
        self._top += 27

    def _marked(self, name: str, verdict: Verdict, text: str, at: str, took: str) -> None:
        sheet = self._sheet
        sheet.box((MARGIN, self._top + 3), (11, 11), _MARK[verdict])
        tone = Tone.WARNING if verdict is Verdict.FAILED else Tone.PLAIN
        sheet.text((MARGIN + 20, self._top), name, 15, tone)
        sheet.text((MARGIN + 180, self._top), _WORD[verdict], 15, Tone.FAINT)
        sheet.text((WIDTH - MARGIN - 90, self._top), at, 15, Tone.FAINT, is_right=True)
        sheet.text((WIDTH - MARGIN, self._top), took, 15, Tone.FAINT, is_right=True)
        self._lines(text, MARGIN + 300, WIDTH - MARGIN - 170 - MARGIN - 300, tone)

    def _row(self, name: str, text: str) -> None:
        self._sheet.text((MARGIN, self._top), name, 15, Tone.FAINT)
        self._lines(text, MARGIN + 180, _FULL - 180, Tone.PLAIN)

    def _lines(self, text: str, left: float, width: float, tone: Tone) -> None:
        lines = wrapped(self._sheet, text, 15, width)
        if len(lines) > _MOST_LINES:
            lines = [*lines[: _MOST_LINES - 1], f"{lines[_MOST_LINES - 1][:-4]} ..."]
        for line in lines or [""]:
            self._sheet.text((left, self._top), line, 15, tone)
            self._top += 20


def _drawn(shown: Shown) -> NDArray[np.uint8]:
    """The phantom's slice in grey, and the labels in colours."""
    grey = np.clip((hu_of(shown.labels).astype(float) + 1000) / 1500 * 110 + 10, 0, 255).astype(np.uint8)
    colour = np.repeat(grey[..., np.newaxis], 3, axis=2)
    for ball in BALLS:
        colour[shown.labels == ball.value] = _COLOURS[ball.value]
    colour[shown.labels == BODY] = (92, 96, 104)
    rows, columns = shown.labels.shape
    size = (
        round(columns * shown.pixel_mm[1] * _PICTURE_MM_PX),
        round(rows * shown.pixel_mm[0] * _PICTURE_MM_PX),
    )
    return np.asarray(Image.fromarray(colour).resize(size, Image.Resampling.NEAREST))
