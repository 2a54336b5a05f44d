"""The gateway beside which the proof runs: asked by its API, its files read where they lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydicom.uid import CTImageStorage

from gateway.api.studies.study_filter import StudyQuery
from gateway.commands.status_client import StatusClient
from gateway.config import Config
from gateway.config.destinations import Destination
from gateway.files.names import LEDGER_NAME
from gateway.ledger.instances import current_instances
from gateway.ledger.records import InstanceRow
from gateway.ledger.results import current_objects
from gateway.ledger.store import Ledger

from .phantom import MADE_FOR, Phantom

Study = Mapping[str, Any]
_LATEST: Final = 100
"""Studies that are looked through for one that came under other UIDs."""


@dataclass(frozen=True)
class Arrived:
    """One image as it came."""

    sop_instance_uid: str
    sender: str
    path: Path


@dataclass(frozen=True)
class Made:
    """One object that the gateway made of a job."""

    output: str
    sop_class_uid: str
    path: Path


class AtGateway:
    """What the gateway says of the phantom."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.client = StatusClient(config.data_dir)

    def destinations_at(self, host: str, port: int) -> list[Destination]:
        """The destinations that are this PACS: by C-STORE, or by STOW-RS on the same machine."""
        web = self.web_service_at(host)
        known = self.config.destination
        return [each for each in known if (each.host, each.port) == (host, port) or each is web]

    def web_service_at(self, host: str) -> Destination | None:
        """The first destination that is a DICOMweb service of that machine; None: there is none."""
        services = (each for each in self.config.destination if each.stow)
        return next((each for each in services if urlsplit(each.stow).hostname == host), None)

    def study(self, study_uid: str) -> Study | None:
        """One study; None while it is not known.

        Raises
        ------
        StatusError
        """
        return self.client.study(study_uid) if self.client.is_known(study_uid) else None

    def in_disguise(self, phantom: Phantom, since: datetime) -> Study | None:
        """The phantom under another Study Instance UID, known by what else it says; None: it is not there.

        Raises
        ------
        StatusError
        """
        for study in self.client.studies(StudyQuery(limit=_LATEST)):
            came = datetime.fromisoformat(study["received"])
            is_it = phantom.may_be(study["accession_number"], study["study_description"])
            if is_it and came >= since and study["study_uid"] != phantom.study_uid:
                return study
        return None

    def turned_away_since(self, since: datetime) -> str:
        """Which application entity was last not let in at the DICOM port since then, and why; empty: none.

        Raises
        ------
        StatusError
        """
        for one in self.client.turned_away():
            if one["calling_ae_title"] and datetime.fromisoformat(one["at"]) >= since:
                return f"{one['calling_ae_title']} from {one['address']}: {one['sentence']}"
        return ""

    def images(self, study_uid: str) -> list[Arrived]:
        """The images of a study as they lie here."""
        with Ledger(self.config.data_dir / LEDGER_NAME, read_only=True) as ledger:
            rows = current_instances(ledger, study_uid)
        return [self._arrived(row) for row in rows if row.sop_class_uid == CTImageStorage]

    def made(self, job_key: str) -> list[Made]:
        """The objects of a job's present result."""
        with Ledger(self.config.data_dir / LEDGER_NAME, read_only=True) as ledger:
            rows = current_objects(ledger, job_key)
        return [Made(row.output, row.sop_class_uid, self.config.data_dir / row.path) for row in rows]

    def is_exact(self, job: Study) -> bool:
        """Whether it is known beforehand what a job finds in the phantom."""
        return (self.config.engine.name, job["task"]) == MADE_FOR

    def label_map(self, job_key: str, target: Path) -> Path | None:
        """The label map that the engine wrote; None where the gateway does not give it.

        Raises
        ------
        StatusError
        """
        content = self.client.job_file(job_key, "labels.nii.gz")
        if content is None:
            return None
        target.write_bytes(content)
        return target

    def _arrived(self, row: InstanceRow) -> Arrived:
        return Arrived(row.sop_instance_uid, row.sender, self.config.data_dir / row.path)
