"""Rejection notes as others write them: by highdicom."""

from collections.abc import Sequence
from typing import Any

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

TITLES = {
    "113000": "Of Interest",
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}


def rejection_note(objects: Sequence[Dataset], code: str = "113001", **changes: Any) -> Dataset:
    """A note about these objects, which are of one study.

    Parameters
    ----------
    changes
        Attributes of the note that are another one's.
    """
    title = hd.sr.CodedConcept.from_code(Code(code, "DCM", TITLES[code]))
    note = hd.ko.KeyObjectSelectionDocument(
        evidence=list(objects),
        content=hd.ko.KeyObjectSelection(document_title=title, referenced_objects=list(objects)),
        series_instance_uid=generate_uid(),
        series_number=99,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Archive",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    for keyword, value in changes.items():
        setattr(note, keyword, value)
    return note
