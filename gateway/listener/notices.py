"""What names instances: storage commitment requests (PS3.4 J.3.2) and availability notices (PS3.4 R.3.2).

They are read, and written down before they are answered.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, Final

import structlog
from pydicom import Dataset, config
from pydicom.uid import UID
from pynetdicom.dsutils import decode
from pynetdicom.sop_class import (
    StorageCommitmentPushModelInstance,
)

from gateway.adapters import command_set
from gateway.ledger.named import AlreadyNamed, NamedList, name_instances
from gateway.ledger.store import Ledger

from .intake.header import is_valid_uid
from .statuses import (
    INVALID_ARGUMENT_VALUE,
    INVALID_ATTRIBUTE_VALUE,
    MISSING_ATTRIBUTE,
    NO_SUCH_ACTION,
    NO_SUCH_CLASS,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    SUCCESS,
    UNRECOGNIZED_OPERATION,
)
from .wire.naming import COMMITMENT, NOTICE, NamingRequest, Written

log = structlog.get_logger(__name__)

REQUEST_COMMITMENT: Final = 1
"""The one Action Type ID (PS3.4 J.3.2.1.1)."""
MOST: Final = 50_000
"""Instances of one list."""
_UNAVAILABLE: Final = "UNAVAILABLE"
"""An Instance Availability (PS3.4 R.3.2.1.2): nobody will send it."""


class _Unacceptable(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"0x{status:04X}")
        self.status = status


def take_notice(ledger: Ledger, request: NamingRequest) -> Written:
    """Write down what a request names."""
    try:
        named = _named(request)
        with ledger.transaction() as transaction:
            key = name_instances(transaction, named)
    except _Unacceptable as refused:
        status = refused.status
    except AlreadyNamed:
        status = INVALID_ARGUMENT_VALUE
    except Exception:  # the ledger's: its sender asks again
        log.exception("names_not_kept", calling_ae_title=request.sender)
        return Written(RESOURCE_LIMITATION)
    else:
        is_to_report = named.transaction_uid is not None
        log.info(
            "instances_named",
            calling_ae_title=request.sender,
            instances=len(named.instances),
            commitment=is_to_report,
        )
        return Written(SUCCESS, key if is_to_report else None)
    log.warning("names_not_understood", calling_ae_title=request.sender, status=f"0x{status:04X}")
    return Written(status)


def _named(request: NamingRequest) -> NamedList:
    operation = _number(request.elements, command_set.COMMAND_FIELD)
    match request.sop_class_uid, operation:
        case (str(uid), command_set.N_ACTION_RQ) if uid == COMMITMENT:
            return _by_commitment(request)
        case (str(uid), command_set.N_CREATE_RQ) if uid == NOTICE:
            return _by_notice(request)
    raise _Unacceptable(UNRECOGNIZED_OPERATION)


def _by_commitment(request: NamingRequest) -> NamedList:
    elements = request.elements
    if _uid(elements, command_set.REQUESTED_SOP_CLASS_UID) != COMMITMENT:
        raise _Unacceptable(NO_SUCH_CLASS)
    if _uid(elements, command_set.REQUESTED_SOP_INSTANCE_UID) != StorageCommitmentPushModelInstance:
        raise _Unacceptable(NO_SUCH_INSTANCE)
    if _number(elements, command_set.ACTION_TYPE_ID) != REQUEST_COMMITMENT:
        raise _Unacceptable(NO_SUCH_ACTION)
    read = _Reader(request, INVALID_ARGUMENT_VALUE, INVALID_ARGUMENT_VALUE)
    instances = read.instances(read.items(read.data_set, "ReferencedSOPSequence"))
    transaction_uid = read.uid(read.data_set, "TransactionUID")
    return NamedList(request.sender, request.address, instances, transaction_uid=transaction_uid)


def _by_notice(request: NamingRequest) -> NamedList:
    if _uid(request.elements, command_set.AFFECTED_SOP_CLASS_UID) != NOTICE:
        raise _Unacceptable(NO_SUCH_CLASS)
    read = _Reader(request, MISSING_ATTRIBUTE, INVALID_ATTRIBUTE_VALUE)
    series = read.items(read.data_set, "ReferencedSeriesSequence")
    instances = read.instances(
        item
        for one in series
        for item in read.items(one, "ReferencedSOPSequence")
        if read.value(item, "InstanceAvailability") != _UNAVAILABLE
    )
    study_uid = read.uid(read.data_set, "StudyInstanceUID")
    return NamedList(request.sender, request.address, instances, study_uid=study_uid)


class _Reader:
    """Reads attributes of a data set from outside.

    Parameters
    ----------
    missing, invalid
        The status where an attribute is not there, and where its value is none.
    """

    def __init__(self, request: NamingRequest, missing: int, invalid: int) -> None:
        self._missing, self._invalid = missing, invalid
        syntax = UID(request.transfer_syntax_uid)
        try:
            stream = BytesIO(request.data_set)
            self.data_set = decode(stream, syntax.is_implicit_VR, syntax.is_little_endian)
        except Exception:  # whatever a parser raises on bytes from outside; the text may quote them
            raise _Unacceptable(PROCESSING_FAILURE) from None

    def uid(self, item: Dataset, keyword: str) -> str:
        """A UID."""
        value = self.value(item, keyword)
        if not value:
            raise _Unacceptable(self._missing)
        if not isinstance(value, str) or not is_valid_uid(value):
            raise _Unacceptable(self._invalid)
        return str(value)

    def items(self, item: Dataset, keyword: str) -> list[Dataset]:
        """The items of a sequence, which has some."""
        found = self.value(item, keyword)
        if not found:
            raise _Unacceptable(self._missing)
        return list(found)

    def instances(self, items: Iterable[Dataset]) -> dict[str, str]:
        """SOP Instance UIDs, each with its SOP Class UID (PS3.3 10.8)."""
        found: dict[str, str] = {}
        for item in items:
            found[self.uid(item, "ReferencedSOPInstanceUID")] = self.uid(item, "ReferencedSOPClassUID")
            if len(found) > MOST:
                raise _Unacceptable(RESOURCE_LIMITATION)
        return found

    def value(self, item: Dataset, keyword: str) -> Any:
        """Whatever stands there; None where nothing does."""
        try:
            with config.disable_value_validation():  # a warning would quote the value
                return item.get(keyword)
        except Exception:
            raise _Unacceptable(PROCESSING_FAILURE) from None


def _number(elements: Mapping[int, bytes], number: int) -> int | None:
    value = elements.get(number, b"")
    return int.from_bytes(value, "little") if len(value) == 2 else None


def _uid(elements: Mapping[int, bytes], number: int) -> str:
    return elements.get(number, b"").rstrip(b"\0 ").decode("latin-1")
