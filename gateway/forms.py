"""The forms in which an output may be made, the best first.

A form is a SOP class in a transfer syntax. What is left to a destination (`auto`), and what it refuses,
decides which it gets: rooms that make, send and check read it here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.uid import KeyObjectSelectionDocumentStorage

from converter.pictures.settings import SYNTAX_NAMES as DRAWN_IN
from converter.seg.encoder import Encoding, SegmentationType
from converter.seg.settings import SOP_CLASSES, SYNTAX_NAMES, TRANSFER_SYNTAXES
from gateway.config import Config, Destination
from gateway.config.outputs import NOTE, OUTPUTS, Form

from .taken import PLAIN

AUTO: Final = "auto"
BINARY: Final = str(SegmentationType.BINARY)
LABELMAP: Final = str(SegmentationType.LABELMAP)
UNCOMPRESSED: Final = "explicit"
SMALLEST_FIRST: Final = ("jpegls", "jpeg2000", "rle", UNCOMPRESSED)
"""Of pictures, where the configuration leaves their transfer syntax to the destination."""
IN_ITS_PLACE: Final = ("overlay", "summary")
"""What who takes no segmentation gets instead, where it is left to it what it gets."""


@dataclass(frozen=True)
class Way:
    """One way in which an output can be made.

    Parameters
    ----------
    name
        Of the encoding or drawing: "LABELMAP rle", "jpegls"; empty where there is only one way.
    """

    name: str
    form: Form


def ways(config: Config, output: str) -> tuple[Way, ...]:
    """How an output may be made for a destination, the best first; none where nobody can be asked for it."""
    if has_encoding(output):
        names = _encodings(config)
        return tuple(Way(name, _encoded(config, name)) for name in names)
    if output == NOTE:
        return (Way("", Form(str(KeyObjectSelectionDocumentStorage), PLAIN)),)
    if output not in OUTPUTS or not OUTPUTS[output].sop_class_uid:
        return ()
    sop_class = OUTPUTS[output].sop_class_uid
    if is_drawn(output):
        return tuple(Way(name, Form(sop_class, str(DRAWN_IN[name]))) for name in drawings(config))
    return (Way("", Form(sop_class, PLAIN)),)


def drawings(config: Config) -> Sequence[str]:
    """The transfer syntaxes in which pictures of slices may be made, the best first."""
    named = config.overlay.transfer_syntax
    return SMALLEST_FIRST if named == AUTO else tuple(dict.fromkeys((named, UNCOMPRESSED)))


def encoding(config: Config, said: str) -> Encoding:
    """The encoding of its name: a type alone is in the configured transfer syntax, where it can be."""
    kind, _, syntax = said.partition(" ")
    seg = config.seg
    named = seg.transfer_syntax
    is_possible = named and SYNTAX_NAMES[named] in TRANSFER_SYNTAXES[SegmentationType(kind)]
    return Encoding.named(
        kind,
        syntax or (named if is_possible else ""),
        is_cropped=seg.crop,
        has_background_item=seg.background_item,
    )


def has_encoding(output: str) -> bool:
    """Whether it is made in one of several encodings."""
    return output in OUTPUTS and OUTPUTS[output].has_encoding


def is_drawn(output: str) -> bool:
    """Whether it is made in one of several transfer syntaxes of pictures."""
    return output in OUTPUTS and OUTPUTS[output].has_drawing


def sent_to(config: Config, to: Destination) -> tuple[str, ...]:
    """The outputs that the rules send there, in the catalogue's order, and what may follow from them."""
    wanted = {
        output
        for rule in config.rule
        if to in config.destinations_of(rule)
        for output in to.named_outputs or rule.outputs
    }
    if to.is_asked_for_outputs and any(map(has_encoding, wanted)):
        wanted.update(IN_ITS_PLACE)
    notes = [NOTE] if wanted and to.supersede == "iocm" else []
    return (*(output for output in OUTPUTS if output in wanted), *notes)


def _encodings(config: Config) -> Iterable[str]:
    """Names of encodings; what the configuration names comes first, and the next is what more take."""
    named = config.seg.transfer_syntax
    if config.seg.type == AUTO:
        label_maps = [named] if named else ["rle", UNCOMPRESSED]
        return [*(f"{LABELMAP} {syntax}" for syntax in label_maps), BINARY]
    first = config.seg.type.upper()
    others = [LABELMAP, BINARY] if first == LABELMAP else [BINARY]
    found = {str(encoding(config, first)): first}
    for kind in others:
        name = f"{kind} {UNCOMPRESSED}"
        found.setdefault(str(encoding(config, name)), name)
    return found.values()


def _encoded(config: Config, name: str) -> Form:
    chosen = encoding(config, name)
    return Form(str(SOP_CLASSES[chosen.type]), str(chosen.syntax))
