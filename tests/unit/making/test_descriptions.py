"""Series descriptions of results fit their 64 characters, are cut at a word, and keep their revision."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.making.naming import LONGEST_DESCRIPTION, fit_description, titled


@given(st.text(max_size=300))
def test_description_of_any_length_fits(text: str) -> None:
    assert len(fit_description(text)) <= LONGEST_DESCRIPTION


@given(st.text("abc ", max_size=300))
def test_description_that_is_cut_still_says_which_revision_it_is(text: str) -> None:
    assert fit_description(text, "rev 2").endswith("rev 2")
    assert len(fit_description(text, "rev 2")) <= LONGEST_DESCRIPTION


def test_description_is_cut_at_a_word() -> None:
    text = f"IRIS total (research) {'abdomen ' * 10}"
    assert fit_description(text) == f"IRIS total (research) {'abdomen ' * 5}".strip()


def test_description_of_one_long_word_is_cut_within_it() -> None:
    assert fit_description("x" * 100) == "x" * LONGEST_DESCRIPTION


def test_description_that_fits_is_left_as_it_is() -> None:
    assert fit_description("IRIS tissue (research) THORAX") == "IRIS tissue (research) THORAX"


def test_title_stands_behind_the_mark_and_before_the_rest_and_the_revision_stays() -> None:
    def described(text: str) -> str:
        return str(titled("Overlay", {"series_description": text})["series_description"])

    assert described("IRIS total (research)") == "Overlay IRIS total (research)"
    assert described("CHECK: IRIS total (research) rev 3") == "CHECK: Overlay IRIS total (research) rev 3"
    cut = described(f"CHECK: IRIS total (research) {'abdomen ' * 10} rev 3")
    assert cut.startswith("CHECK: Overlay IRIS total")
    assert cut.endswith(" rev 3")
    assert len(cut) <= LONGEST_DESCRIPTION


def test_description_holds_no_control_characters_and_no_backslash_of_its_source() -> None:
    assert fit_description("IRIS ab\x01cd\x1bX\\y\tz") == "IRIS ab cd X y z"
