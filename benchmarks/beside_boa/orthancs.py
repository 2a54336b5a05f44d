"""Orthanc, twice: as the PACS, and as what receives for BOA."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import requests

from benchmarks.ports import free_port

from .parts import Part

ORTHANC: Final = "/usr/sbin/Orthanc"
PLUGINS: Final = Path("/usr/share/orthanc/plugins")
USER, PASSWORD = "beside", "beside"
"""Of both, on the loopback address."""
ASK_TIMEOUT_S: Final = 20.0


class Orthanc:
    """One of them, as it comes but for ports, folders and what is named.

    Parameters
    ----------
    more
        Keys of its configuration.
    """

    def __init__(
        self,
        name: str,
        ae_title: str,
        folder: Path,
        more: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.ae_title, self.port, self.http_port = ae_title, free_port(), free_port()
        configuration = folder / f"{name}.json"
        storage = str(folder / f"{name}-storage")
        settings = {
            "Name": name,
            "StorageDirectory": storage,
            "IndexDirectory": storage,
            "HttpPort": self.http_port,
            "DicomAet": ae_title,
            "DicomPort": self.port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            **more,
        }
        configuration.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        self.part = Part(name, [ORTHANC, str(configuration)], folder, self._answers, environment)

    @property
    def url(self) -> str:
        """Of its REST API."""
        return f"http://127.0.0.1:{self.http_port}"

    def ask(self, path: str) -> Any:
        """What it answers to GET."""
        answer = requests.get(f"{self.url}{path}", auth=(USER, PASSWORD), timeout=ASK_TIMEOUT_S)
        answer.raise_for_status()
        return answer if path.endswith("/file") else answer.json()

    def results(self, study_uid: str, into: Path) -> Iterator[Path]:
        """Each object of a study that is no image, as a file."""
        query: Any = {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid, "Modality": "SEG\\KO"}}
        answer = requests.post(
            f"{self.url}/tools/find", json=query, auth=(USER, PASSWORD), timeout=ASK_TIMEOUT_S
        )
        answer.raise_for_status()
        for instance in answer.json():
            path = into / f"{instance}.dcm"
            path.write_bytes(self.ask(f"/instances/{instance}/file").content)
            yield path

    def _answers(self) -> bool:
        try:
            self.ask("/system")
        except requests.RequestException:
            return False
        return True


def pacs(folder: Path, iris_port: int) -> Orthanc:
    """The hospital's PACS: DICOMweb for BOA's uploads, C-STORE and C-FIND for ours."""
    return Orthanc(
        "pacs",
        "PACS",
        folder,
        {
            "Plugins": [str(PLUGINS / "libOrthancDicomWeb.so")],
            "DicomModalities": {"iris": ["IRIS", "127.0.0.1", iris_port]},
        },
    )
