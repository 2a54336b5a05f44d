"""What a radiologist does in OHIF: opens a study, opens a series, reads the list, scrolls, looks."""

import base64
import io
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

GRAPHICS = (
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
"""What Chromium needs to draw volumes without a graphics card."""
STARTING_MS = 200_000
LOOKING_S = 30.0
TURNING_S = 5.0
"""After that the wheel is turned once more."""
MOST_TURNS = 200
"""More than any stack here takes, there and back."""

Seen = TypeVar("Seen")


class Ohif:
    """A page with OHIF in it."""

    def __init__(self, page: Page, address: str) -> None:
        self._page, self._address = page, address

    def open_study(self, study_uid: str) -> None:
        """Open a study in the mode in which OHIF opens studies."""
        self._page.goto(f"{self._address}/viewer?StudyInstanceUIDs={study_uid}", timeout=STARTING_MS)
        self._page.locator("[data-cy=viewport-overlay-bottom-right]").get_by_text("I:").wait_for(
            timeout=STARTING_MS
        )

    def open_series(self, description: str) -> None:
        """Double click a series in the list of series: before that OHIF shows nothing of a result."""
        self.series(description).dblclick()

    def series(self, description: str) -> Locator:
        """Its entry in the list of series."""
        entries = self._page.locator(
            "[data-cy=study-browser-thumbnail], [data-cy=study-browser-thumbnail-no-image]"
        )
        return entries.filter(has=self._page.get_by_text(description, exact=True))

    def open_segment_list(self) -> None:
        """Open the panel on the right."""
        self._page.locator("[data-cy=panelSegmentation-btn]").click()

    def segments(self, description: str, first: str) -> list[tuple[str, tuple[int, ...]]]:
        """Names and colours of the list of that series, as soon as it begins with `first`."""
        expect(
            self._page.get_by_role("combobox").filter(has_text=re.compile(f"^{description}$"))
        ).to_be_visible()
        rows = self._page.locator("[data-cy=data-row]")
        expect(rows.first.locator("[data-cy=data-row-title]")).to_have_text(first)
        listed = rows.evaluate_all(
            "rows => rows.map(row => [row.querySelector('[data-cy=data-row-title]').innerText,"
            " getComputedStyle(row.querySelector('[data-cy=data-row-colorhex]')).backgroundColor])"
        )
        return [(name, tuple(map(int, re.findall(r"\d+", colour)))) for name, colour in listed]

    def scroll_to(self, instance: int) -> None:
        """Turn the wheel until the slice of that Instance Number is shown."""
        box = self._page.locator("[data-cy=viewport-pane]").bounding_box()
        assert box is not None
        self._page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        before = self._shown()
        step, turns = 1 if before[1] < before[2] else -1, 0
        while before[0] != instance:
            turns += 1
            assert turns < MOST_TURNS, f"the slice {instance} is not found; {before} is shown"
            self._page.mouse.wheel(0, 100 * step)
            now = seen(self._shown, partial(_is_elsewhere, before[1]), TURNING_S)
            if abs(now[0] - instance) > abs(before[0] - instance):
                step = -step  # slices may be sorted against their numbers
            if now[1] in (1, now[2]):
                step = 1 if now[1] == 1 else -1
            before = now

    def _shown(self) -> tuple[int, int, int]:
        """Instance Number, place in the stack and slices of what is shown."""
        text = self._page.locator("[data-cy=viewport-overlay-bottom-right]").inner_text()
        found = re.search(r"(\d+) \((\d+)/(\d+)\)", text)
        return tuple(map(int, found.groups())) if found else (0, 0, 0)  # type: ignore[return-value]

    def slice(self, instance: int) -> np.ndarray:
        """The picture of the slice of that Instance Number, whatever a late turn of the wheel did."""
        self.scroll_to(instance)
        return self.picture()

    def picture(self) -> np.ndarray:
        """What is drawn, (rows, columns, 3), without the texts that lie over it."""
        url = self._page.locator("[data-cy=viewport-pane] canvas").evaluate("canvas => canvas.toDataURL()")
        image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        return np.asarray(image.convert("RGB"))

    def contours(self, instance: int) -> dict[tuple[int, ...], np.ndarray]:
        """The middle, to the right and down, of the lines of each colour over the slice of that number."""
        self.scroll_to(instance)
        lines = self._page.locator("[data-cy=viewport-pane] svg path").evaluate_all(
            "lines => lines.map(line => [getComputedStyle(line).stroke, line.getBBox()])"
            ".map(([stroke, box]) => [stroke, box.x + box.width / 2, box.y + box.height / 2])"
        )
        coloured = [
            (tuple(map(int, re.findall(r"\d+", stroke)[:3])), np.array([x, y])) for stroke, x, y in lines
        ]
        return {rgb: at for rgb, at in coloured if rgb and max(rgb) > min(rgb)}

    def document(self) -> bytes:
        """The PDF that is shown."""
        shown = self._page.locator("[data-cy=viewport-pane] object[type='application/pdf']")
        numbers = shown.evaluate(
            "async shown => Array.from(new Uint8Array(await (await fetch(shown.data)).arrayBuffer()))"
        )
        return bytes(numbers)

    def shows_nothing(self) -> None:
        """Check that the series that is open has nothing drawn, and no text."""
        pane = self._page.locator("[data-cy=viewport-grid]")
        expect(pane).to_have_text("")
        expect(pane.locator("canvas, object, table, li")).to_have_count(0)

    def sides(self) -> tuple[str, str]:
        """The letters on the left and at the top of the picture."""
        left, top = (
            self._page.locator(f".{place}-mid .orientation-marker-value").inner_text()
            for place in ("left", "top")
        )
        return left, top

    def shoot(self, path: Path) -> None:
        """Save all of the page as a picture."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._page.screenshot(path=path)


def _is_elsewhere(place: int, shown: tuple[int, int, int]) -> bool:
    return shown[1] != place


def seen(look: Callable[[], Seen], is_right: Callable[[Seen], bool], most_s: float = LOOKING_S) -> Seen:
    """Look until it is right; what was seen last, after `most_s`, whether right or not."""
    deadline = time.monotonic() + most_s
    while True:
        found = look()
        if is_right(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)
