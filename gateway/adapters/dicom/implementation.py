"""Who a peer is, by what it says of itself in A-ASSOCIATE-AC (PS3.7 D.3.3.2), and how it takes more.

Orthanc and dcmqrscp both say that they are dcmtk; Orthanc is a provider of storage commitment (PS3.4 J),
which dcmqrscp is not, so who offered that knows which of them answered.
"""

from dataclasses import dataclass
from typing import Final

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

_NEWER_NAMES: Final = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}
"""SOP classes that pydicom does not know by name yet."""


@dataclass(frozen=True)
class Product:
    """A kind of peer.

    Parameters
    ----------
    allow_class
        What makes it take another SOP class ...
    allow_syntax
        ... or a transfer syntax; each a part of a sentence, said to a person.
    """

    name: str
    allow_class: str
    allow_syntax: str


ORTHANC: Final = Product(
    "Orthanc",
    'set "UnknownSopClassAccepted": true in its configuration, and restart it',
    'name it in "AcceptedTransferSyntaxes" of its configuration, and restart it',
)
DCMQRSCP: Final = Product(
    "dcmqrscp",
    "it takes the SOP classes that its dcmtk knows, and no setting adds one: a newer dcmtk may",
    "start it with the option that prefers that transfer syntax (+xr: RLE, +xt: JPEG-LS, +xv: JPEG 2000)",
)
DCMTK: Final = Product(
    "a program made with dcmtk, as Orthanc and dcmqrscp are",
    f"in Orthanc {ORTHANC.allow_class}; {DCMQRSCP.name} takes what its dcmtk knows",
    f"in Orthanc {ORTHANC.allow_syntax}; {DCMQRSCP.name}: {DCMQRSCP.allow_syntax}",
)
DCM4CHE: Final = Product(
    "dcm4chee",
    "add a Transfer Capability of it, role SCP, to the archive's AE (Configuration, Devices)",
    "add it to the Transfer Capability of that SOP class at the archive's AE (Configuration, Devices)",
)
PYNETDICOM: Final = Product(
    "a program made with pynetdicom", "add a supported context for it there", "add it to that context there"
)
ANOTHER: Final = Product("", "allow it there", "allow it there")

_BY_ROOT: Final = {
    "1.2.276.0.7230010.3.0.3.": DCMTK,
    "1.2.40.0.13.1.": DCM4CHE,
    "1.2.826.0.1.3680043.9.3811.": PYNETDICOM,
}
"""By how their Implementation Class UIDs begin."""


@dataclass(frozen=True)
class Implementation:
    """What a peer says that it is.

    Parameters
    ----------
    version_name
        Implementation Version Name, which it may leave out.
    keeps_promises
        Whether it is a provider of storage commitment; None: that was not offered.
    """

    class_uid: str = ""
    version_name: str = ""
    keeps_promises: bool | None = None

    @property
    def product(self) -> Product:
        """What it is most likely."""
        found = next((each for root, each in _BY_ROOT.items() if self.class_uid.startswith(root)), ANOTHER)
        if found is DCMTK and self.keeps_promises is not None:
            return ORTHANC if self.keeps_promises else DCMQRSCP
        return found

    def __str__(self) -> str:
        said = " ".join(filter(None, (self.version_name, self.class_uid)))
        name = self.product.name
        return f"{name} ({said})" if name and said else name or said


def implementation_of(opened: Association) -> Implementation:
    """What the other side of an association said of itself; nothing where it accepted none."""
    acceptor = opened.acceptor
    if acceptor.primitive is None:
        return Implementation()
    offered = {str(each.abstract_syntax): each.result for each in opened.rejected_contexts}
    offered |= {str(each.abstract_syntax): 0 for each in opened.accepted_contexts}
    commitment = offered.get(str(StorageCommitmentPushModel))
    return Implementation(
        str(acceptor.implementation_class_uid or ""),
        str(acceptor.implementation_version_name or ""),
        None if StorageCommitmentPushModel not in offered else commitment == 0,
    )


def class_name(sop_class_uid: str) -> str:
    """A SOP class by its name, as far as that is known, and UID."""
    name = _NEWER_NAMES.get(sop_class_uid) or UID(sop_class_uid).name
    return f"{name} ({sop_class_uid})" if name != sop_class_uid else sop_class_uid


def form_name(sop_class_uid: str, transfer_syntax_uid: str) -> str:
    """A SOP class, where that is named in a transfer syntax, each by name and UID."""
    if not transfer_syntax_uid:
        return class_name(sop_class_uid)
    syntax = f"{UID(transfer_syntax_uid).name} ({transfer_syntax_uid})"
    return f"{class_name(sop_class_uid)} in {syntax}"


def way_to_allow(by: Implementation, transfer_syntax_uid: str) -> str:
    """What makes a peer take a SOP class; with a transfer syntax, in that."""
    return by.product.allow_syntax if transfer_syntax_uid else by.product.allow_class
