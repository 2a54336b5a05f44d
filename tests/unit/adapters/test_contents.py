"""What a PACS says that it holds, and what it may say instead."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom.events import Event

from gateway.adapters.contents import NoAnswer, NotTold, SeriesContents
from gateway.adapters.dicom.contents import PacsContents
from gateway.adapters.errors import CalledOff
from gateway.adapters.tls import Tls, TlsFiles
from gateway.backends.pacs import pacs_contents
from gateway.config import Config
from tests.certificates import Authority
from tests.doubles.query_pacs import (
    DOES_NOT_MATCH,
    PENDING,
    SERIES,
    SUCCESS,
    Answers,
    Find,
    answer,
    counts,
    images,
    pacs,
)

STUDY, OTHER_SERIES = "1.2.3", "1.2.3.5"


def told(
    find: Find, series_uids: Sequence[str] = (SERIES,), limit_s: float = 5.0
) -> dict[str, SeriesContents]:
    with pacs(find) as peer:
        return dict(PacsContents(peer, "IRIS", limit_s).of_series(STUDY, series_uids))


def refused(find: Find, limit_s: float = 5.0) -> NotTold:
    with pytest.raises(NotTold) as raised:
        told(find, limit_s=limit_s)
    return raised.value


def test_images_of_each_series_are_told() -> None:
    held = told(images("1.1", "1.2"), (SERIES, OTHER_SERIES))
    two = SeriesContents(2, frozenset({"1.1", "1.2"}))
    assert held == {SERIES: two, OTHER_SERIES: two}


def test_series_that_it_does_not_have_is_told_as_empty() -> None:
    assert told(images()) == {SERIES: SeriesContents(0)}


@pytest.mark.parametrize("image_status", [DOES_NOT_MATCH, SUCCESS])
def test_pacs_without_image_level_is_asked_for_numbers(image_status: int) -> None:
    assert told(counts(7, image_status)) == {SERIES: SeriesContents(7)}


def test_pacs_that_leaves_the_optional_number_out_tells_nothing() -> None:
    assert told(counts(None)) == {SERIES: SeriesContents(0)}


@pytest.mark.parametrize(
    ("find", "numbers"), [(counts(7), {SERIES: 7}), (counts(None), {}), (counts("many"), {}), (images(), {})]
)
def test_numbers_of_a_study_are_told_as_far_as_it_counts(find: Find, numbers: dict[str, int]) -> None:
    with pacs(find) as peer:
        assert PacsContents(peer, "IRIS").numbers(STUDY) == numbers


def test_numbers_of_a_pacs_that_refuses_them_are_none() -> None:
    def refuse(_: Event) -> Answers:
        yield DOES_NOT_MATCH, None

    with pacs(refuse) as peer:
        assert PacsContents(peer, "IRIS").numbers(STUDY) == {}


@pytest.mark.parametrize(
    "find",
    [
        images("1.1", StudyInstanceUID="1.2.9"),
        images("1.1", SeriesInstanceUID="1.2.9"),
        images("nowhere"),
        images(""),
        images("1.1", "1.2", SOPInstanceUID=["1.1", "1.2"]),
    ],
    ids=["other study", "other series", "no UID", "empty", "two UIDs"],
)
def test_answer_about_something_else_is_none(find: Find) -> None:
    error = refused(find)
    assert error.code is NoAnswer.NONSENSE
    assert "1.2" not in str(error).partition("127.0.0.1")[2]


@pytest.mark.parametrize(
    ("find", "wanted", "missing"),
    [
        (counts(1), {SERIES: ["1.1"]}, set()),
        (counts(None), {SERIES: ["1.1"]}, set()),
        (counts(1), {OTHER_SERIES: ["1.1"]}, {"1.1"}),
        (counts(1), {SERIES: ["1.1", "1.2"]}, set()),  # it has no IMAGE level: which is gone cannot be told
        (images(), {SERIES: ["1.1"]}, {"1.1"}),
    ],
)
def test_what_is_missing_of_a_study_is_told_as_far_as_it_says(
    find: Find, wanted: dict[str, list[str]], missing: set[str]
) -> None:
    with pacs(find) as peer:
        assert PacsContents(peer, "IRIS").missing(STUDY, wanted) == missing


@pytest.mark.parametrize(
    "find", [counts(1, StudyInstanceUID="1.2.9"), counts(1, SeriesInstanceUID="nowhere")]
)
def test_answer_about_something_else_says_of_nothing_that_it_is_missing(find: Find) -> None:
    with pacs(find) as peer, pytest.raises(NotTold) as raised:
        PacsContents(peer, "IRIS").missing(STUDY, {SERIES: ["1.1"]})
    assert raised.value.code is NoAnswer.NONSENSE


def test_pacs_that_refuses_is_said_to_with_its_status() -> None:
    def refuse(_: Event) -> Answers:
        yield 0xA700, None

    error = refused(refuse)
    assert error.code is NoAnswer.REFUSED
    assert "0xA700" in str(error)


def test_pacs_that_breaks_off_tells_nothing() -> None:
    def break_off(event: Event) -> Answers:
        yield answer(SOPInstanceUID="1.1")
        event.assoc.abort()

    assert refused(break_off).code is NoAnswer.SILENT


def test_pacs_that_says_nothing_or_never_ends_is_cut_off() -> None:
    over = threading.Event()

    def say_nothing(_: Event) -> Answers:
        over.wait(120)
        yield SUCCESS, None

    def go_on(_: Event) -> Answers:
        while not over.wait(0.02):
            yield answer(SOPInstanceUID="1.1")

    for never in (say_nothing, go_on):
        begun = time.monotonic()
        with pacs(never) as peer:
            with pytest.raises(NotTold, match=r"within 0\.3 s") as raised:
                PacsContents(peer, "IRIS", 0.3).of_series(STUDY, [SERIES])
            over.set()
        over.clear()
        assert raised.value.code is NoAnswer.SILENT
        assert time.monotonic() - begun < 60


def test_pacs_that_is_away_or_takes_no_queries_is_told_apart_from_one_that_answers() -> None:
    with pacs(images(), takes_queries=False) as peer:
        contents = PacsContents(peer, "IRIS")
        with pytest.raises(NotTold, match="accepts none") as raised:
            contents.of_series(STUDY, [SERIES])
        assert raised.value.code is NoAnswer.REFUSED
    with pytest.raises(NotTold, match="cannot be reached"):
        contents.check()


@pytest.mark.parametrize(("find", "how"), [(images(), "at IMAGE level"), (counts(0), "at SERIES level only")])
def test_check_says_at_which_level_it_answers(find: Find, how: str) -> None:
    with pacs(find) as peer:
        said = PacsContents(peer, "IRIS").check()
    assert said.startswith("answers C-ECHO")
    assert how in said


def test_pacs_is_called_by_tls_as_configured(tmp_path: Path) -> None:
    hospital, stranger = Authority(tmp_path, "hospital"), Authority(tmp_path, "stranger")
    certificate, key = map(str, hospital.sign("pacs"))
    with pacs(images("1.1"), tls=Tls(TlsFiles("", certificate, key), is_server=True)) as peer:
        where = {"ae_title": peer.ae_title, "host": peer.host, "port": peer.port}
        known, unknown = (
            pacs_contents(Config(study={"find": {**where, "tls": {"ca": str(signer.certificate)}}}))
            for signer in (hospital, stranger)
        )
        assert known is not None
        assert unknown is not None
        assert known.of_series(STUDY, [SERIES])[SERIES].number == 1
        with pytest.raises(NotTold, match="not signed by whom we trust"):
            unknown.of_series(STUDY, [SERIES])


def test_question_ends_when_the_gateway_stops() -> None:
    contents: list[PacsContents] = []

    def stop(_: Event) -> Answers:
        contents[0].interrupt()
        yield PENDING, Dataset()

    with pacs(stop) as peer:
        contents.append(PacsContents(peer, "IRIS"))
        with pytest.raises(CalledOff):
            contents[0].of_series(STUDY, [SERIES])
        with pytest.raises(CalledOff):
            contents[0].answers()
