"""What a STOW-RS request is answered: the Store Instances Response Module, in JSON or XML, and the status.

PS3.18 10.5.3 and I.2, PS3.3 C.12.1.1.19 (the module), PS3.18 F.2 (JSON), PS3.19 A.1 (XML).
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final
from xml.etree import ElementTree

from python_multipart.multipart import parse_options_header

from .senders import Stored

JSON_TYPE: Final = "application/dicom+json"
XML_TYPE: Final = "application/dicom+xml"

CANNOT_UNDERSTAND: Final = 0xC000
OUT_OF_RESOURCES: Final = 0xA700

_IN_WORDS: Final = {
    0xB007: "kept aside for a person to look at: contradictory or damaged",
    CANNOT_UNDERSTAND: "not taken: cannot be parsed, or lacks its UIDs",
    0xC409: "not taken: of another study than the address says",
    OUT_OF_RESOURCES: "not taken: no room, send again later",
    0xA710: "not taken: longer than dicom.max_object_mb",
}

Item = dict[str, object]
"""A data set: its attributes by keyword; a list is a sequence."""

_ATTRIBUTES: Final = {
    "ReferencedSOPClassUID": ("00081150", "UI"),
    "ReferencedSOPInstanceUID": ("00081155", "UI"),
    "RetrieveURL": ("00081190", "UR"),
    "WarningReason": ("00081196", "US"),
    "FailureReason": ("00081197", "US"),
    "FailedSOPSequence": ("00081198", "SQ"),
    "ReferencedSOPSequence": ("00081199", "SQ"),
    "OtherFailuresSequence": ("0008119A", "SQ"),
}


def media_type_of(accept: str) -> str | None:
    """JSON or XML, whichever the header prefers; None where it takes neither (PS3.18 8.7.5).

    Where it does not say, JSON.
    """
    if not accept.strip():
        return JSON_TYPE
    weights: dict[str, float] = {}
    for one in accept.split(","):
        name, options = parse_options_header(one)
        try:
            weights[name.decode("latin-1")] = float(options.get(b"q", b"1"))
        except ValueError:
            weights[name.decode("latin-1")] = 0.0
    best, chosen = 0.0, None
    for media_type, ranges in (
        (JSON_TYPE, (JSON_TYPE, "application/json", "application/*", "*/*")),
        (XML_TYPE, (XML_TYPE, "application/xml", "text/xml", "application/*", "*/*")),
    ):
        weight = next((weights[each] for each in ranges if each in weights), 0.0)
        if weight > best:
            best, chosen = weight, media_type
    return chosen


def http_status(stored: Sequence[Stored], others: int) -> int:
    """The status of the whole (PS3.18 10.5.3.1).

    Parameters
    ----------
    others
        Parts that were no objects at all.
    """
    kept = [each for each in stored if not _is_failure(each)]
    if kept and not others and all(each.status == 0 for each in stored):
        return 200
    if kept:
        return 202
    if any(each.status == OUT_OF_RESOURCES for each in stored):
        return 503
    return 409 if stored else 400


def response_module(stored: Sequence[Stored], others: int) -> Item:
    """What became of each instance.

    One that failed without a name, or was kept aside without one, stands in Other Failures Sequence. Retrieve
    URL is empty: nothing can be retrieved here.
    """
    named = [each for each in stored if each.sop_instance_uid]
    failed = [_of(each) | {"FailureReason": each.status} for each in named if _is_failure(each)]
    kept = [
        _of(each) | {"RetrieveURL": ""} | ({"WarningReason": each.status} if each.status else {})
        for each in named
        if not _is_failure(each)
    ]
    nameless = [{"FailureReason": each.status} for each in stored if not each.sop_instance_uid]
    nameless += [{"FailureReason": CANNOT_UNDERSTAND}] * others
    sequences = {
        "FailedSOPSequence": failed,
        "ReferencedSOPSequence": kept,
        "OtherFailuresSequence": nameless,
    }
    return {"RetrieveURL": "", **{name: items for name, items in sequences.items() if items}}


def in_words(stored: Sequence[Stored], others: int) -> str:
    """What became of those that are not simply stored, in one sentence of ASCII; empty where all are.

    Parameters
    ----------
    others
        Parts that were no objects at all.
    """
    if not stored and not others:
        return "the body has no part"
    counts = Counter(each.status for each in stored if each.status)
    said = [
        f"{number} {_IN_WORDS.get(status, 'not taken')} (0x{status:04X})"
        for status, number in sorted(counts.items())
    ]
    if others:
        said.append(f"{others} parts are not whole, or not application/dicom")
    return f"of {len(stored) + others} parts: {'; '.join(said)}" if said else ""


def encoded(module: Item, media_type: str) -> bytes:
    """It in the syntax that was asked for."""
    return _ENCODERS[media_type](module)


def _is_failure(one: Stored) -> bool:
    """Whether its sender has to keep it: neither success nor a warning (PS3.7 C)."""
    return one.status != 0 and one.status & 0xF000 != 0xB000


def _of(one: Stored) -> Item:
    return {
        "ReferencedSOPClassUID": one.sop_class_uid,
        "ReferencedSOPInstanceUID": one.sop_instance_uid,
    }


def _as_json(module: Item) -> bytes:
    return json.dumps(_json_item(module), separators=(",", ":")).encode()


def _json_item(item: Item) -> dict[str, object]:
    attributes: dict[str, object] = {}
    for keyword, value in item.items():
        tag, representation = _ATTRIBUTES[keyword]
        values = [_json_item(each) for each in value] if isinstance(value, list) else [value]
        attributes[tag] = {"vr": representation} | ({"Value": values} if value != "" else {})
    return attributes


def _as_xml(module: Item) -> bytes:
    root = ElementTree.Element(
        "NativeDicomModel", {"xmlns": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}
    )
    _xml_item(root, module)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _xml_item(parent: ElementTree.Element, item: Item) -> None:
    for keyword, value in item.items():
        tag, representation = _ATTRIBUTES[keyword]
        attribute = ElementTree.SubElement(
            parent, "DicomAttribute", {"tag": tag, "vr": representation, "keyword": keyword}
        )
        if isinstance(value, list):
            for number, each in enumerate(value, 1):
                _xml_item(ElementTree.SubElement(attribute, "Item", {"number": str(number)}), each)
        elif value != "":
            ElementTree.SubElement(attribute, "Value", {"number": "1"}).text = str(value)


_ENCODERS: Final[dict[str, Callable[[Item], bytes]]] = {JSON_TYPE: _as_json, XML_TYPE: _as_xml}
