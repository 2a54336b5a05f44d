"""What a DICOMweb service answered a search below a study: from outside, and not believed as it comes."""

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.adapters.dicomweb import WebAnswer

_STUDY: Final = "0020000D"
_NUMBER: Final = "00201209"
_TAGS: Final = {"SeriesInstanceUID": "0020000E", "SOPInstanceUID": "00080018"}
_UID: Final = re.compile(r"[0-9.]{1,64}")


def found_by_search(answer: WebAnswer, keyword: str, study_uid: str) -> Mapping[str, int | None] | None:
    """By their UIDs what was found, of a series with the number of its instances where that is said.

    Returns
    -------
    None where it is no answer to that: no list, without UIDs, or of another study.
    """
    if answer.status == 204:
        return {}
    if not isinstance(answer.content, list):
        return None
    found: dict[str, int | None] = {}
    for item in answer.content:
        uid, number = _value(item, _TAGS[keyword]), _value(item, _NUMBER)
        if not _UID.fullmatch(uid) or _value(item, _STUDY) not in ("", study_uid):
            return None
        found[uid] = int(number) if number.isdecimal() else None
    return found


def _value(item: object, tag: str) -> str:
    """The one value of an element (PS3.18 F.2); empty where there is none."""
    element: Any = item.get(tag) if isinstance(item, Mapping) else None
    values = element.get("Value") if isinstance(element, Mapping) else None
    return str(values[0]).strip() if isinstance(values, list) and values else ""
