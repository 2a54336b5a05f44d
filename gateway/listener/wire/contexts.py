"""What the listener accepts: C-ECHO, C-STORE of every storage SOP class in every transfer syntax, and what
names instances.
"""

from copy import copy
from typing import Self

from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    Verification,
)


class _Supported(PresentationContext):
    """One that is accepted; nobody changes it, so associations share it.

    pynetdicom makes a copy of all of them for each association, and looks at every UID in them once more:
    7,000 of them take longer than receiving ten images.
    """

    def __deepcopy__(self, memo: object) -> Self:
        return self


def supported_contexts(*named: str) -> list[PresentationContext]:
    """Verification, every storage SOP class in every transfer syntax that pydicom knows, and SOP classes that
    name instances.

    Of several offered transfer syntaxes the first of this list is taken: plain ones before compressed ones,
    since the sender then does not need to transcode, and big endian and deflate last.
    """
    plain = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    last = [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
    compressed = [uid for uid in AllTransferSyntaxes if uid not in plain and uid not in last]
    verification, storage = _Supported(), _Supported()
    verification.abstract_syntax = Verification
    verification.transfer_syntax = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, *last]
    storage.transfer_syntax = [*plain, *compressed, *last]
    contexts = [copy(storage) for _ in AllStoragePresentationContexts]
    for context, known in zip(contexts, AllStoragePresentationContexts, strict=True):
        context.abstract_syntax = known.abstract_syntax
    for abstract_syntax in named:
        context = _Supported()
        context.abstract_syntax = abstract_syntax
        context.transfer_syntax = [*plain]  # never deflated: what a data set becomes would have no limit
        if abstract_syntax == StorageCommitmentPushModel:  # asked for by an SCU, reported by an SCP
            context.scu_role = context.scp_role = True
        contexts.append(context)
    return [verification, *contexts]
