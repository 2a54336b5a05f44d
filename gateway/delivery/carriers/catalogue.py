"""Every kind of destination with the carrier that serves it.

A further one is a kind with its configuration keys in `config/destinations.py` (`DESTINATION_KINDS`), a
carrier in a file of its own, and a line here.
"""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.config import Config, Destination

from .carrier import Carrier
from .dicom import DicomCarrier
from .folder import FolderCarrier


def _stow(destination: Destination, _: str) -> Carrier:
    from .stow import StowCarrier  # late: who has no such destination loads no HTTP client at start

    return StowCarrier(destination)


CARRIERS: Final[Mapping[str, Callable[[Destination, str], Carrier]]] = {
    "dicom": DicomCarrier,
    "folder": lambda destination, _: FolderCarrier(destination),
    "stow": _stow,
}
"""Kind of destination to what makes its carrier, of the destination and this gateway's AE title."""


def carriers_of(config: Config) -> list[tuple[Destination, Carrier]]:
    """Every destination with its carrier; see `carrier_of`."""
    return [(to, carrier_of(config, to)) for to in config.destination]


def carrier_of(config: Config, to: Destination) -> Carrier:
    """The carrier of one destination.

    Raises
    ------
    TlsError
        Certificates or keys for it cannot be used.
    """
    return CARRIERS[to.kind](to, config.dicom.ae_title)
