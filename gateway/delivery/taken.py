"""What a destination takes of what it is asked for, and the sentence about what it does not."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.adapters.dicom.implementation import Implementation, refusal
from gateway.config.outputs import Form

PLAIN_SYNTAXES: Final = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
"""Each stands for the other, too: an object is written anew in it."""


@dataclass(frozen=True)
class Taken:
    """What is taken.

    Parameters
    ----------
    by
        Who said so; None: nobody could be asked, and these are what such a destination knows for certain.
    """

    forms: frozenset[Form]
    by: Implementation | None = None

    def refusal(self, who: object, form: Form) -> str:
        """The sentence about a form that is not taken: a SOP class, or a transfer syntax of it.

        Parameters
        ----------
        who
            How the destination is called. It was asked for the SOP class uncompressed as well.
        """
        is_class_taken = any(taken.sop_class_uid == form.sop_class_uid for taken in self.forms)
        syntaxes = [form.transfer_syntax_uid] if is_class_taken else []
        return refusal(who, self.by or Implementation(), form.sop_class_uid, syntaxes)


def and_uncompressed(forms: Collection[Form]) -> frozenset[Form]:
    """These, and each SOP class uncompressed: so a class that is refused is told from a transfer syntax."""
    return frozenset({*forms, *(Form(form.sop_class_uid, PLAIN_SYNTAXES[0]) for form in forms)})
