"""What the listener accepts, and that an association does not pay for all of it."""

from copy import deepcopy

from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AllStoragePresentationContexts, build_context
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    StorageCommitmentPushModel,
    Verification,
)

from gateway.listener.wire.contexts import supported_contexts
from gateway.listener.wire.naming import COMMITMENT, NOTICE


def test_contexts_hold_verification_and_every_storage_class_in_every_syntax_the_plain_ones_first() -> None:
    found = {
        str(context.abstract_syntax): [*map(str, context.transfer_syntax)]
        for context in supported_contexts(COMMITMENT, NOTICE)
    }
    storage = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    naming = {str(InstanceAvailabilityNotification), str(StorageCommitmentPushModel)}

    assert set(found) == {str(Verification), *storage, *naming}
    assert {tuple(found[uid]) for uid in naming} == {(ExplicitVRLittleEndian, ImplicitVRLittleEndian)}
    assert sorted(found[str(Verification)]) == sorted(build_context(Verification).transfer_syntax)
    for uid in storage:
        assert sorted(found[uid]) == sorted(AllTransferSyntaxes)
        assert found[uid][:2] == [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        assert found[uid][-2:] == [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]


def test_contexts_are_not_copied_for_each_association() -> None:
    contexts = supported_contexts(COMMITMENT, NOTICE)

    assert [one is other for one, other in zip(contexts, deepcopy(contexts), strict=True)] == [True] * len(
        contexts
    )
