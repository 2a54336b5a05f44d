"""From here into the PACS, and by its routing rule to the gateway: the stations of the images."""

from collections import Counter
from typing import Final

from gateway.adapters.dicom.peer import NotReached
from gateway.delivery.sending import NotSendable, Sent
from gateway.delivery.statuses import Answer, understand

from .headers import Change, changes, in_words
from .scene import Finding, Scene
from .stations import StationFailed, Verdict

SMALL_PDU_BYTES: Final = 8192
BREAKS_OFF: Final = (
    "look in its log; where it says nothing of it, something between (firewall, VPN, router) or the PACS"
    " itself takes smaller PDUs than it negotiated: lower its maximum PDU to 16384"
)


def gateway_runs(scene: Scene) -> Finding:
    """The gateway answers, can take studies, and has somewhere to send results."""
    readiness = scene.gateway.client.readiness()
    if readiness is None:
        raise StationFailed("no gateway is running on this data directory", "start it with `iris serve`")
    if not readiness["ready"]:
        raise StationFailed("the gateway takes no studies: " + "; ".join(readiness["reasons"]), "mend that")
    config, peer = scene.gateway.config, scene.pacs.peer
    if not config.destination:
        raise StationFailed("the configuration has no [[destination]]", "name the PACS as one")
    known = scene.gateway.destinations_at(peer.host, peer.port)
    names = ", ".join(each.name for each in known)
    text = f"it runs, and sends results to {names or 'other places than this PACS'}"
    if known and all(each.ae_title not in (peer.ae_title, None) for each in known):
        fix = f"ae_title of the destination {known[0].name} is {known[0].ae_title}, here it is another one"
        return Finding(text, fix, Verdict.NOTED)
    if not known:
        fix = (
            f"no [[destination]] has host {peer.host} and port {peer.port}: results must find their way to it"
        )
        return Finding(text, fix, Verdict.NOTED)
    if troubles := readiness["degraded"]:
        return Finding(
            f"{text}; it says: {'; '.join(troubles)}",
            "settle what it says of itself here, on its page at the top, and at /readyz",
            Verdict.NOTED,
        )
    return Finding(text)


def pacs_answers(scene: Scene) -> Finding:
    """C-ECHO, and what the association says of the PACS."""
    try:
        hello = scene.pacs.hello()
    except NotReached as error:
        raise _failed(error) from None
    size = hello.largest_pdu_bytes
    implementation = hello.implementation or "an implementation without a name"
    scene.report.facts["PACS"] = f"{scene.pacs.peer}, {implementation}"
    text = f"C-ECHO; PDUs of {f'at most {size} bytes' if size else 'any size'}"
    if 0 < size < SMALL_PDU_BYTES:
        fix = "each PDU waits for the one before on slow lines: set its maximum PDU to 65536 or more"
        return Finding(text, fix, Verdict.NOTED)
    return Finding(text)


def images_sent(scene: Scene) -> Finding:
    """Every image is taken."""
    files = scene.phantom.files
    scene.say(f"sending {len(files)} images")
    try:
        sent = scene.pacs.store(files)
    except (NotReached, NotSendable) as error:
        raise _failed(error) from None
    _require_stored(sent, len(files))
    warned = Counter(each.meaning for each in sent if each.status != 0)
    text = f"{len(files)} images in {len(scene.phantom.series)} series by C-STORE"
    if warned:
        said = ", ".join(f"{number}x {what}" for what, number in warned.items())
        return Finding(f"{text}, answered with warnings: {said}", "look in the PACS's log", Verdict.NOTED)
    return Finding(text)


def images_kept(scene: Scene) -> Finding:
    """The PACS shows every image that it answered with success."""
    missing = 0
    for series in scene.phantom.series:
        wanted = set(series.sop_instance_uids)
        shown = scene.pacs.shown(scene.phantom.study_uid, series.series_uid, len(wanted))
        if shown is None:
            fix = "allow C-FIND for this AE title; without it nobody knows what was kept before it is fetched"
            return Finding("it answers no C-FIND at IMAGE level", fix, Verdict.NOTED)
        missing += len(wanted - shown)
    if missing:
        raise StationFailed(
            f"it answered success, and shows {len(scene.phantom.files) - missing} of"
            f" {len(scene.phantom.files)} images by C-FIND under the UIDs they were sent with",
            "it loses them, or gives them new UIDs: look for them in its log, its quarantine or inbox, and"
            " at its coercion rules for this AE title",
        )
    return Finding("it shows all images by C-FIND")


