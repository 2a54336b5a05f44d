"""The address of a study in the site's own viewer, as the configuration has it."""

import re
from string import Formatter
from typing import Final

PLACES: Final = ("study_uid", "accession_number", "patient_id")
"""What a template has in braces: DICOM attributes of a study (PS3.3 C.7.1.1, C.7.2.1)."""
_HTTP: Final = re.compile(r"https?://[^\s/]+(/\S*)?")


def places_of(template: str) -> tuple[str, ...]:
    """What of a study the address is made of.

    Raises
    ------
    ValueError
        It is no template of an address; a sentence that says what one looks like.
    """
    known = ", ".join(f"{{{place}}}" for place in PLACES)
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"has a brace too many or too few ({error}); known: {known}") from None
    places = tuple(place for _, place, form, conversion in parts if place is not None)
    unknown = [place for place in places if place not in PLACES]
    if unknown or any(form or conversion for _, _, form, conversion in parts):
        raise ValueError(
            f"cannot be filled in ({{{(unknown or places)[0]}}}); known, and as they are: {known}"
        )
    if not _HTTP.fullmatch(template):
        raise ValueError("is no address; one begins with https:// or http://, and has no blanks")
    if not places:
        raise ValueError(f"would be the same for each study; it needs one of {known}")
    return places
