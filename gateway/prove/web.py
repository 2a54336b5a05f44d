"""The same PACS by DICOMweb, where a destination of the configuration is that: searched, fetched from."""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from gateway.adapters.credentials import Credentials
from gateway.adapters.dicomweb import WebPeer
from gateway.backends.pacs import tls_of_calls
from gateway.config import Destination

_MOST: Final = "1000"
"""Instances of a series of the phantom, or of its results."""


class WebPacs:
    """One service.

    Raises
    ------
    TlsError
        Its certificates or keys cannot be used.
    """

    def __init__(self, destination: Destination) -> None:
        credentials = Credentials(destination.token_file, destination.user, destination.password_file)
        self._peer = WebPeer(destination.stow, credentials, tls_of_calls(destination.tls, checks_name=True))

    def shown(self, study_uid: str, series_uid: str) -> set[str] | None:
        """SOP Instance UIDs that a search finds in a series (PS3.18 10.6); None where it cannot be searched.

        Raises
        ------
        Retriable
        """
        answer = self._peer.search(f"/studies/{study_uid}/series/{series_uid}/instances", limit=_MOST)
        return set(answer.instances()) if answer.status in (200, 204) else None

    def fetch(self, study_uid: str, series_uid: str, folder: Path) -> Sequence[Path]:
        """The objects of a series, by WADO-RS (PS3.18 10.4); none where it gives none.

        Raises
        ------
        Retriable, OSError
        """
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for content in self._peer.retrieve(f"/studies/{study_uid}/series/{series_uid}"):
            path = folder / f"{hashlib.sha256(content).hexdigest()[:16]}.dcm"
            if _is_dicom(content):
                path.write_bytes(content)
                paths.append(path)
        return paths

    def delete(self, study_uid: str) -> None:
        """Have a study deleted, as some services allow beyond PS3.18.

        Raises
        ------
        Retriable
        """
        self._peer.change("DELETE", f"/studies/{study_uid}")


def _is_dicom(content: bytes) -> bool:
    try:
        dcmread(BytesIO(content), stop_before_pixels=True)
    except (InvalidDicomError, EOFError, ValueError):
        return False
    return True
