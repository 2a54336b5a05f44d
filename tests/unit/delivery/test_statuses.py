"""C-STORE answers are understood as PS3.4 Table B.2-1 says."""

import pytest

from gateway.delivery.statuses import Answer, meaning, understand


@pytest.mark.parametrize("status", [0x0000, 0x0001, 0xB000, 0xB006, 0xB007, 0xBFFF])
def test_status_of_success_or_warning_is_stored(status: int) -> None:
    assert understand(status) is Answer.STORED


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110, None])
def test_status_of_lacking_resources_is_tried_again(status: int | None) -> None:
    assert understand(status) is Answer.TRY_AGAIN


@pytest.mark.parametrize("status", [0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0117, 0x0124])
def test_status_of_refusal_is_not_tried_again(status: int) -> None:
    assert understand(status) is Answer.REFUSED


@pytest.mark.parametrize("status", [0x0122, 0xC122])
def test_status_about_the_form_leaves_room_for_another_one(status: int) -> None:
    assert understand(status) is Answer.NOT_TAKEN


def test_status_of_duplicate_asks_first() -> None:
    assert understand(0x0111) is Answer.ALREADY_THERE


def test_status_that_nobody_documented_is_tried_again() -> None:
    assert understand(0x0999) is Answer.TRY_AGAIN


@pytest.mark.parametrize("status", [None, *range(0, 0x10000, 0x0101)])
def test_meaning_of_any_status_is_a_phrase_with_its_number(status: int | None) -> None:
    words = meaning(status)
    assert words
    assert status is None or f"0x{status:04X}" in words
