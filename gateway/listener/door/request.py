"""What an A-ASSOCIATE-RQ says of who asks (PS3.8 9.3.2), read before any of it is believed."""

from dataclasses import dataclass

from pynetdicom.pdu import A_ASSOCIATE_RQ

_CALLED, _CALLING = slice(10, 26), slice(26, 42)


@dataclass(frozen=True)
class Request:
    """Who asks for an association, and for what."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    abstract_syntaxes: frozenset[str]
    """SOP classes of its presentation contexts."""
    content: bytes
    """The whole PDU."""


def request_in(content: bytes, address: str) -> Request | None:
    """The request that came from an address; None where it cannot be parsed."""
    try:
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(content)
        pdu.to_primitive()
    except Exception:  # whatever is raised on bytes from outside
        return None
    proposed = frozenset(str(context.abstract_syntax) for context in pdu.presentation_context)
    return Request(calling_ae_title_in(content), _title(content[_CALLED]), address, proposed, content)


def calling_ae_title_in(content: bytes) -> str:
    """Who asks, as it can stand in a log; empty where that has not come yet."""
    return _title(content[_CALLING])


def _title(content: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in content).strip()
