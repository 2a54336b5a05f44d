"""What is said of each segment (PS3.3 C.8.20.4): codes, colour, algorithm, and what tracks it over time.

Composed as bytes: as pydicom's objects a hundred segments take longer than the headers of the whole series.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack
from typing import Final

from pydicom.charset import encode_string

from converter.colours import cielab_of
from converter.explicit_vr import element, sequence, text_element
from converter.reading.headers import text_of
from converter.results.bytes import coded
from converter.results.settings import ResultSettings, doubts_about
from converter.series import Volume
from converter.terminology import Code, Structure
from converter.uids import derived_uid

from .settings import LABEL_VALUE, PARAMETERS_BETWEEN, SegmentationSettings

LONGEST_LABEL: Final = 64
"""PS3.5 6.2, value representation LO."""
LONGEST_PARAMETERS: Final = 10240
"""PS3.5 6.2, value representation LT."""
SEGMENT_SEQUENCE: Final = 0x00620002
BACKGROUND: Final = Code("125040", "DCM", "Background")


@dataclass(frozen=True)
class Words:
    """Makes elements that may hold names; `encodings` are Python's names of the object's character sets."""

    encodings: Sequence[str]

    def text(self, tag: int, vr: str, value: str) -> bytes:
        """An element of text."""
        return element(tag, vr, encode_string(value, self.encodings))

    def coded(self, tag: int, code: Code, more: bytes = b"") -> bytes:
        """A coded concept, and in its item what modifies that."""
        return coded(tag, code, more, self.encodings)


def segment_sequence(
    values: Sequence[int],
    structures: Sequence[Structure],
    volume: Volume,
    settings: SegmentationSettings,
    encodings: list[str],
) -> bytes:
    """Describe segments, numbered from 1 in the order of `structures`; `values` are the engine's numbers.

    Before them stands segment 0, the background, where the encoding describes it.

    Parameters
    ----------
    encodings
        Python's names of those of the object's character sets.
    """
    words = Words(encodings)
    algorithm = _algorithm(settings, words)
    subject = tracked_subject(volume, settings.issuer_of_patient_id)
    background = [_background(algorithm)] if settings.encoding.describes_background else []
    return sequence(
        SEGMENT_SEQUENCE,
        background
        + [
            _segment(number, value, found, algorithm, subject, settings, words)
            for number, (value, found) in enumerate(zip(values, structures, strict=True), start=1)
        ],
    )


def tracked_subject(volume: Volume, otherwise_issuer: str = "") -> tuple[str, ...]:
    """Whose structures are the same over time: the patient's, where issuer and number say who that is.

    Without an issuer two patients may have one number, and a de-identified one (Patient Identity Removed,
    PS3.3 C.7.1.1) may be anybody: then the structures are the same within the study only.

    Parameters
    ----------
    otherwise_issuer
        Who issued Patient IDs of images that do not say it; empty: that is not known.
    """
    issuer, patient = (text_of(volume.header, keyword) for keyword in ("IssuerOfPatientID", "PatientID"))
    issuer = issuer or otherwise_issuer
    if issuer and patient and text_of(volume.header, "PatientIdentityRemoved").upper() != "YES":
        return ("patient", issuer, patient)
    return ("study", volume.study_uid)


def tracking_uid(name: str, subject: tuple[str, ...], settings: ResultSettings) -> str:
    """Equal for one structure of one subject (PS3.3 C.8.20.4); keyed: it leads nobody to the patient."""
    message = "\x00".join((settings.task, name, *subject)).encode("utf-8", "surrogateescape")
    return derived_uid("tracking", hmac.new(settings.tracking_key, message, hashlib.sha256).hexdigest())


def _algorithm(settings: SegmentationSettings, words: Words) -> tuple[bytes, bytes]:
    """Its identification (PS3.3 10.16), then type and name."""
    algorithm = settings.algorithm
    identification = (
        words.coded(0x0066002F, algorithm.family)
        + words.text(0x00660031, "LO", algorithm.version)
        + _parameters(settings, words)
        + words.text(0x00660036, "LO", algorithm.name)
    )
    kind = text_element(0x00620008, "CS", "AUTOMATIC")
    return sequence(0x00620007, [identification]), kind + words.text(0x00620009, "LO", algorithm.name)


def _parameters(settings: SegmentationSettings, words: Words) -> bytes:
    """What it was told; nothing where that was nothing."""
    said = PARAMETERS_BETWEEN.join(settings.parameters)
    return words.text(0x00660032, "LT", said[:LONGEST_PARAMETERS]) if said else b""


def _segment(
    number: int,
    value: int,
    found: Structure,
    algorithm: tuple[bytes, bytes],
    subject: tuple[str, ...],
    settings: SegmentationSettings,
    words: Words,
) -> bytes:
    """One item, its elements in the order of their tags."""
    type_modifier = words.coded(0x00620011, found.type_modifier) if found.type_modifier else b""
    doubts = doubts_about(found.name, settings.flags)
    return b"".join(
        (
            _region(found, words),
            words.coded(0x00620003, found.category),
            element(0x00620004, "US", pack("<H", number)),
            words.text(0x00620005, "LO", found.words[:LONGEST_LABEL]),
            words.text(0x00620006, "ST", f"{doubts}{settings.task} {found.name} {LABEL_VALUE} {value}"),
            *algorithm,
            element(0x0062000D, "US", pack("<3H", *cielab_of(found.rgb))),
            words.coded(0x0062000F, found.type, type_modifier),
            words.text(0x00620020, "UT", found.name[:LONGEST_LABEL]),
            text_element(0x00620021, "UI", tracking_uid(found.name, subject, settings)),
        )
    )


def _background(algorithm: tuple[bytes, bytes]) -> bytes:
    """The item for pixels of value 0 (PS3.3 C.8.20.2.3.3): no anatomy, nothing that is tracked."""
    return b"".join(
        (
            coded(0x00620003, BACKGROUND),
            element(0x00620004, "US", pack("<H", 0)),
            text_element(0x00620005, "LO", BACKGROUND.meaning),
            algorithm[1],
            element(0x0062000D, "US", pack("<3H", *cielab_of((0, 0, 0)))),
            coded(0x0062000F, BACKGROUND),
        )
    )


def _region(found: Structure, words: Words) -> bytes:
    if found.region is None:
        return b""
    modifier = words.coded(0x00082220, found.region_modifier) if found.region_modifier else b""
    return words.coded(0x00082218, found.region, modifier)
