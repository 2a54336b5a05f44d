"""What the proof made is removed where it may be, and the rest is said.

While the PACS has the phantom its rule may send it again, whenever something new stands in the study: then
the gateway would make all of it anew, had it forgotten it. So the PACS comes first.
"""

from contextlib import suppress
from typing import Final

from gateway.api.studies.study_filter import StudyQuery
from gateway.commands.status_client import StatusError

from .at_gateway import Study
from .phantom import is_phantom
from .scene import Finding, Scene

_CLOSED: Final = ("done", "failed", "held")
_LATEST: Final = 100


def cleared(scene: Scene) -> Finding:
    """Have the phantom deleted where that can be asked; let the gateway forget each that the PACS has not."""
    forgotten, kept = 0, ""
    scene.pacs.delete(scene.phantom.study_uid)
    for study in scene.gateway.client.studies(StudyQuery(limit=_LATEST)):
        is_ours = study["study_uid"] == scene.phantom.study_uid
        if not is_ours and not _is_left(study):
            continue
        if is_ours and _may_be_there(scene):
            kept = study["study_key"][:12]
            continue
        if not is_ours and scene.pacs.series_of(study["study_uid"]):
            continue
        with suppress(StatusError):  # it is being forgotten already
            scene.gateway.client.act(f"studies/{study['study_key']}/forget")
            forgotten += 1
    said = (
        f"the gateway has forgotten {forgotten} phantom{'' if forgotten == 1 else 's'}" if forgotten else ""
    )
    if not _may_be_there(scene):
        return Finding(said or "there is nothing left to remove")
    which = f"accession number {scene.phantom.accession_number} of the patient {scene.phantom.patient}"
    then = f"; then `iris forget {kept}`, which the next `iris prove` does, too" if kept else ""
    return Finding(
        "; ".join(
            filter(None, [said, "the PACS still has the phantom, since DICOM has no service to delete"])
        ),
        f"delete the study with {which} in the PACS{then}",
    )


def _may_be_there(scene: Scene) -> bool:
    """Whether the PACS has this phantom, or could not be asked."""
    return scene.pacs.series_of(scene.phantom.study_uid) != set()


def _is_left(study: Study) -> bool:
    """Whether it is a phantom of an earlier proof; one that is still under way stays."""
    is_one = is_phantom(study["accession_number"], study["study_description"])
    return is_one and study["state"] in _CLOSED
