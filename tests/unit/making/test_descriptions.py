"""Series descriptions of results fit their 64 characters and keep their last words."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.making.naming import LONGEST_DESCRIPTION, fit_description


@given(st.text(max_size=300))
def test_description_of_any_length_fits(text: str) -> None:
    assert len(fit_description(text)) <= LONGEST_DESCRIPTION


@given(st.text("abc ", max_size=300))
def test_description_that_is_cut_still_says_what_it_is_for(text: str) -> None:
    assert fit_description(f"{text} (research use)").endswith("(research use)")
    assert fit_description(f"{text} (research use) rev 2").endswith("(research use) rev 2")


def test_description_that_fits_is_left_as_it_is() -> None:
    assert fit_description("tissue of 2 (research use)") == "tissue of 2 (research use)"
