"""Whether the PACS commits itself to keep results: what it offers, and what it did where it was asked."""

from gateway.config.destinations import Destination

from .at_gateway import Study
from .scene import Finding, Scene
from .stations import StationFailed, Verdict

_OFFERED = "it offers storage commitment"


def commitment(scene: Scene) -> Finding:
    """What it offers; where the configuration has it asked, its word for each of the phantom's results."""
    is_offered = scene.pacs.hello().offers_commitment
    asked = _asked_to_keep(scene)
    if not asked:
        if not is_offered:
            return Finding("it offers none to this AE title: what it answered with success is believed")
        names = {each.name for each in _destinations(scene) if not each.commitment}
        fix = "to have it asked whether it keeps results for good, set destination.commitment = true"
        return Finding(f"{_OFFERED} to this AE title, and is not asked for it", fix if names else "")
    if not is_offered:
        return Finding(
            "destination.commitment is true, and it offers none to this AE title: deliveries end as sent",
            "switch it on there, or set commitment = false",
            Verdict.NOTED,
        )
    scene.say("waiting for storage commitment")
    if scene.until(lambda: _is_kept(scene) or None) is None:
        waiting = next(each for each in _asked_to_keep(scene) if each["state"] != "committed")
        finding, _, fix = str(waiting["reason"] or "it has not been asked yet").partition("; ")
        raise StationFailed(
            f"{waiting['output']} is {waiting['state']} and not committed: {finding}",
            fix or "look at its log, and whether its report may come in (iris doctor)",
        )
    return Finding(f"{_OFFERED}, and keeps all {len(asked)} results for good")


def _destinations(scene: Scene) -> list[Destination]:
    peer = scene.pacs.peer
    return scene.gateway.destinations_at(peer.host, peer.port)


def _asked_to_keep(scene: Scene) -> list[Study]:
    """The phantom's deliveries to destinations that are asked."""
    names = {each.name for each in _destinations(scene) if each.commitment}
    return [each for each in scene.study.get("deliveries", []) if each["destination"] in names]


def _is_kept(scene: Scene) -> bool:
    scene.look_at_study()
    return all(each["state"] == "committed" for each in _asked_to_keep(scene))
