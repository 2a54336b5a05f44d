"""What a STOW-RS request is answered: which media type, and which status."""

from dataclasses import dataclass

import pytest

from gateway.api.stow.store_response import JSON_TYPE, XML_TYPE, http_status, in_words, media_type_of
from gateway.listener.statuses import (
    CANNOT_UNDERSTAND,
    KEPT_ASIDE,
    NOT_OF_THIS_STUDY,
    OUT_OF_RESOURCES,
    TOO_LONG,
)


@dataclass(frozen=True)
class Done:
    status: int
    sop_class_uid: str = "1.2"
    sop_instance_uid: str = "1.2.3"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", JSON_TYPE),
        ("*/*", JSON_TYPE),
        ("application/*", JSON_TYPE),
        ("application/json", JSON_TYPE),
        ("application/dicom+xml", XML_TYPE),
        ("text/xml", XML_TYPE),
        ("application/dicom+json;q=0.4, application/dicom+xml;q=0.5", XML_TYPE),
        ("application/dicom+xml;q=0, */*", JSON_TYPE),
        ("application/dicom+json;q=0, */*;q=0.1", XML_TYPE),
        ("text/html", None),
        ("application/dicom+json;q=0", None),
        ("application/dicom+json;q=high", None),
    ],
)
def test_answer_is_in_the_type_that_is_preferred(accept: str, media_type: str | None) -> None:
    assert media_type_of(accept) == media_type


@pytest.mark.parametrize(
    ("statuses", "others", "status"),
    [
        ((0, 0), 0, 200),
        ((0, 0xB007), 0, 202),
        ((0xB007,), 0, 202),
        ((0, 0xC000), 0, 202),
        ((0,), 1, 202),
        ((0, 0xA700), 0, 202),
        ((), 0, 400),
        ((), 1, 400),
        ((0xC000,), 0, 409),
        ((0xA710,), 0, 409),
        ((0xC000, 0xA700), 0, 503),
    ],
)
def test_status_says_how_much_of_it_is_stored(statuses: tuple[int, ...], others: int, status: int) -> None:
    assert http_status([Done(each) for each in statuses], others) == status


def test_every_status_that_is_answered_has_words() -> None:
    answered = {KEPT_ASIDE, CANNOT_UNDERSTAND, NOT_OF_THIS_STUDY, OUT_OF_RESOURCES, TOO_LONG}
    for status in answered:
        said = in_words([Done(0), Done(status)], 0)
        assert said.startswith("of 2 parts: 1 ")
        assert len(said) > len("of 2 parts: 1 not taken (0xC000)")
    assert in_words([Done(0)], 0) == ""
    assert in_words([], 2) == "of 2 parts: 2 parts are not whole, or not application/dicom"
