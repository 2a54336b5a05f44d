"""The forms in which an output may be made, the best first, and what a destination says of them.

A form is a SOP class in a transfer syntax. What is left to a destination (`auto`), and what it refuses,
decides which it gets: rooms that make, send and check read it here.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
)

from converter.pictures.settings import SYNTAX_NAMES as DRAWN_IN
from converter.seg.settings import SOP_CLASSES, SYNTAX_NAMES, TRANSFER_SYNTAXES
from converter.segmentation import Encoding, SegmentationType
from gateway.adapters.dicom.implementation import Implementation, form_name, way_to_allow
from gateway.config import Config, Destination
from gateway.config.outputs import NOTE, OUTPUTS, Form

AUTO: Final = "auto"
BINARY: Final = str(SegmentationType.BINARY)
LABELMAP: Final = str(SegmentationType.LABELMAP)
UNCOMPRESSED: Final = "explicit"
SMALLEST_FIRST: Final = ("jpegls", "jpeg2000", "rle", UNCOMPRESSED)
"""Of pictures, where the configuration leaves their transfer syntax to the destination."""
PLAIN_SYNTAXES: Final = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
"""Each stands for the other, too: an object is written anew in it."""
PLAIN: Final = PLAIN_SYNTAXES[0]
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


# -- what a destination says --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Taken:
    """What a destination takes of what it was asked for.

    Parameters
    ----------
    by
        Who said so; None: nobody could be asked, and these are what such a destination knows for certain.
    """

    forms: frozenset[Form]
    by: Implementation | None = None

    def refusal(self, form: Form) -> "Refusal":
        """What is refused of a form that is not taken: a SOP class, or a transfer syntax of it.

        It was asked for the SOP class uncompressed as well.
        """
        is_class_taken = any(taken.sop_class_uid == form.sop_class_uid for taken in self.forms)
        syntax = form.transfer_syntax_uid if is_class_taken else ""
        by = self.by or Implementation()
        return Refusal(form_name(form.sop_class_uid, syntax), way_to_allow(by, syntax), by.product.name)


@dataclass(frozen=True)
class Refusal:
    """What is not taken, by name and UID, and what to do about it there.

    Parameters
    ----------
    product
        What refuses it, as far as that is known.
    """

    what: str
    way_out: str
    product: str

    def by(self, who: object, so: str = "") -> str:
        """A sentence, with how the destination is called, and what follows from it."""
        product = f", {self.product}," if self.product else ""
        follows = f": {so}" if so else ""
        return f"{who}{product} does not take {self.what}{follows}; {self.way_out}"


def and_uncompressed(forms: Collection[Form]) -> frozenset[Form]:
    """These, and each SOP class uncompressed: so a class that is refused is told from a transfer syntax."""
    return frozenset({*forms, *(Form(form.sop_class_uid, PLAIN) for form in forms)})