def images_routed(scene: Scene) -> Finding:
    """The PACS's own rule brings every image to the gateway."""
    wanted = len(scene.phantom.files)
    scene.say("waiting for the PACS's routing rule")
    scene.until(lambda: _is_there(scene, wanted) or None)
    if not scene.study:
        raise _not_routed(scene)
    arrived = scene.gateway.images(scene.phantom.study_uid)
    senders = ", ".join(sorted({each.sender for each in arrived})) or "nobody"
    scene.report.facts["Sender"] = f"{senders}, who called the gateway"
    if len(arrived) < wanted:
        raise StationFailed(
            f"{len(arrived)} of {wanted} images came to the gateway, from {senders}",
            "let the rule send whole studies; look at the PACS's queue of what it could not send",
        )
    return Finding(f"all {wanted} images came, from {senders}")


def images_unchanged(scene: Scene) -> Finding:
    """What came is what was sent, but for what a PACS may add."""
    uids = [uid for series in scene.phantom.series for uid in series.sop_instance_uids]
    sent = dict(zip(uids, scene.phantom.files, strict=True))
    arrived = scene.gateway.images(scene.phantom.study_uid)
    strangers = [each for each in arrived if each.sop_instance_uid not in sent]
    if strangers:
        raise StationFailed(
            f"the PACS gave {len(strangers)} images new SOP Instance UIDs",
            "turn that off: results refer to the images by them, and would fit none that it has",
        )
    found = [change for one in arrived for change in changes(sent[one.sop_instance_uid], one.path)]
    scene.report.facts["Changed in images"] = in_words(found) or "nothing"
    require_same_identity(found, "the images on their way")
    if found:
        return Finding(f"the PACS changed {in_words(found)}", "see that no rule needs them", Verdict.NOTED)
    return Finding("the PACS changed nothing in their headers")


def require_same_identity(found: list[Change], what: str) -> None:
    """Refuse changes by which another patient, study or object is meant.

    Raises
    ------
    StationFailed
    """
    grave = [change for change in found if change.is_grave]
    if grave:
        raise StationFailed(
            f"the PACS changed whose or which they are in {what}: {in_words(grave)}",
            "take this AE title out of its coercion (patient matching, anonymization) for both directions,"
            " or results will stand with another patient or study than the images",
        )


def _require_stored(sent: list[Sent], wanted: int) -> None:
    refused = [each for each in sent if understand(each.status) is not Answer.STORED]
    if not refused and len(sent) == wanted:
        return
    number, last = len(sent), refused[0] if refused else sent[-1]
    if last.status is None:
        raise StationFailed(
            f"it broke the association off at image {number} of {wanted} ({last.path.stat().st_size} bytes)",
            BREAKS_OFF,
        )
    raise StationFailed(
        f"it refused {len(refused)} of {wanted} images: {last.meaning}",
        "allow CT images of this AE title there",
    )


def _is_there(scene: Scene, wanted: int) -> bool:
    """Whether there is nothing more to wait for.

    Raises
    ------
    StationFailed
        The phantom came under other UIDs.
    """
    study = scene.look_at_study()
    if study is None and scene.gateway.in_disguise(scene.phantom, scene.report.began) is not None:
        raise StationFailed(
            "the phantom came under another Study Instance UID: the PACS gives objects new UIDs",
            "turn that off for what goes to the gateway: results refer to the images by their UIDs",
        )
    return study is not None and study["images"] >= wanted


def _not_routed(scene: Scene) -> StationFailed:
    own = scene.gateway.config.dicom
    finding = f"the PACS sent nothing of the phantom to the gateway in {scene.limit_s:g} s"
    if turned_away := scene.gateway.turned_away_since(scene.report.began):
        fix = "let it in (dicom.allow), if that is the PACS"
        return StationFailed(f"{finding}, and the gateway turned away {turned_away}", fix)
    return StationFailed(
        finding,
        f"make an auto-routing rule there that sends CT to {own.ae_title} at this machine's port {own.port};"
        " where there is one, see that it takes the phantom (--set KEYWORD=VALUE makes the phantom what it"
        " looks for) and reaches that port; one that waits for studies to be stable needs a longer --wait-s",
    )


def _failed(error: Exception) -> StationFailed:
    finding, _, fix = str(error).partition("; ")
    return StationFailed(finding, fix or "look at it there")
