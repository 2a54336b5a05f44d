"""Who may open an association, and whether there is room for what they send."""

import ipaddress
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.config import AllowedSender

from ..causes import Cause

# PS3.8 9.3.4: result, source, reason of an A-ASSOCIATE-RJ
CALLING_AE_NOT_RECOGNIZED = (1, 1, 3)  # permanent, by the service user
CALLED_AE_NOT_RECOGNIZED = (1, 1, 7)  # likewise
LOCAL_LIMIT_EXCEEDED = (2, 3, 2)  # transient, by the presentation layer


@dataclass(frozen=True)
class Rejection:
    """An association that is not accepted, and why."""

    code: tuple[int, int, int]
    cause: Cause
    reason: str


class Admission:
    """Decides about each association request.

    Parameters
    ----------
    allow
        AE title and address pairs that may send; empty admits anyone.
    data_dir
        The folder whose file system must have room.
    low_water_mb
        Free space in MB under which nothing new is accepted.
    """

    def __init__(self, allow: Sequence[AllowedSender], data_dir: Path, low_water_mb: int) -> None:
        self._allow = [
            (sender.ae_title.strip(), ipaddress.ip_network(sender.address, strict=False)) for sender in allow
        ]
        self._data_dir = data_dir
        self._low_water_bytes = low_water_mb * 1_000_000

    def judge(self, calling_ae_title: str, address: str) -> Rejection | None:
        """Return why this peer is rejected, or None when it may come in."""
        if self._allow and not self._is_known(calling_ae_title, address):
            return Rejection(
                CALLING_AE_NOT_RECOGNIZED,
                Cause.UNKNOWN_SENDER,
                "its AE title and address are not in dicom.allow",
            )
        if not self.has_room():
            return Rejection(LOCAL_LIMIT_EXCEEDED, Cause.NO_ROOM, "the disk is under its low-water mark")
        return None

    def has_room(self) -> bool:
        """Whether the disk is above its low-water mark; one that cannot be asked is not."""
        try:
            return shutil.disk_usage(self._data_dir).free >= self._low_water_bytes
        except OSError:
            return False

    def knows_address(self, address: str) -> bool:
        """Whether anybody may send from there."""
        peer = _plain(address)
        return not self._allow or any(peer in network for _, network in self._allow)

    def _is_known(self, calling_ae_title: str, address: str) -> bool:
        peer, title = _plain(address), calling_ae_title.strip()
        return any(title == known and peer in network for known, network in self._allow)


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    peer = ipaddress.ip_address(address.partition("%")[0])
    mapped = peer.ipv4_mapped if isinstance(peer, ipaddress.IPv6Address) else None
    return mapped or peer
