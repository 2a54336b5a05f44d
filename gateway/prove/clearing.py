"""What the proof made is removed where it may be, and the rest is said."""

from contextlib import suppress
from typing import Final

from gateway.commands.status_client import StatusError

from .phantom import is_phantom
from .scene import Finding, Scene

_CLOSED: Final = ("done", "failed", "held")
_LATEST: Final = 100


def cleared(scene: Scene) -> Finding:
    """Let the gateway forget the phantom, and what earlier proofs left there.

    A phantom that is still under way elsewhere, of another proof, stays.
    """
    forgotten = 0
    for study in scene.gateway.client.studies(state=None, limit=_LATEST):
        is_ours = study["study_uid"] == scene.phantom.study_uid
        is_left = is_phantom(study["accession_number"], study["study_description"])
        if is_ours or (is_left and study["state"] in _CLOSED):
            with suppress(StatusError):  # it is being forgotten already
                scene.gateway.client.act(f"studies/{study['study_key']}/forget")
                forgotten += 1
    said = f"the gateway has forgotten {forgotten} phantom{'' if forgotten == 1 else 's'}"
    if not any(station.name == "Sent" for station in scene.report.stations):
        return Finding(said)
    return Finding(
        f"{said}; the PACS still has it, since DICOM has no service to delete",
        f"delete the study with accession number {scene.phantom.accession_number} of the patient"
        f" {scene.phantom.patient} in the PACS; while it has it, its rule may send it to the gateway again",
    )
