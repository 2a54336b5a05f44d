"""The surfaces of a job on the page: downloaded, and turned in 3D."""

import io
import json
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

from converter.surfaces.gltf import glb
from converter.surfaces.parts import Part, surfaces_of
from gateway.events import StudyChanged
from tests.page_gateway import Gateway, picture

pytestmark = pytest.mark.peer("chromium")

RED, BLUE = (220, 20, 20), (20, 40, 230)
DEADLINE_S = 120.0


@pytest.fixture
def study(gateway: Gateway) -> str:
    """Where the page shows a study with a red kidney at the patient's right, and a blue one at the left."""
    job_key = gateway.picture(gateway.job(gateway.study(1, "CT ABDOMEN")))
    labels = np.zeros((40, 20, 20), np.uint8)
    labels[3:15, 4:16, 4:16], labels[25:37, 4:16, 4:16] = 1, 2
    parts = {1: Part("kidney_right", "Kidney, right", RED), 2: Part("kidney_left", "Kidney, left", BLUE)}
    ras = np.diag([-1.0, 1.0, 1.0, 1.0])  # i runs to the left, where x is negative
    (gateway.folder / job_key / "surface.glb").write_bytes(
        glb([surface for _, surface in surfaces_of(labels, ras, parts)])
    )
    facts = {"volume_ml": 1.7, "truncated": False, "flags": []}
    structures = [{**facts, "name": each.name, "rgb": each.rgb} for each in parts.values()]
    structures[0] |= {"truncated": True, "flags": ["fragments"]}
    (gateway.folder / job_key / "surface.json").write_text(json.dumps({"structures": structures}))
    with gateway.ledger.transaction() as transaction:
        columns = {"outputs": ("seg", "surface"), "labels_sha256": "1" * 64}
        transaction.update("jobs", "job_key", job_key, columns)
    gateway.encode(job_key)
    return f"{gateway.address}#/studies/key0001"


def seen(page: Page) -> NDArray[np.int16]:
    """The 3D picture as it is seen, (rows, columns, 3)."""
    content = page.locator(".surface-picture canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.int16)


def columns_of(rgb: tuple[int, int, int], page: Page) -> NDArray[np.int64]:
    """In which columns there is this colour, or a shade of it."""
    shown = seen(page)
    main = int(np.argmax(rgb))
    others = np.delete(shown, main, axis=2).max(axis=2)
    return np.nonzero(shown[:, :, main] - others > 60)[1]


def lie_side_by_side(left: tuple[int, int, int], right: tuple[int, int, int], page: Page) -> bool:
    """Whether all that is seen of one colour lies left of all of the other."""
    columns = columns_of(left, page), columns_of(right, page)
    return all(each.size for each in columns) and bool(columns[0].max() < columns[1].min())


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, "the picture did not become as it should"


def test_surfaces_are_turned_in_3d_with_each_side_at_its_place(page: Page, study: str) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(study)
    loaded = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    assert not [name for name in loaded if "/surface/" in name]  # what draws comes when it is wanted
    page.get_by_role("button", name="Show in 3D").click()
    view = page.get_by_role("region", name="Surfaces of tissue")
    expect(view.get_by_role("group", name="2 structures")).to_contain_text("cut off by the scan, fragments")
    until(lambda: columns_of(RED, page).size > 500 and columns_of(BLUE, page).size > 500)
    until(lambda: lie_side_by_side(RED, BLUE, page))  # seen from the front
    expect(view.locator(".at-left")).to_have_text("R")
    view.get_by_role("button", name="Back").click()
    until(lambda: lie_side_by_side(BLUE, RED, page))
    expect(view.locator(".at-left")).to_have_text("L")
    view.get_by_role("img", name="Surfaces of tissue").focus()
    for _ in range(6):  # a quarter turn: one of them is behind the other
        page.keyboard.press("ArrowRight")
    until(lambda: min(columns_of(RED, page).size, columns_of(BLUE, page).size) < 100)
    page.keyboard.press("Home")
    until(lambda: lie_side_by_side(RED, BLUE, page))
    before = columns_of(RED, page).size
    page.keyboard.press("+")
    until(lambda: columns_of(RED, page).size > before)
    picture(page, "surface")


def test_structure_is_hidden_by_a_click_and_shown_by_the_list(
    page: Page, study: str, troubles: list[str]
) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(study)
    page.get_by_role("button", name="Show in 3D").click()
    until(lambda: columns_of(RED, page).size > 500)
    rows, places = np.nonzero(seen(page)[:, :, 0] - seen(page)[:, :, 2] > 60)
    middle = {"x": int(np.median(places)), "y": int(np.median(rows))}
    page.locator(".surface-picture canvas").click(position=middle)
    expect(page.get_by_text("Kidney, right is hidden now; the list shows it again.")).to_be_visible()
    until(lambda: columns_of(RED, page).size == 0 and columns_of(BLUE, page).size > 500)
    shown = page.get_by_role("checkbox", name="Kidney, right")
    expect(shown).not_to_be_checked()
    shown.check()
    until(lambda: columns_of(RED, page).size > 500)
    opaque = columns_of(BLUE, page).size
    page.get_by_role("button", name="See through Kidney, left").click()
    until(lambda: columns_of(BLUE, page).size < opaque)
    page.get_by_role("button", name="None").click()
    until(lambda: columns_of(RED, page).size == 0 == columns_of(BLUE, page).size)
    page.get_by_role("button", name="Close 3D").click()
    expect(page.get_by_role("button", name="Show in 3D")).to_be_focused()
    assert [each for each in troubles if "GL Driver Message" not in each] == []


def test_view_keeps_the_keyboard_and_its_place_while_the_page_is_drawn_anew(
    page: Page, gateway: Gateway, study: str
) -> None:
    page.goto(study)
    page.get_by_role("button", name="Show in 3D").click()
    canvas = page.get_by_role("img", name="Surfaces of tissue")
    expect(canvas).to_be_focused()
    page.get_by_role("checkbox", name="Kidney, left").uncheck()
    canvas.focus()
    [row] = gateway.ledger.read("SELECT study_uid FROM studies")
    with gateway.ledger.transaction() as transaction:
        transaction.update("studies", "study_uid", row["study_uid"], {"study_description": "CT THORAX"})
        transaction.publish(StudyChanged(row["study_uid"], "done"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("CT THORAX")
    expect(canvas).to_be_focused()
    expect(page.get_by_role("checkbox", name="Kidney, left")).not_to_be_checked()


def test_surface_is_downloaded_and_one_that_cannot_be_shown_says_why(
    page: Page, gateway: Gateway, study: str
) -> None:
    page.goto(study)
    with page.expect_download() as download:
        page.get_by_role("link", name="GLB").click()
    assert download.value.suggested_filename == "surface.glb"
    for file in gateway.folder.rglob("surface.json"):
        file.unlink()
    page.get_by_role("button", name="Show in 3D").click()
    expect(page.get_by_role("alert")).to_have_text("It cannot be shown here: the file was answered with 404")
    expect(page.get_by_role("button", name="Show in 3D")).to_be_focused()
