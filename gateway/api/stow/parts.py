"""The parts of a multipart/related body, each handed on as it comes (RFC 2387, PS3.18 8.6.1.2)."""

from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from .senders import Sending, Stored

DICOM_TYPE: Final = b"application/dicom"
LONGEST_BOUNDARY: Final = 256  # RFC 2046 5.1.1 has 70; Orthanc takes 73
MOST_PARTS: Final = 100_000
"""What is answered for each stays in memory until the request is over."""


class UnusableType(Exception):
    """A Content-Type that is not taken; the text says what is."""


def boundary_of(content_type: str) -> bytes:
    """The boundary of a body of DICOM objects.

    Raises
    ------
    UnusableType
    """
    name, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    is_dicom = name == b"multipart/related" and options.get(b"type", b"").lower() == DICOM_TYPE
    if not is_dicom or not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise UnusableType(
            'send DICOM objects as Content-Type: multipart/related; type="application/dicom"; boundary=...'
        )
    return boundary


class Parts:
    """Reads a body piece by piece; nothing of it stays in memory but what became of each part.

    Parameters
    ----------
    sending
        Gets every part that is a DICOM object.
    """

    def __init__(self, boundary: bytes, sending: Sending) -> None:
        self._sending = sending
        self._name, self._value = b"", b""
        self._type = DICOM_TYPE
        self._begun = 0
        self._is_over = self._is_broken = False
        self.stored: list[Stored] = []
        """What became of each object, in their order."""
        self._foreign = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._take_name,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._take_data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    @property
    def is_whole(self) -> bool:
        """Whether the body came to its own end."""
        return self._is_over and not self._is_broken

    @property
    def others(self) -> int:
        """How many parts were no DICOM objects, or not whole."""
        return self._foreign + (not self.is_whole)

    def feed(self, data: bytes) -> None:
        """Take more; behind what cannot be parsed everything is passed over."""
        if self._is_broken:
            return
        try:
            self._parser.write(data)
        except FormParserError:
            self._is_broken = True

    def _begin(self) -> None:
        self._begun += 1
        if self._begun > MOST_PARTS:
            raise FormParserError("too many parts")
        self._type = DICOM_TYPE

    def _take_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.lower() == b"content-type":
            self._type, _ = parse_options_header(self._value)
        self._name, self._value = b"", b""

    def _end_headers(self) -> None:
        if self._is_dicom:
            self._sending.begin()

    @property
    def _is_dicom(self) -> bool:
        return self._type == DICOM_TYPE

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_dicom:
            self._sending.write(data[start:end])

    def _end(self) -> None:
        if self._is_dicom:
            self.stored.append(self._sending.end())
        else:
            self._foreign += 1

    def _finish(self) -> None:
        self._is_over = True
