"""What a destination takes of what it is asked for, and the sentence about what it does not."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.adapters.dicom.implementation import Implementation, form_name, way_to_allow
from gateway.config.outputs import Form

PLAIN_SYNTAXES: Final = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
"""Each stands for the other, too: an object is written anew in it."""
PLAIN: Final = PLAIN_SYNTAXES[0]


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
